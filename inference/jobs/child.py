"""``python -m inference.jobs.child UUID CLAIM PARENT``: the process that does one job.

It runs at the lowest priority, dies with its worker, tells that one its progress, and writes the
end of the job itself (done, failed with a sentence, cancelled); a death without one is for the
worker to tell.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import django

if TYPE_CHECKING:
    from inference.models import Job

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
WRITE_EVERY = 1.0  # seconds between two writes of the progress
ALONE_SECONDS = 30.0  # for a former process of the same job to be gone


def main() -> None:
    uuid, claim, parent = sys.argv[1], sys.argv[2], int(sys.argv[3])
    die_with(parent, signal.SIGKILL)
    take_along()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hematovision.settings")
    django.setup()
    from django.conf import settings

    from inference.models import Job

    job = Job.objects.select_related("requested_by").get(uuid=uuid)
    if settings.JOB_LOW_PRIORITY:
        step_back(idle=job.kind == Job.Kind.TRAINING)
    job.claim = UUID(claim)
    with alone_in(job.folder):
        run(job)


def die_with(parent: int, by: signal.Signals) -> None:
    """Have the kernel send this process a signal when its parent goes, however that goes.

    To be exact: when the parent's *thread* goes that started this process; the threads of the
    worker's pool live as long as the worker.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:
        sys.exit(1)


def take_along() -> None:
    """Have a second, sleeping process kill what this one has started, once this one is gone."""
    if sys.platform != "linux":
        return
    child = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    if os.fork() == 0:
        die_with(child, signal.SIGUSR1)
        signal.sigwait({signal.SIGUSR1})
        os.killpg(0, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})


def step_back(*, idle: bool) -> None:
    """Leave the processor to those who wait for an answer.

    A training (`idle`) takes only what nobody else wants. Somebody waits for an import or a
    comparison, and it holds locks of the database: it gets a tenth beside a busy process.

    Linux weighs whole sessions against each other first: `nice` alone does nothing between two.
    Where memory runs out, this process is the first to go.
    """
    niceness = 19 if idle else 10
    os.nice(niceness)
    if sys.platform == "linux":
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        for name, value in (("autogroup", str(niceness)), ("oom_score_adj", "1000")):
            try:
                Path("/proc/self", name).write_text(value)
            except OSError:  # a kernel without it
                logger.debug("no %s", name)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a job's folder: a process whose worker was given up for dead may still write there."""
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + ALONE_SECONDS
    with (folder / "lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    sys.exit("Another process still does this work.")
                time.sleep(0.2)
        yield


class Running:
    """A job at work: what its runner reports to and asks."""

    def __init__(self, job: Job) -> None:
        from inference.jobs import log, progress, queue

        self.job = job
        self._queue, self._log, self._progress = queue, log, progress
        self._written = self._asked = 0.0
        self._stop = ""

    @property
    def folder(self) -> Path:
        """The job's own folder, kept between attempts."""
        return self.job.folder

    def report(self, stage: str, done: int, total: int, message: str = "") -> None:
        """Say where the work stands; told to the worker once a second, the message to the log."""
        from django.utils import timezone

        if message:
            self.log(message)
        if stage != self.job.stage:
            self.job.stage, self.job.stage_started_at = stage, timezone.now()
            self.job.stage_started_with = done
        elif not message and done < total and time.monotonic() - self._written < WRITE_EVERY:
            return
        self._written = time.monotonic()
        self.job.steps_done, self.job.steps_total = done, total
        if message:
            self.job.message = message.splitlines()[-1][:500]
        self._progress.write(self.job)

    def log(self, text: str) -> None:
        self._log.append(self.job, text)

    def got_further(self) -> None:
        """Say that what was done so far need not be done again: a checkpoint lies in the folder.

        A job is given up after some attempts that got no further; see `queue.got_further`.
        """
        self._queue.got_further(self.job)

    def stop(self) -> str:
        """What a person has asked for meanwhile: nothing, "finish" or "cancel"."""
        if time.monotonic() - self._asked >= WRITE_EVERY:
            self._asked = time.monotonic()
            self._stop = self._queue.stop_of(self.job)
        return self._stop

    def check_stop(self) -> None:
        """Raise `Cancelled` if a person has asked for it."""
        from inference.jobs.kinds import Cancelled

        if self.stop() == "cancel":
            raise Cancelled

    @contextmanager
    def result(self) -> Iterator[None]:
        """A transaction that writes the result and, with it, the end of the job.

        Nothing is written by a process whose claim is lost: `Cancelled` is raised instead.
        """
        from django.db import transaction

        from inference.jobs.kinds import Cancelled

        with transaction.atomic():
            if not self._queue.finish(self.job):
                raise Cancelled
            yield


def run(job: Job) -> None:
    from inference.jobs import queue
    from inference.jobs.kinds import Cancelled, JobError, runner

    running = Running(job)
    if job.attempt > 1 or (job.started_at and job.log_path.exists()):
        running.log("It is begun again.")
    try:
        runner(job.kind)(running)
    except Cancelled:
        queue.cancelled(job)
    except JobError as error:
        running.log(str(error))
        queue.fail(job, str(error))
    except Exception as error:
        running.log(traceback.format_exc())
        logger.exception("Job %s failed.", job.pk)
        queue.fail(job, sentence_about(error))
    else:
        queue.finish(job)


def sentence_about(error: Exception) -> str:
    """What an error that no runner has foreseen tells a person."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Make room on the server, then try again."
    if "disk is full" in str(error):  # SQLite's words
        return "The disk of the database is full. Make room on the server, then try again."
    if isinstance(error, MemoryError):
        return "The memory of the machine did not suffice. Use fewer or smaller pictures."
    if isinstance(error, OSError):
        return f"The disk or a file cannot be used: {error.strerror or error}."
    return f"An unexpected error: {type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
