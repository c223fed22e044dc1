"""Reads of jobs, scoped to the person who asks."""

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from accounts.permissions import Permission, has_permission
from accounts.selectors import sites_for
from inference.models import Job

Kind, Status = Job.Kind, Job.Status

PERMISSIONS: dict[Job.Kind, Permission] = {
    Kind.DATASET_IMPORT: Permission.MANAGE_DATASETS,
    Kind.TRAINING: Permission.TRAIN_MODELS,
    Kind.COMPARISON: Permission.PROMOTE_MODELS,
    Kind.SITE_VALIDATION: Permission.VALIDATE_MODELS,
    Kind.ADAPTATION: Permission.VALIDATE_MODELS,
    Kind.EDGE_EXPORT: Permission.PROMOTE_MODELS,
    Kind.KERAS_IMPORT: Permission.PROMOTE_MODELS,
}
"""Who may ask for a kind of work may also follow, end and repeat it."""

NOT_TAKEN_AFTER = timedelta(seconds=60)


def jobs_for(person: User) -> QuerySet[Job]:
    """The jobs that a person may see: by kind, and those about a site by site, too."""
    kinds = [kind for kind, needed in PERMISSIONS.items() if has_permission(person, needed)]
    sites = sites_for(person)
    of_no_site = ~Q(kind__in=(Kind.SITE_VALIDATION, Kind.ADAPTATION))
    at_their_site = Q(site_validation__site__in=sites) | Q(adaptation_of__site__in=sites)
    return Job.objects.filter(of_no_site | at_their_site, kind__in=kinds)


def why_waiting(job: Job) -> str:
    """What a queued job waits for, in a sentence."""
    if job.error:
        return f"{job.error} It is tried again."
    if timezone.now() - max(job.due_at, job.created_at) > NOT_TAKEN_AFTER:
        running = Job.objects.filter(status=Status.RUNNING)
        if running.exists():
            return "Other work runs first; this begins by itself."
        return (
            "No training worker has taken it yet. Nothing is lost: it begins when one runs "
            "(the process “training”)."
        )
    return "It begins in a moment."
