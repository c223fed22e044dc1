"""Writes of samples and their images. What becomes of the jobs is in :mod:`analyses.pipeline`."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import cast
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import F, Max
from django.utils import timezone

from accounts import audit
from accounts.models import Site, User
from analyses import pipeline
from analyses.models import (
    ACCESSION_TAKEN,
    AccessionCounter,
    Analysis,
    Cell,
    Patient,
    Prediction,
    Review,
    Sample,
    SampleImage,
)
from analyses.selectors import same_picture_warning
from hematovision.files.gate import GateError
from hematovision.files.models import StoredImage
from hematovision.files.services import image_file_keep, stored_image_create
from inference.cells import answers_for
from inference.registry.selectors import active_model_version

FILE_NAME_LENGTH = 200


class Outcome(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True)
class FileOutcome:
    """What became of one file, in a sentence for the person who sent it."""

    name: str
    outcome: Outcome
    sentence: str
    warning: str = ""
    sample_image: SampleImage | None = None


@dataclass(frozen=True)
class NewSample:
    """A sample to be made with the first picture that passes the gate.

    ``batch`` names one upload that comes in many requests: the first of them makes the sample,
    the others find it.
    """

    site: Site
    accession_number: str = ""
    patient_identifier: str = ""
    batch: UUID | None = None
    is_synthetic: bool = False
    training_consent: bool = False


def sample_create(*, new: NewSample, by: User) -> Sample:
    """Make a sample; without an accession number it gets the next one of the day. Idempotent by
    batch.

    Raises:
        ValidationError: the accession number is malformed or taken.
    """
    if sample := _sample_of_batch(new, by):
        return sample
    try:
        return _sample_insert(new=new, by=by)
    except (ValidationError, IntegrityError) as error:
        if sample := _sample_of_batch(new, by):  # another request of this batch was first
            return sample
        if isinstance(error, ValidationError):
            raise
        raise ValidationError(ACCESSION_TAKEN) from error


def _sample_of_batch(new: NewSample, by: User) -> Sample | None:
    """The sample that an earlier request of this batch has made.

    Raises:
        ValidationError: that one was told another accession number, patient, site or consent: a
            picture must never slip under the wrong patient.
    """
    if new.batch is None:
        return None
    made = Sample.objects.select_related("patient").filter(batch=new.batch, created_by=by).first()
    if made is None:
        return None
    patient = made.patient.identifier if made.patient else ""
    if (
        made.site_id != new.site.pk
        or patient != new.patient_identifier
        or new.accession_number not in ("", made.accession_number)
        or made.training_consent != new.training_consent
    ):
        raise ValidationError(
            "This upload was begun for another sample. Reload the page and send it anew."
        )
    return made


@transaction.atomic
def _sample_insert(*, new: NewSample, by: User) -> Sample:
    patient = None
    if new.patient_identifier:
        patient, _ = Patient.objects.get_or_create(site=new.site, identifier=new.patient_identifier)
    sample = Sample(
        site=new.site,
        accession_number=new.accession_number or _next_accession_number(),
        patient=patient,
        batch=new.batch,
        is_synthetic=new.is_synthetic,
        training_consent=new.training_consent,
        created_by=by,
    )
    sample.full_clean()
    sample.save()
    audit.record(
        audit.Action.SAMPLE_CREATED,
        actor=by,
        subject=sample,
        site=new.site.name,
        patient=new.patient_identifier or None,
        synthetic=new.is_synthetic,
        training_consent=new.training_consent,
    )
    return sample


def images_upload(
    *, target: Sample | NewSample, files: Iterable[tuple[str, bytes]], by: User
) -> tuple[Sample | None, list[FileOutcome]]:
    """Add pictures to a sample, each in a transaction of its own: a bad one harms no other.

    A new sample is made with the first picture that passes the gate, so that a batch of broken
    files leaves no empty sample; then the sample is None.

    Raises:
        ValidationError: the new sample's accession number is malformed or taken.
    """
    sample = target if isinstance(target, Sample) else None
    outcomes = []
    for full_name, data in files:
        name = full_name[:FILE_NAME_LENGTH]
        try:
            inspected = image_file_keep(data=data)
        except GateError as error:
            audit.record(
                audit.Action.IMAGE_REFUSED,
                actor=by,
                subject=sample,
                label=name,
                file_name=name,
                reason=str(error),
            )
            outcomes.append(FileOutcome(name, Outcome.REFUSED, str(error)))
            continue
        with transaction.atomic():
            if isinstance(target, NewSample) and sample is None:
                sample = sample_create(new=target, by=by)
            outcome = sample_image_add(
                sample=cast(Sample, sample),
                stored_image=stored_image_create(inspected=inspected),
                file_name=name,
                by=by,
            )
        outcomes.append(outcome)
    return sample, outcomes


@transaction.atomic
def sample_image_add(
    *, sample: Sample, stored_image: StoredImage, file_name: str, by: User
) -> FileOutcome:
    """Put one picture into a sample and queue its analysis. The same picture counts once."""
    sample = Sample.objects.select_for_update().get(pk=sample.pk)
    if there := sample.images.filter(stored_image=stored_image).first():
        return FileOutcome(
            file_name,
            Outcome.DUPLICATE,
            f"The same picture is in {sample} already, as {there.file_name}. It counts once.",
            sample_image=there,
        )
    last = sample.images.aggregate(last=Max("position"))["last"]
    sample_image = SampleImage.objects.create(
        sample=sample,
        stored_image=stored_image,
        file_name=file_name,
        position=0 if last is None else last + 1,
        uploaded_by=by,
    )
    audit.record(
        audit.Action.IMAGE_UPLOADED, actor=by, subject=sample_image, sha256=stored_image.sha256
    )
    queued = pipeline.queue(sample_image=sample_image, by=by)
    return FileOutcome(
        file_name,
        Outcome.ACCEPTED,
        "Received." if queued else "Received and kept. It waits until an admin activates a model.",
        same_picture_warning(sample, person=by, image=sample_image),
        sample_image,
    )


@transaction.atomic
def analysis_retry(*, analysis: Analysis, by: User) -> None:
    """Give a failed analysis a fresh set of attempts."""
    analysis = Analysis.objects.select_for_update().get(pk=analysis.pk)
    if analysis.status != Analysis.Status.FAILED:
        raise ValidationError("Only a failed analysis can be retried.")
    reason = analysis.error
    analysis.status = Analysis.Status.QUEUED
    analysis.attempt = 0  # a claim of before does not hold: each claim has a token of its own
    analysis.error = ""
    analysis.due_at = timezone.now()
    analysis.priority = Analysis.Priority.INTERACTIVE
    analysis.save()
    audit.record(audit.Action.ANALYSIS_RETRIED, actor=by, subject=analysis, failed_with=reason)
    pipeline.hint_on_commit()


@transaction.atomic
def cell_review(*, cell: Cell, label: str, by: User) -> Review:
    """Add a person's answer. The model's own stays; the same answer twice by one person is one.

    Raises:
        ValidationError: nobody can say this of a cell.
    """
    cell = Cell.objects.select_for_update(of=("self",)).select_related("review").get(pk=cell.pk)
    model_version = cell.sample_image.sample.model_version
    known = answers_for(model_version.classes if model_version else ())
    if not any(label in labels for labels in known.values()):
        raise ValidationError("Choose what the cell is from the list.")
    before = cell.review
    if before and (before.label, before.by_id) == (label, by.pk):
        return before
    said = Prediction.objects.filter(cell=cell, model_version=model_version).first()
    review = Review.objects.create(cell=cell, label=label, prediction=said, by=by)
    Cell.objects.filter(pk=cell.pk).update(review=review)
    audit.record(
        audit.Action.CELL_REVIEWED,
        actor=by,
        subject=cell,
        sample=cell.sample_image.sample_id,
        answer=label,
        before=before.label if before else None,
        model_said=said.label if said else None,
        model=model_version.version if model_version else None,
    )
    return review


@transaction.atomic
def consent_set(*, sample: Sample, given: bool, by: User) -> None:
    """Say whether pictures of a sample may be used to train and test models, from now on."""
    changed = Sample.objects.filter(pk=sample.pk, training_consent=not given)
    if changed.update(training_consent=given):
        audit.record(audit.Action.CONSENT_CHANGED, actor=by, subject=sample, given=given)


@transaction.atomic
def sample_reanalyse(*, sample: Sample, by: User) -> None:
    """Have all images of a sample read by its site's model of today.

    Its cells stay, and so do the earlier models' answers and people's reviews.

    Raises:
        ValidationError: that model reads the sample already, or no model is in use.
    """
    sample = Sample.objects.select_for_update().get(pk=sample.pk)
    before, now = sample.model_version, active_model_version(sample.site)
    if now is None:
        raise ValidationError("No model is in use: ask an admin to put one in use.")
    if now == before:
        raise ValidationError(f"{now} reads this sample already.")
    pipeline.queue_anew(sample=sample, model_version=now, by=by)
    audit.record(
        audit.Action.REANALYSIS_STARTED,
        actor=by,
        subject=sample,
        before=str(before) if before else None,
        now=str(now),
    )


def _next_accession_number() -> str:
    """The next number of today that nobody has typed by hand before."""
    now = timezone.localtime()
    while True:
        counter, _ = AccessionCounter.objects.get_or_create(day=now.date())
        AccessionCounter.objects.filter(pk=counter.pk).update(last=F("last") + 1)
        counter.refresh_from_db()
        number = settings.ACCESSION_FORMAT.format(date=now, number=counter.last)
        if not Sample.objects.filter(accession_number=number).exists():
            return str(number)
