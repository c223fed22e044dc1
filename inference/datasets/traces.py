"""What an import leaves on the disk while it runs, and its removal."""

import shutil

from django.db import transaction

from hematovision.files.store import Staging
from inference.datasets.records import Journal
from inference.models import DatasetVersion, Job


def workshop(job: Job) -> tuple[Staging, Journal]:
    """The pictures and the journal of an import, in its job's folder."""
    return Staging(job.folder / "staging"), Journal(job.folder / "journal.jsonl")


def leave_no_trace(version: DatasetVersion) -> None:
    """Remove all of a version that has not become ready, but the uploaded archive."""
    if DatasetVersion.objects.filter(pk=version.pk, ready_at__isnull=False).exists():
        return
    assert version.job is not None, "a version that is not ready has a job"
    staging, journal = workshop(version.job)
    staging.discard()
    journal.discard()
    _forget(version)


def clean_up() -> None:
    """Remove what imports left whose process could not do it. Part of the daily care.

    What was read stays in the job's folder for as long as the job can be tried again.
    """
    ended = (Job.Status.FAILED, Job.Status.CANCELLED)
    for version in DatasetVersion.objects.filter(ready_at=None, job__status__in=ended):
        with transaction.atomic():  # nobody tries it again meanwhile
            job = Job.objects.select_for_update(of=("self",)).get(dataset_version=version)
            if job.status in ended:
                _forget(version)


def _forget(version: DatasetVersion) -> None:
    version.images.all().delete()
    shutil.rmtree(version.folder, ignore_errors=True)
