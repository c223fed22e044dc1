"""scripts/supervisor.py and scripts/run.py, with small processes in place of the system's."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.supervisor import read_procfile
from tests.system import ROOT

pytestmark = pytest.mark.crash

SUPERVISE = """
import sys
from pathlib import Path
from scripts.supervisor import Supervisor, read_procfile
folder = Path(sys.argv[1])
Supervisor(read_procfile(folder / "Procfile"), folder).run()
"""
# A process that leaves its pid in a file, and a child of its own, as a Celery worker has.
SLEEPER = """
import os, subprocess, sys, time
child = subprocess.Popen(["sleep", "1000"])
with open(f"{sys.argv[1]}.pids", "a") as file:
    file.write(f"{os.getpid()} {child.pid}\\n")
print("hello", sys.argv[2])
time.sleep(1000)
"""


class Supervised:
    """A supervisor of two sleepers, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sleeper.py").write_text(SLEEPER)
        command = f"{sys.executable} sleeper.py"
        (folder / "Procfile").write_text(
            f"one: {command} one you\n\n# two\ntwo: {command} two ${{WHO}}\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(folder)],
            cwd=ROOT,
            env={**os.environ, "WHO": "everybody"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def pids(self, name: str) -> list[tuple[int, int]]:
        """Of each life of a sleeper: its own pid and its child's."""
        file = self.folder / f"{name}.pids"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines]

    def all_pids(self) -> list[int]:
        return [pid for name in ("one", "two") for life in self.pids(name) for pid in life]

    def output_after(self, stop_signal: signal.Signals) -> str:
        self.process.send_signal(stop_signal)
        return self.process.communicate(timeout=20)[0]


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    try:
        wait_for(lambda: bool(supervised.pids("one") and supervised.pids("two")))
        yield supervised
    finally:
        supervised.process.kill()
        supervised.process.wait()
        for pid in supervised.all_pids():
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_without_a_stack_trace(
    supervised: Supervised, stop_signal: signal.Signals
) -> None:
    output = supervised.output_after(stop_signal)
    assert supervised.process.returncode == 0
    assert "Traceback" not in output
    wait_for(lambda: not any(is_alive(pid) for pid in supervised.all_pids()))


def test_output_carries_the_name_of_its_process(supervised: Supervised) -> None:
    lines = supervised.output_after(signal.SIGTERM).splitlines()
    assert "     one | hello you" in lines
    assert "     two | hello everybody" in lines


def test_a_killed_process_is_started_again_and_the_other_left_alone(
    supervised: Supervised,
) -> None:
    first_life, its_child = supervised.pids("one")[0]
    os.kill(first_life, signal.SIGKILL)
    wait_for(lambda: len(supervised.pids("one")) == 2)
    wait_for(lambda: not is_alive(its_child))  # what it left behind must not go on working
    assert is_alive(supervised.pids("one")[1][0])
    assert is_alive(supervised.pids("two")[0][0])
    assert len(supervised.pids("two")) == 1
    output = supervised.output_after(signal.SIGTERM)
    assert "one | ended unexpectedly, starts again in 1 s" in output


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part in it is Linux's")
def test_nothing_outlives_a_killed_supervisor(supervised: Supervised) -> None:
    sleepers = [supervised.pids(name)[0][0] for name in ("one", "two")]
    supervised.process.kill()
    wait_for(lambda: not any(is_alive(pid) for pid in sleepers))


def run(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.run"],
        cwd=ROOT,
        env={**os.environ, "HEMATOVISION_DATA_DIR": str(tmp_path), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        port = str(occupant.getsockname()[1])
        result = run(tmp_path, PORT=port)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr == (
        f"Port {port} cannot be used (Address already in use)."
        " Choose another one: make run PORT=8001\n"
    )


@pytest.mark.parametrize("port", ["abc", "0", "65536"])
def test_a_port_that_is_none_is_one_clear_line(tmp_path: Path, port: str) -> None:
    result = run(tmp_path, PORT=port)
    assert result.returncode == 1
    assert result.stderr == f"PORT must be a number from 1 to 65535, not {port!r}.\n"


def test_a_data_folder_serves_one_system_at_a_time(tmp_path: Path) -> None:
    with (tmp_path / "run.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run(tmp_path, PORT="18765")
    assert result.returncode == 1
    assert result.stderr == f"HematoVision already runs on the data folder {tmp_path}.\n"


def test_a_data_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run(tmp_path / "file" / "data", PORT="18765")
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "cannot be written" in result.stderr


def test_procfile_gives_each_queue_exactly_one_worker() -> None:
    queues = [
        queue
        for command in read_procfile(ROOT / "Procfile").values()
        if " worker " in command
        for queue in command.split(" -Q ")[1].split()[0].split(",")
    ]
    assert sorted(queues) == ["default", "inference", "training"]
