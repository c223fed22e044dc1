"""The life of a job row: queue, claim, renew, finish, fail, cancel, reap.

The row is the truth, the broker a hint, the reaper the recovery.
"""

import logging
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import User
from hematovision.celery import app
from inference.models import Job

logger = logging.getLogger(__name__)

Status = Job.Status


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


@transaction.atomic
def claim(*, worker: str) -> Job | None:
    """Take the oldest job that is due under a lease; one training at a time for each worker."""
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
    job.error = ""
    job.save()
    return job


def held(pk: int, claim: UUID | None) -> QuerySet[Job]:
    """The row, as long as this claim of it still holds."""
    return Job.objects.filter(pk=pk, status=Status.RUNNING, claim=claim)


def renew(job: Job) -> bool:
    """Prolong the lease; return whether the claim still holds."""
    end = timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)
    return bool(held(job.pk, job.claim).update(lease_expires_at=end))


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
        status=status, lease_expires_at=None, finished_at=timezone.now(), **fields
    )
    if ended:
        action = {
            Status.DONE: audit.Action.JOB_DONE,
            Status.FAILED: audit.Action.JOB_FAILED,
            Status.CANCELLED: audit.Action.JOB_CANCELLED,
        }[status]
        audit.record(action, actor=job.requested_by, subject=job, **fields)
    return bool(ended)


@transaction.atomic
def give_back(job: Job, reason: str) -> None:
    """The process that did the work is gone: another attempt, or a visible failure at last."""
    if job.attempt >= settings.JOB_MAX_ATTEMPTS:
        fail(job, reason)
        return
    held(job.pk, job.claim).update(
        status=Status.QUEUED, lease_expires_at=None, error=reason[:1000], due_at=timezone.now()
    )
    transaction.on_commit(hint)


@transaction.atomic
def job_stop(*, job: Job, how: Job.Stop, by: User) -> None:
    """Ask for the end of a job; one that waits is cancelled at once."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.is_over:
        return
    audit.record(audit.Action.JOB_STOPPED, actor=by, subject=job, how=how)
    if job.status == Status.QUEUED and how == Job.Stop.CANCEL:
        Job.objects.filter(pk=job.pk).update(
            status=Status.CANCELLED, stop=how, finished_at=timezone.now()
        )
        return
    Job.objects.filter(pk=job.pk).update(stop=how)


@transaction.atomic
def job_retry(*, job: Job, by: User) -> None:
    """Queue a failed job anew; it goes on where its folder says it stood."""
    job = Job.objects.select_for_update().get(pk=job.pk)
    if job.status != Status.FAILED:
        return
    Job.objects.filter(pk=job.pk).update(
        status=Status.QUEUED, attempt=0, stop="", error="", finished_at=None, due_at=timezone.now()
    )
    audit.record(audit.Action.JOB_RETRIED, actor=by, subject=job, failed_with=job.error)
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


def progress(job: Job, **fields: Any) -> None:
    """Write where the work stands, as long as the claim holds."""
    held(job.pk, job.claim).update(**fields)
