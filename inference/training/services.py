"""Writes of training runs."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.models import User
from inference.jobs.queue import job_create
from inference.models import Job, TrainingRun
from inference.training.options import Order
from inference.training.plan import plan_of


def training_start(*, order: Order, by: User) -> TrainingRun:
    """Queue a training.

    Raises:
        ValidationError: it cannot be trained; the sentence says why.
    """
    plan = plan_of(order)
    if plan.problem:
        raise ValidationError(plan.problem)
    with transaction.atomic():
        run = TrainingRun.objects.create(
            job=job_create(kind=Job.Kind.TRAINING, by=by),
            start=order.start,
            parent=order.parent,
            class_map=dict(order.class_map),
            settings=order.options.to_json(),
        )
        run.dataset_versions.set(order.versions)
        audit.record(
            audit.Action.TRAINING_STARTED,
            actor=by,
            subject=run,
            datasets=[str(version) for version in order.versions],
            class_map=run.class_map,
            start=order.start.value,
            parent=str(order.parent) if order.parent else None,
            settings=run.settings,
        )
    return run
