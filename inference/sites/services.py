"""Writes of a site's first day: measure a model on its cells, adapt it, accept it."""

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Site, User
from inference.jobs.queue import job_create
from inference.models import DatasetVersion, Job, ModelVersion, SiteValidation
from inference.sites.verdict import FEWEST_CELLS, Verdict

MOST_CELLS = 5000  # more say hardly more, and take long


@transaction.atomic
def validation_start(
    *, site: Site, model_version: ModelVersion, dataset_version: DatasetVersion, by: User | None
) -> SiteValidation:
    """Queue the measurement of a model on a site's own labelled cells. One of the same that waits
    or runs is it.

    Raises:
        ValidationError: the cells are another site's, retired, not ready, too few or too many.
    """
    if dataset_version.dataset.site_id != site.pk:
        raise ValidationError("These cells are not this site's own. Choose a dataset of the site.")
    if dataset_version.dataset.retired_at is not None:
        raise ValidationError(f"{dataset_version.dataset} is retired. Have it brought back first.")
    if dataset_version.ready_at is None:
        raise ValidationError("This dataset version is not ready yet. Wait for its import to end.")
    count = dataset_version.images.count()
    if count < FEWEST_CELLS:
        raise ValidationError(
            f"{count} cells are too few: give {FEWEST_CELLS} at least, better 100 or more."
        )
    if count > MOST_CELLS:
        raise ValidationError(f"{count} cells are more than needed: give {MOST_CELLS} at most.")
    Site.objects.select_for_update(no_key=True).get(pk=site.pk)
    pending = SiteValidation.objects.filter(
        site=site,
        model_version=model_version,
        dataset_version=dataset_version,
        job__status__in=(Job.Status.QUEUED, Job.Status.RUNNING),
    )
    if validation := pending.first():
        return validation
    validation = SiteValidation.objects.create(
        site=site,
        model_version=model_version,
        dataset_version=dataset_version,
        job=job_create(kind=Job.Kind.SITE_VALIDATION, by=by),
    )
    audit.record(
        audit.Action.SITE_VALIDATION_STARTED,
        actor=by,
        subject=validation,
        cells=str(dataset_version),
    )
    return validation


@transaction.atomic
def adaptation_start(*, validation: SiteValidation, by: User) -> Job:
    """Queue the adaptation of the model to the cells that it was measured with.

    One that waits, runs or has made a model is it.

    Raises:
        ValidationError: the model has not been measured yet.
    """
    validation = SiteValidation.objects.select_for_update(of=("self",)).get(pk=validation.pk)
    if not validation.figures:
        raise ValidationError("Wait for the end of the measurement: it shows what is to gain.")
    before = validation.adaptation
    if before and before.status not in (Job.Status.FAILED, Job.Status.CANCELLED):
        return before
    job = job_create(kind=Job.Kind.ADAPTATION, by=by)
    SiteValidation.objects.filter(pk=validation.pk).update(adaptation=job)
    audit.record(audit.Action.ADAPTATION_STARTED, actor=by, subject=validation)
    return job


@transaction.atomic
def validation_accept(*, validation: SiteValidation, words: str, against: bool, by: User) -> None:
    """Accept a model for a site: from now on its results there are validated.

    Args:
        words: what the person relies on; where the verdict is not “fit”, why it may be used all
            the same.
        against: whether the person knows that the verdict is not “fit”.

    Raises:
        ValidationError: there is no verdict yet, the words are missing, or the verdict is not
            “fit” and the person has not said that they know.
    """
    validation = SiteValidation.objects.select_for_update(of=("self",)).get(pk=validation.pk)
    if not validation.figures:
        raise ValidationError("There is no verdict yet: wait for the end of the measurement.")
    if validation.accepted_at:
        raise ValidationError("It has been accepted already.")
    if not words.strip():
        raise ValidationError("Say in your own words why you accept it.")
    if validation.verdict != Verdict.FIT and not against:
        raise ValidationError(
            f"The verdict is “{Verdict(validation.verdict).label}”: tick that you accept the model "
            "against it, and say why."
        )
    validation.accepted_by, validation.accepted_at = by, timezone.now()
    validation.acceptance = words.strip()
    validation.save(update_fields=["accepted_by", "accepted_at", "acceptance"])
    audit.record(
        audit.Action.SITE_VALIDATED,
        actor=by,
        subject=validation,
        verdict=validation.verdict,
        against_verdict=validation.is_against_verdict,
        words=validation.acceptance,
    )
