"""The child process with runners for tests: ``python -m tests.inference.jobs.child ...``.

What a runner does is the job's message: the name of a function here.
"""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import django

from inference.jobs import child
from inference.jobs.child import Running

WAIT_SECONDS = 300


def work(running: Running) -> None:
    globals()[running.job.message](running)


def count(running: Running) -> None:
    for done in range(3):
        running.report("counting", done + 1, 3, f"{done + 1} counted")
    facts = (os.nice(0), os.sched_getscheduler(0), Path("/proc/self/oom_score_adj").read_text())
    running.log(f"priority {facts}")


def wait(running: Running) -> None:
    """Until it is told to stop."""
    begin(running)
    while True:
        running.check_stop()
        time.sleep(0.05)


def sleep(running: Running) -> None:
    """Without asking whether it is to stop, and with a process of its own."""
    begin(running)
    time.sleep(WAIT_SECONDS)


def get_further(running: Running) -> None:
    running.got_further()
    sleep(running)


def begin(running: Running) -> None:
    other = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({WAIT_SECONDS})"])
    (running.folder / "pids").write_text(f"{os.getpid()} {other.pid}")
    running.report("waiting", 0, 1, "It has begun.")


def take_memory(running: Running) -> None:
    script = f"import time; kept = bytearray(b'x') * 400_000_000; time.sleep({WAIT_SECONDS})"
    subprocess.run([sys.executable, "-c", script], check=True)


def refuse(running: Running) -> None:
    from inference.jobs.kinds import JobError

    raise JobError("There is only one class.")


def fill_the_disk(running: Running) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def crash(running: Running) -> None:
    print("A library's last words.", flush=True)
    os._exit(7)


def write_twice(running: Running) -> None:
    """Lose the claim before the result is written."""
    from inference.models import Job

    Job.objects.filter(pk=running.job.pk).update(claim=None)
    with running.result():
        Job.objects.filter(pk=running.job.pk).update(message="written")


if __name__ == "__main__":
    django.setup()
    from inference.jobs import kinds

    kinds.RUNNERS = dict.fromkeys(["training", "dataset_import"], "tests.inference.jobs.child:work")
    child.main()
