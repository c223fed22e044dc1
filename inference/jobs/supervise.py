"""The worker's side of a job: start its child process, renew the lease, bound memory and disk."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection

from inference.jobs import folders, log, progress, queue
from inference.models import Job

logger = logging.getLogger(__name__)

CHILD = "inference.jobs.child"
LOOK_EVERY = 1.0  # seconds
CANCEL_SECONDS = 10.0  # for the child to end by itself
OUTPUT_BYTES = 1_000_000

stopping = threading.Event()
"""Set when the worker is being stopped: its jobs are put back, none is taken any more."""


def work_on(job: Job) -> None:
    """Have a child process do the job, and tell its end if it cannot tell that itself."""
    if reason := folders.lack_of_room():
        queue.fail(job, reason)
        return
    try:
        job.folder.mkdir(parents=True, exist_ok=True)
        progress.forget(job)
        with (job.folder / "output.txt").open("ab") as output:
            child = _start(job, output.fileno())
    except OSError as error:
        queue.give_back(job, f"The work could not be started: {error.strerror}.")
        return
    try:
        tell_end = _watch(child, job)
    finally:
        _kill(child)
    tell_end()
    queue.tidy(job)


def _start(job: Job, output: int) -> subprocess.Popen[bytes]:
    assert job.claim is not None, "a claimed job has a claim"
    arguments = (str(job.uuid), str(job.claim), str(os.getpid()))
    return subprocess.Popen(
        [sys.executable, "-m", CHILD, *arguments],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        # An autogroup of its own (see `child.step_back`), and a group that is killed whole.
        start_new_session=True,
    )


def _kill(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _watch(child: subprocess.Popen[bytes], job: Job) -> Callable[[], object]:
    """Wait for the end, or the reason to make one; return what is then to be told."""
    renewed = time.monotonic()
    cancel_at: float | None = None
    while True:
        try:
            child.wait(LOOK_EVERY)
        except subprocess.TimeoutExpired:
            pass
        else:
            return partial(_tell_death, job, child.returncode)
        if stopping.is_set():
            return partial(queue.put_back, job)
        _bound(job.folder / "output.txt")
        progress.read(job)
        used = anonymous_memory_mb(child.pid)
        job.peak_memory_mb = max(job.peak_memory_mb or 0, used)
        try:
            if not queue.renew(job):
                return _nothing
            renewed = time.monotonic()
            asked_to_cancel = queue.stop_of(job) == Job.Stop.CANCEL
        except DatabaseError:
            # A database that is away for a moment must not cost hours of training.
            logger.warning("The lease of job %s could not be renewed.", job.pk, exc_info=True)
            connection.close()
            if time.monotonic() - renewed > settings.JOB_LEASE_SECONDS:
                return _nothing
            continue
        if asked_to_cancel:
            cancel_at = cancel_at or time.monotonic() + CANCEL_SECONDS
            if time.monotonic() > cancel_at:
                return partial(queue.cancelled, job)
        if reason := _over_a_limit(used):
            return partial(queue.fail, job, reason)


def _over_a_limit(used_mb: int) -> str:
    if used_mb > settings.JOB_MEMORY_MB:
        return (
            f"The work needed more than the {settings.JOB_MEMORY_MB} MB of memory that "
            "JOB_MEMORY_MB allows. Use fewer or smaller pictures, or raise the limit."
        )
    return folders.lack_of_room()


def _nothing() -> None:
    """The claim is lost: the child has just told the end, or whoever holds the new one will."""


def _tell_death(job: Job, returncode: int) -> None:
    """Say how the child died, unless it has told the end of the job itself."""
    if returncode:
        log.append(job, _newest(job.folder / "output.txt"))
    if returncode == -signal.SIGKILL:
        reason = "The process of this work was killed; the machine may be short of memory."
    else:
        reason = f"The process of this work ended unexpectedly ({returncode})."
    queue.give_back(job, reason)


def _bound(output: Path) -> None:
    """Empty what libraries print without end; the log is kept apart."""
    with suppress(FileNotFoundError):  # the work has just ended and tidied up
        if output.stat().st_size > OUTPUT_BYTES:
            os.truncate(output, 0)


def _newest(output: Path) -> str:
    try:
        return output.read_bytes()[-4000:].decode(errors="replace").strip()
    except OSError:
        return ""


def anonymous_memory_mb(session: int) -> int:
    """Memory of a session's processes that is their own, without mapped files.

    0 where the system does not tell.
    """
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) != session:
                continue
            status = (folder / "status").read_text()
        except OSError:  # it has ended meanwhile
            continue
        for line in status.splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total // 1024
