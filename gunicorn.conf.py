"""How the web process is served; gunicorn reads this file by its name."""

import os
from typing import Any

host = os.environ.get("HEMATOVISION_HOST", "127.0.0.1")
port = os.environ.get("PORT", "8000")
bind = f"{host}:{port}"
workers = int(os.environ.get("WEB_WORKERS", "1"))
worker_class = "gthread"
threads = 4
keepalive = 30  # seconds; an idle connection holds no thread
graceful_timeout = 8  # less than the supervisor waits before it kills
loglevel = "warning"


def post_worker_init(worker: Any) -> None:
    """The pages can be opened from now on."""
    address = f"http://localhost:{port}" if host == "127.0.0.1" else f"http://{bind}"
    print(f"HematoVision is ready at {address}", flush=True)
