"""``python -m inference.jobs.child UUID CLAIM``: the process that does one job.

It runs at the lowest priority, dies with its worker, writes its own progress, and alone writes
the end of the job (done, failed with a sentence, cancelled); a death without one is for the
worker to tell.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import django

if TYPE_CHECKING:
    from inference.models import Job

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
WRITE_EVERY = 1.0  # seconds between two writes of the progress
LOG_BYTES = 1_000_000


def main() -> None:
    uuid, claim, parent = sys.argv[1], sys.argv[2], int(sys.argv[3])
    die_with(parent)
    step_back()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hematovision.settings")
    django.setup()
    from inference.models import Job

    job = Job.objects.select_related("requested_by").get(uuid=uuid)
    job.claim = UUID(claim)
    run(job)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its worker goes, however that goes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


def step_back() -> None:
    """Run only when nobody who waits for an answer wants the processor.

    Linux weighs whole sessions against each other first: `nice` alone does nothing between two.
    """
    os.nice(19)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        try:
            Path("/proc/self/autogroup").write_text("19")
        except OSError:  # a kernel without autogroups
            logger.debug("no autogroup")


class Running:
    """A job at work: what its runner reports to and asks."""

    def __init__(self, job: Job) -> None:
        from inference.jobs import queue

        self.job = job
        self._queue = queue
        self._written = self._asked = 0.0
        self._stop = ""
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def folder(self) -> Path:
        """The job's own folder, kept between attempts."""
        return self.job.folder

    def report(self, stage: str, done: int, total: int, message: str = "") -> None:
        """Say where the work stands; written to the row once a second, the message to the log."""
        from django.utils import timezone

        if message:
            self.log(message)
        if stage != self.job.stage:
            self.job.stage, self.job.stage_started_at = stage, timezone.now()
        elif not message and done < total and time.monotonic() - self._written < WRITE_EVERY:
            return
        self._written = time.monotonic()
        fields = {
            "stage": stage,
            "stage_started_at": self.job.stage_started_at,
            "steps_done": done,
            "steps_total": total,
        }
        if message:
            fields["message"] = message.splitlines()[-1][:500]
        self._queue.progress(self.job, **fields)

    def log(self, text: str) -> None:
        path = self.job.log_path
        if path.exists() and path.stat().st_size > LOG_BYTES:
            return
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def stop(self) -> str:
        """What a person has asked for meanwhile: nothing, "finish" or "cancel"."""
        from inference.models import Job

        if time.monotonic() - self._asked >= WRITE_EVERY:
            self._asked = time.monotonic()
            held = self._queue.held(self.job.pk, self.job.claim).values_list("stop", flat=True)
            self._stop = next(iter(held), Job.Stop.CANCEL.value)  # a lost claim ends it, too
        return self._stop

    def check_stop(self) -> None:
        """Raise `Cancelled` if a person has asked for it."""
        from inference.jobs.kinds import Cancelled

        if self.stop() == "cancel":
            raise Cancelled


def run(job: Job) -> None:
    from inference.jobs import queue
    from inference.jobs.kinds import Cancelled, JobError, runner

    running = Running(job)
    try:
        runner(job.kind)(running)
    except Cancelled:
        queue.cancelled(job)
    except JobError as error:
        running.log(str(error))
        queue.fail(job, str(error))
    except OSError as error:
        running.log(traceback.format_exc())
        queue.fail(job, f"The disk or a file cannot be used: {error.strerror or error}.")
    except Exception as error:
        running.log(traceback.format_exc())
        logger.exception("Job %s failed.", job.pk)
        queue.fail(job, f"An unexpected error: {type(error).__name__}: {error}")
    else:
        queue.finish(job)


if __name__ == "__main__":
    main()
