"""The worker's side of a job: start its child process, renew the lease, bound the memory."""

import logging
import os
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from inference.jobs import queue
from inference.models import Job

logger = logging.getLogger(__name__)

LOOK_EVERY = 1.0  # seconds


def work_on(job: Job) -> None:
    """Have a child process do the job, and tell its end if it cannot tell that itself."""
    assert job.claim is not None, "a claimed job has a claim"
    job.folder.mkdir(parents=True, exist_ok=True)
    with (job.folder / "output.txt").open("wb") as output:
        child = subprocess.Popen(
            [
                *(sys.executable, "-m", "inference.jobs.child"),
                *(str(job.uuid), str(job.claim), str(os.getpid())),
            ],
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an autogroup of its own: see `child.step_back`
        )
        try:
            reason = _watch(child, job)
        finally:
            child.kill()
            child.wait()
    if reason:
        queue.fail(job, reason)
    elif child.returncode:  # it has told nothing, or its telling did not reach the row
        queue.give_back(job, f"The process of this work ended unexpectedly ({child.returncode}).")


def _watch(child: subprocess.Popen[bytes], job: Job) -> str:
    """Wait for the end; return why the child had to be ended, or ""."""
    peak = 0
    while True:
        try:
            child.wait(LOOK_EVERY)
        except subprocess.TimeoutExpired:
            pass
        else:
            return ""
        if not queue.renew(job):
            child.kill()
            return ""
        used = anonymous_memory_mb(child.pid)
        if used > peak:
            peak = used
            queue.progress(job, peak_memory_mb=peak)
        if used > settings.JOB_MEMORY_MB:
            child.kill()
            return (
                f"The work needed more than the {settings.JOB_MEMORY_MB} MB of memory that "
                "JOB_MEMORY_MB allows. Use fewer or smaller pictures, or raise the limit."
            )


def anonymous_memory_mb(pid: int) -> int:
    """Memory that is the process's own, without mapped files; 0 where it cannot be told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) // 1024
    return 0
