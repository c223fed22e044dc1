"""Writes of training runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.models import User
from inference.jobs.queue import job_create
from inference.models import DatasetVersion, Job, ModelVersion, TrainingRun
from inference.training.options import Options, Start
from inference.training.plan import plan_of


def training_start(
    *,
    versions: Sequence[DatasetVersion],
    class_map: Mapping[str, str],
    start: Start,
    parent: ModelVersion | None,
    options: Options,
    by: User,
) -> TrainingRun:
    """Queue a training.

    Args:
        versions: ready ones.
        class_map: from every label of the data to a class of the model; "" leaves it out.
        parent: the model in use: what is started from, or whose test set stays locked.

    Raises:
        ValidationError: it cannot be trained; the sentence says why.
    """
    plan = plan_of(
        versions=versions, class_map=class_map, start=start, parent=parent, options=options
    )
    if plan.problem:
        raise ValidationError(plan.problem)
    with transaction.atomic():
        run = TrainingRun.objects.create(
            job=job_create(kind=Job.Kind.TRAINING, by=by),
            start=start,
            parent=parent,
            class_map=dict(class_map),
            settings=options.to_json(),
        )
        run.dataset_versions.set(versions)
        audit.record(
            audit.Action.TRAINING_STARTED,
            actor=by,
            subject=run,
            datasets=[str(version) for version in versions],
            class_map=run.class_map,
            start=start.value,
            parent=str(parent) if parent else None,
            settings=run.settings,
        )
    return run
