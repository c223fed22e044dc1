"""The life of an analysis row: queue, claim, give back, fail, reap. (Its reading: `reading.py`.)

The row is the truth, the broker a hint, the reaper the recovery: whatever happens to messages and
workers, a queued row is found again, and a result is written once per image and model version.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import User
from analyses.models import Analysis, Sample, SampleImage
from hematovision.celery import app
from inference.models import ModelVersion
from inference.registry.selectors import active_model_version

logger = logging.getLogger(__name__)

INTERACTIVE_IMAGES = 10  # the first images of a sample go before other samples' large batches
RETRY_SECONDS = 5  # times the attempt: a storage that is away for a moment gets that moment
MODEL_RETRY_SECONDS = 30

Status = Analysis.Status


# --- Queue -----------------------------------------------------------------------------------
def queue(*, sample_image: SampleImage, by: User) -> Analysis | None:
    """Queue an image for its sample's model, inside the caller's transaction.

    Returns None where no model is active: the image waits, and the reaper queues it later.
    """
    model_version = _pinned_model(sample_image.sample)
    if model_version is None:
        return None
    analysis, _ = Analysis.objects.get_or_create(
        sample_image=sample_image,
        model_version=model_version,
        defaults={"requested_by": by, "priority": _priority(sample_image)},
    )
    hint_on_commit()
    return analysis


def queue_anew(*, sample: Sample, model_version: ModelVersion, by: User) -> None:
    """Give a sample to another model and queue all its images, inside the caller's transaction.

    What other models have read stays as it is; their jobs without a result go. Images that this
    model has read before are not read again: it would say the same.
    """
    images = list(sample.images.select_for_update())  # who writes a result locks its image
    jobs = Analysis.objects.filter(sample_image__in=images)
    jobs.exclude(status=Status.DONE).delete()
    read = set(jobs.filter(model_version=model_version).values_list("sample_image", flat=True))
    Analysis.objects.bulk_create(
        Analysis(
            sample_image=image,
            model_version=model_version,
            requested_by=by,
            priority=_priority(image),
        )
        for image in images
        if image.pk not in read
    )
    sample.model_version = model_version
    sample.save(update_fields=["model_version"])
    hint_on_commit()


def _priority(sample_image: SampleImage) -> Analysis.Priority:
    interactive = sample_image.position < INTERACTIVE_IMAGES
    return Analysis.Priority.INTERACTIVE if interactive else Analysis.Priority.BATCH


def hint_on_commit() -> None:
    transaction.on_commit(hint)


def hint() -> None:
    """Tell a worker that there is work. A hint that gets lost is made good by the reaper."""
    try:
        app.send_task("analyses.tasks.analyse_queued")
    except Exception:
        # Whatever the broker's client raises: the row is safe, and a person must not see an error.
        logger.warning("The broker is out of reach; the reaper will find the rows.", exc_info=True)


def _pinned_model(sample: Sample) -> ModelVersion | None:
    """One sample is read by one model: its site's when its first image was queued."""
    if sample.model_version is None:
        sample.model_version = active_model_version(sample.site)
        if sample.model_version is not None:
            sample.save(update_fields=["model_version"])
    return sample.model_version


# --- Claim -----------------------------------------------------------------------------------
@transaction.atomic
def claim(*, worker: str) -> list[Analysis]:
    """Take queued rows under a lease: many fresh ones, or a single one that was tried before.

    A picture that kills its worker is thus alone from its second attempt on, and its neighbours
    of the first lose no more than one attempt.
    """
    now = timezone.now()
    due = (
        Analysis.objects.select_for_update(
            skip_locked=connection.features.has_select_for_update_skip_locked
        )
        .filter(status=Status.QUEUED, due_at__lte=now)
        .order_by("-priority", "due_at", "pk")
    )
    first = due.first()
    if first is None:
        return []
    rows = [first] if first.attempt else list(due.filter(attempt=0)[: settings.ANALYSIS_CLAIM_SIZE])
    pks = [row.pk for row in rows]
    Analysis.objects.filter(pk__in=pks).update(
        status=Status.RUNNING,
        attempt=F("attempt") + 1,
        claim=uuid4(),
        worker=worker,
        lease_expires_at=_lease_end(now),
    )
    return list(
        Analysis.objects.filter(pk__in=pks)
        .select_related(
            "sample_image__stored_image",
            "sample_image__sample__site",
            "model_version",
            "requested_by",
        )
        .order_by("-priority", "due_at", "pk")
    )


def renew(analyses: Sequence[Analysis]) -> None:
    """Prolong the leases of rows that this worker has claimed and not yet handled."""
    if not analyses or timezone.now() < _lease_half_way(analyses[0]):
        return
    end = _lease_end(timezone.now())
    for analysis in analyses:
        held(analysis).update(lease_expires_at=end)
        analysis.lease_expires_at = end


def _lease_end(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.ANALYSIS_LEASE_SECONDS)


def _lease_half_way(analysis: Analysis) -> datetime:
    assert analysis.lease_expires_at is not None, "claimed rows have a lease"
    return analysis.lease_expires_at - timedelta(seconds=settings.ANALYSIS_LEASE_SECONDS / 2)


def held(analysis: Analysis) -> QuerySet[Analysis]:
    """The row, as long as this claim of it still holds."""
    return Analysis.objects.filter(pk=analysis.pk, status=Status.RUNNING, claim=analysis.claim)


# --- Fail -----------------------------------------------------------------------------------
@transaction.atomic
def fail(
    analysis: Analysis, reason: str, *, final: bool = False, retry_after: int | None = None
) -> bool:
    """Give the row back for another attempt, or fail it visibly after the last.

    ``retry_after`` is in seconds; without it the pause grows with the attempts. Returns whether
    the row is given back.
    """
    last = final or analysis.attempt >= settings.ANALYSIS_MAX_ATTEMPTS
    pause = RETRY_SECONDS * analysis.attempt if retry_after is None else retry_after
    was_held = held(analysis).update(
        status=Status.FAILED if last else Status.QUEUED,
        error=reason[:500],
        lease_expires_at=None,
        due_at=timezone.now() + timedelta(seconds=pause),
        finished_at=timezone.now() if last else None,
    )
    if was_held and last:
        audit.record(
            audit.Action.ANALYSIS_FAILED,
            actor=analysis.requested_by,
            subject=analysis,
            reason=reason,
            attempt=analysis.attempt,
        )
    return not last


def wait_for_model(analysis: Analysis, reason: str) -> None:
    """A model that cannot be loaded is not the picture's fault: it waits and loses no attempt."""
    logger.error("%s", reason)
    held(analysis).update(
        status=Status.QUEUED,
        attempt=F("attempt") - 1,
        error=reason[:500],
        lease_expires_at=None,
        due_at=timezone.now() + timedelta(seconds=MODEL_RETRY_SECONDS),
    )


@transaction.atomic
def change_over(analysis: Analysis) -> bool:
    """Give a sample whose model cannot run any more to its site's model, if there is another.

    One that has a result keeps its model: a sample is read by one model until a person asks for
    another. Returns whether it was changed over.
    """
    sample = Sample.objects.select_for_update().get(pk=analysis.sample_image.sample_id)
    before, now = analysis.model_version, active_model_version(sample.site)
    read = Analysis.objects.filter(sample_image__sample=sample, status=Status.DONE)
    if now is None or now == before or sample.model_version != before or read.exists():
        return False
    queue_anew(sample=sample, model_version=now, by=analysis.requested_by)
    audit.record(
        audit.Action.SAMPLES_CHANGED_OVER,
        actor=None,
        subject=now,
        before=before.version,
        samples=[sample.pk],
    )
    return True


# --- Reap ------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Reaped:
    requeued: int
    failed: int
    queued: int


def reap() -> Reaped:
    """Bring back what was lost: expired leases, lost hints, images that waited for a model."""
    expired = Q(status=Status.RUNNING, lease_expires_at__lt=timezone.now())
    return _give_back(expired, "The worker stopped while it was reading this picture.")


def release(*, worker: str) -> Reaped:
    """Give back what a worker of this name held: it starts anew, so the former one is gone."""
    held = Q(status=Status.RUNNING, worker=worker)
    return _give_back(held, "The worker was stopped while it was reading this picture.")


def _give_back(rows: Q, reason: str) -> Reaped:
    lost = Analysis.objects.filter(rows).select_related("sample_image__sample", "requested_by")
    given_back = [fail(analysis, reason, retry_after=0) for analysis in lost]
    queued = _queue_waiting_images()
    if Analysis.objects.filter(status=Status.QUEUED, due_at__lte=timezone.now()).exists():
        hint()
    return Reaped(given_back.count(True), given_back.count(False), queued)


def _queue_waiting_images() -> int:
    """Queue images that were uploaded while no model was active."""
    if active_model_version() is None:
        return 0
    waiting = SampleImage.objects.filter(analyses=None).select_related(
        "sample__site", "uploaded_by"
    )
    count = 0
    for sample_image in waiting[:1000]:
        with transaction.atomic():
            queue(sample_image=sample_image, by=sample_image.uploaded_by)
        count += 1
    return count
