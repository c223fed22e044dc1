"""The life of a job row: queue, claim, renew, finish, fail, give back, reap.

The row is the truth, the broker a hint, the reaper the recovery: whatever happens to messages,
workers and their children, a queued job is found again, and only who holds the newest claim
writes its end.
"""

import logging
import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import User
from hematovision.celery import app
from inference.jobs import folders, progress
from inference.models import Job

logger = logging.getLogger(__name__)

Status, Stop = Job.Status, Job.Stop

_claiming = threading.Lock()


# --- Queue -----------------------------------------------------------------------------------
def job_create(*, kind: Job.Kind, by: User | None) -> Job:
    """Queue work, inside the caller's transaction, which also makes the row that it is about."""
    job = Job.objects.create(kind=kind, requested_by=by)
    transaction.on_commit(hint)
    return job


def hint() -> None:
    """Tell a training worker that there is work. A lost hint is made good by the reaper."""
    try:
        app.send_task("inference.tasks.work")
    except Exception:
        logger.warning("The broker is out of reach; the reaper will find the job.", exc_info=True)


# --- Claim -----------------------------------------------------------------------------------
def claim(*, worker: str) -> Job | None:
    """Take the oldest job that is due under a lease; one training at a time for each worker.

    A worker is one process; its threads come in one after the other, so that none of them
    overlooks the training that another one is just taking.
    """
    with _claiming:
        return _claim(worker)


@transaction.atomic
def _claim(worker: str) -> Job | None:
    now = timezone.now()
    due = Job.objects.select_for_update(
        skip_locked=connection.features.has_select_for_update_skip_locked
    ).filter(status=Status.QUEUED, due_at__lte=now)
    if Job.objects.filter(status=Status.RUNNING, worker=worker, kind=Job.Kind.TRAINING).exists():
        due = due.exclude(kind=Job.Kind.TRAINING)
    job = due.order_by("due_at", "pk").first()
    if job is None:
        return None
    job.status = Status.RUNNING
    job.attempt += 1
    job.claim = uuid4()
    job.worker = worker
    job.lease_expires_at = now + timedelta(seconds=settings.JOB_LEASE_SECONDS)
    job.started_at = job.started_at or now
    job.stage, job.steps_done, job.steps_total = "", 0, 0
    job.error = ""
    job.save()
    return job


def held(pk: int, claim: UUID | None) -> QuerySet[Job]:
    """The row, as long as this claim of it still holds."""
    return Job.objects.filter(pk=pk, status=Status.RUNNING, claim=claim)


def renew(job: Job) -> bool:
    """Prolong the lease and write where the work stands; return whether the claim still holds."""
    end = timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)
    fields = {**progress.of(job), "peak_memory_mb": job.peak_memory_mb}
    return bool(held(job.pk, job.claim).update(lease_expires_at=end, **fields))


def got_further(job: Job) -> None:
    """What was done so far outlasts this attempt: the attempts are counted from here.

    So a long training is not given up for a server that was restarted a few times, while work
    that dies again and again at one place is.
    """
    held(job.pk, job.claim).update(attempt=1)


def stop_of(job: Job) -> str:
    """What a person has asked for; a lost claim ends the work, too."""
    asked = held(job.pk, job.claim).values_list("stop", flat=True).first()
    return Stop.CANCEL if asked is None else asked


# --- The end ---------------------------------------------------------------------------------
@transaction.atomic
def finish(job: Job) -> bool:
    """Mark the work as done, in the transaction that writes its result."""
    return _end(job, Status.DONE)


@transaction.atomic
def fail(job: Job, reason: str) -> bool:
    """Fail visibly: the same work would fail again."""
    return _end(job, Status.FAILED, error=reason[:1000])


@transaction.atomic
def cancelled(job: Job) -> bool:
    return _end(job, Status.CANCELLED)


def _end(job: Job, status: Job.Status, **fields: Any) -> bool:
    ended = held(job.pk, job.claim).update(
        status=status,
        lease_expires_at=None,
        finished_at=timezone.now(),
        **progress.of(job),
        **fields,
    )
    if ended:
        action = {
            Status.DONE: audit.Action.JOB_DONE,
            Status.FAILED: audit.Action.JOB_FAILED,
            Status.CANCELLED: audit.Action.JOB_CANCELLED,
        }[status]
        audit.record(action, actor=job.requested_by, subject=job, **fields)
    return bool(ended)


def tidy(job: Job) -> None:
    """Once its process is gone: work that is done or cancelled leaves its log only.

    A failed one goes on from its folder when it is tried again.
    """
    if Job.objects.filter(pk=job.pk, status__in=(Status.DONE, Status.CANCELLED)).exists():
        folders.clean(job.folder)


# --- Give back -------------------------------------------------------------------------------
@transaction.atomic
def give_back(job: Job, reason: str) -> None:
    """The process that did the work is gone: another attempt, or a visible end at last.

    Nothing happens where that process has told the end itself.
    """
    row = held(job.pk, job.claim).select_for_update().first()
    if row is None:
        return
    if row.stop == Stop.CANCEL:
        cancelled(row)
        transaction.on_commit(lambda: tidy(row))
    elif row.attempt >= settings.JOB_MAX_ATTEMPTS:
        fail(row, f"{reason} It was begun {row.attempt} times without getting any further.")
    else:
        _requeue(row, error=reason[:1000])


@transaction.atomic
def put_back(job: Job) -> None:
    """The worker is being stopped in good order: the work waits and loses no attempt."""
    _requeue(job, attempt=F("attempt") - 1)


def _requeue(job: Job, **fields: Any) -> None:
    held(job.pk, job.claim).update(
        status=Status.QUEUED, lease_expires_at=None, due_at=timezone.now(), **fields
    )
    transaction.on_commit(hint)


def reap() -> None:
    """Bring back what was lost: expired leases and lost hints."""
    now = timezone.now()
    for job in Job.objects.filter(status=Status.RUNNING, lease_expires_at__lt=now):
        give_back(job, "The worker stopped in the middle of this work.")
    if Job.objects.filter(status=Status.QUEUED, due_at__lte=now).exists():
        hint()


def release(*, worker: str) -> None:
    """Give back what a worker of this name held: it starts anew, so the former one is gone."""
    for job in Job.objects.filter(status=Status.RUNNING, worker=worker):
        give_back(job, "The worker was stopped in the middle of this work.")


# --- What people ask for ---------------------------------------------------------------------
@transaction.atomic
def job_stop(*, job: Job, how: Job.Stop, by: User) -> None:
    """Ask for the end of a job; one that waits is cancelled at once."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.is_over:
        return
    Job.objects.filter(pk=job.pk).update(stop=how)
    audit.record(audit.Action.JOB_STOPPED, actor=by, subject=job, how=how)
    if job.status == Status.QUEUED and how == Stop.CANCEL:
        Job.objects.filter(pk=job.pk).update(
            status=Status.CANCELLED, finished_at=timezone.now(), error=""
        )
        audit.record(audit.Action.JOB_CANCELLED, actor=by, subject=job)
        transaction.on_commit(lambda: tidy(job))


@transaction.atomic
def job_retry(*, job: Job, by: User) -> None:
    """Queue a failed job anew; it goes on where its folder says it stood."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.status != Status.FAILED:
        return
    Job.objects.filter(pk=job.pk).update(
        status=Status.QUEUED,
        attempt=0,
        stop=Stop.NOTHING,
        error="",
        started_at=None,
        finished_at=None,
        due_at=timezone.now(),
    )
    audit.record(audit.Action.JOB_RETRIED, actor=by, subject=job, failed_with=job.error)
    transaction.on_commit(hint)
