"""Keeps the processes of a Procfile running, and stops all of them together.

A process that dies is started again, after a pause that grows while it keeps dying: a killed
inference worker must not take the pages down with it. (honcho, the usual runner of Procfiles,
stops everything as soon as one process ends.)
"""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

SHORTEST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
STABLE_SECONDS = 60.0  # after a life that long, the next pause is the shortest again
STOP_SECONDS = 10.0  # to finish the work in hand; what is cut off, the reaper gives out again
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TICK = 0.1
# glibc gives memory back at once: else a process that has shown one picture of 50 megapixels keeps
# 250 MB for good (measured: 353 MB of PSS, with this 110 MB).
TRIM_BYTES = "131072"

Say = Callable[[str, str], None]


def read_procfile(path: Path) -> dict[str, str]:
    """The command of each process by its name."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    pairs = (line.split(":", 1) for line in lines)
    return {name.strip(): command.strip() for name, command in pairs}


def print_line(name: str, line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone; the processes go on or stop
        print(f"{name:>8} | {line}", flush=True)


class Child:
    """One command, its process while it has one, and when it may start next."""

    def __init__(self, name: str, command: str) -> None:
        self.name, self.command = name, command
        self.process: subprocess.Popen[bytes] | None = None
        self.pause = SHORTEST_PAUSE
        self.started_at = self.starts_at = 0.0
        self.unfinished_line = b""

    def start(self, folder: Path) -> subprocess.Popen[bytes]:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {self.command}"],  # the shell fills in variables
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches us alone, and its group can be killed whole
            preexec_fn=stop_with_supervisor,  # noqa: PLW1509 (there are no threads)
        )
        return self.process

    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        if self.process:
            self.process.terminate()

    def kill_group(self) -> None:
        """End what is left: a killed worker leaves its pool behind; a queue takes one only."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None


class Supervisor:
    """Runs a set of commands until a signal tells it to stop.

    Args:
        commands: the shell command of each process by its name.
        folder: where the commands are run.
        say: takes each line that a process, or the supervisor about it, has to say.
    """

    def __init__(self, commands: dict[str, str], folder: Path, say: Say = print_line) -> None:
        self.children = [Child(name, command) for name, command in commands.items()]
        self.folder, self.say = folder, say
        self.stopping = False
        self.outputs = selectors.DefaultSelector()

    def run(self) -> None:
        """Return when a signal has come and every process is gone."""
        for stop_signal in STOP_SIGNALS:
            signal.signal(stop_signal, self._stop)
        while not self.stopping:
            for child in self.children:
                self._look_after(child)
            self._pass_on_output()
        self._stop_all()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.process is None:
            if now >= child.starts_at:
                output = child.start(self.folder).stdout
                assert output
                self.outputs.register(output, selectors.EVENT_READ, (child, output))
        elif child.process.poll() is not None:
            if now - child.started_at > STABLE_SECONDS:
                child.pause = SHORTEST_PAUSE
            self.say(child.name, f"ended unexpectedly, starts again in {child.pause:.0f} s")
            child.kill_group()
            child.starts_at = now + child.pause
            child.pause = min(child.pause * 2, LONGEST_PAUSE)

    def _pass_on_output(self) -> None:
        for key, _ in self.outputs.select(timeout=TICK):
            child, output = key.data
            chunk = os.read(key.fd, 65536)
            *lines, child.unfinished_line = (child.unfinished_line + chunk).split(b"\n")
            if not chunk:  # the process and whoever shared its output have ended
                self.outputs.unregister(output)
                output.close()
                lines, child.unfinished_line = [child.unfinished_line], b""
            for line in filter(None, lines):
                self.say(child.name, line.decode(errors="replace"))

    def _stop_all(self) -> None:
        running = [child for child in self.children if child.process]
        for child in running:
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline and any(child.is_alive() for child in running):
            self._pass_on_output()
        for child in running:
            if child.is_alive():
                self.say(child.name, "takes too long to stop and is killed")
            child.kill_group()
        self._pass_on_output()


def environment() -> dict[str, str]:
    """The environment in which ``gunicorn`` and ``celery`` are those of this Python."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    own = {"PATH": path, "PYTHONUNBUFFERED": "1"}
    return {"MALLOC_TRIM_THRESHOLD_": TRIM_BYTES, **os.environ, **own}


LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def stop_with_supervisor() -> None:
    """Have the kernel end this process even when the supervisor is killed without warning."""
    if LIBC is not None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
