"""`make run`: prepares the installation, then runs the processes of the Procfile until Ctrl-C."""

import fcntl
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from scripts.supervisor import Supervisor, read_procfile

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    check_port_is_free()
    lock = lock_data_folder()
    bootstrap = subprocess.run(
        [sys.executable, "manage.py", "bootstrap"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C reaches us alone: no stack trace of its own
        check=False,
    )
    if bootstrap.returncode:
        sys.exit(bootstrap.returncode)
    # As root, each worker would print ten lines about a danger of pickle, which is not used here.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:You're running the worker with superuser")
    Supervisor(read_procfile(ROOT / "Procfile"), ROOT).run()
    lock.close()
    print("HematoVision has stopped.")


def check_port_is_free() -> None:
    host = os.environ.get("HEMATOVISION_HOST", "127.0.0.1")
    port = os.environ.get("PORT", "8000")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        sys.exit(f"PORT must be a number from 1 to 65535, not {port!r}.")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            sys.exit(
                f"Port {port} cannot be used ({error.strerror})."
                " Choose another one: make run PORT=8001"
            )


def lock_data_folder() -> TextIO:
    """Hold the data folder: two workers on one queue of files would take each other's messages."""
    folder = Path(os.environ.get("HEMATOVISION_DATA_DIR") or ROOT / "var")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "run.lock").open("w")
    except OSError as error:
        sys.exit(f"The data folder {folder} cannot be written: {error.strerror}.")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"HematoVision already runs on the data folder {folder}.")
    return lock


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("\nStopped.")
