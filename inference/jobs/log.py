"""A job's log: lines of text in its folder, bounded; the newest stay."""

import time
from contextlib import suppress

from inference.models import Job

BYTES = 1_000_000
TAIL_BYTES = 20_000


def append(job: Job, text: str) -> None:
    """Add a line. Does nothing where the disk takes none: the row tells the reason, too."""
    path = job.log_path
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if size(job) > BYTES:
            newest = path.read_bytes()[-BYTES // 2 :].partition(b"\n")[2]
            path.write_bytes(b"(What was here is no longer kept.)\n" + newest)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text.rstrip()}\n")


def tail(job: Job, lines: int) -> str:
    """The newest lines."""
    try:
        with job.log_path.open("rb") as file:
            file.seek(max(0, size(job) - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def size(job: Job) -> int:
    try:
        return job.log_path.stat().st_size
    except OSError:
        return 0
