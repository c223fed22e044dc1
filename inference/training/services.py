"""Writes of training runs."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.models import User
from inference.jobs.queue import job_create
from inference.models import DatasetVersion, Job, TrainingRun
from inference.training.options import Order
from inference.training.plan import plan_of


def training_start(*, order: Order, by: User) -> TrainingRun:
    """Queue a training. One of the same that waits or runs is it: a button is pressed twice easily.

    Raises:
        ValidationError: it cannot be trained; the sentence says why.
    """
    plan = plan_of(order)
    if plan.problem:
        raise ValidationError(plan.problem)
    with transaction.atomic():
        if at_work := _same_at_work(order):
            return at_work
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


def _same_at_work(order: Order) -> TrainingRun | None:
    keys = {version.pk for version in order.versions}
    # Two requests at once: the second waits here for the first.
    list(DatasetVersion.objects.filter(pk__in=keys).order_by("pk").select_for_update(no_key=True))
    at_work = TrainingRun.objects.filter(
        job__status__in=(Job.Status.QUEUED, Job.Status.RUNNING),
        start=order.start,
        parent=order.parent,
    )
    for run in at_work.prefetch_related("dataset_versions"):
        told = (run.settings, run.class_map, {version.pk for version in run.dataset_versions.all()})
        if told == (order.options.to_json(), dict(order.class_map), keys):
            return run
    return None
