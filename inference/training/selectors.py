"""Reads of training runs."""

from __future__ import annotations

from django.db.models import QuerySet

from accounts.models import User
from accounts.permissions import Permission, has_permission
from inference.models import DatasetImage, DatasetVersion, TrainingRun


def runs_for(person: User) -> QuerySet[TrainingRun]:
    """Every page about trainings starts here."""
    if not has_permission(person, Permission.TRAIN_MODELS):
        return TrainingRun.objects.none()
    return TrainingRun.objects.select_related(
        "job__requested_by", "parent", "model_version"
    ).prefetch_related("dataset_versions__dataset")


def labels_of(versions: list[DatasetVersion]) -> list[str]:
    """The labels that occur in versions, in alphabetical order."""
    images = DatasetImage.objects.filter(version__in=versions).order_by("label")
    return list(images.values_list("label", flat=True).distinct())
