"""How far a job is, in words."""

from datetime import timedelta
from zlib import crc32

from django import template
from django.utils import timezone

from inference.jobs import log, selectors
from inference.models import Job

register = template.Library()

LOG_LINES = 12
BADGES = {
    Job.Status.QUEUED: "waiting",
    Job.Status.RUNNING: "analysing",
    Job.Status.DONE: "done",
    Job.Status.FAILED: "failed",
}


@register.filter
def news_of(job: Job) -> str:
    """A token that changes with whatever the part about a job shows."""
    shown: tuple[object, ...] = (job.status, job.stop, job.stage, job.steps_done, log.size(job))
    if job.status == Job.Status.QUEUED:
        shown += (selectors.why_waiting(job),)
    told = " ".join(map(str, shown))
    return f"{crc32(told.encode()):x}"


@register.filter
def badge(job: Job) -> str:
    return BADGES.get(Job.Status(job.status), "cancelled")


@register.filter
def log_tail(job: Job) -> str:
    return log.tail(job, LOG_LINES)


@register.filter
def why_waiting(job: Job) -> str:
    return selectors.why_waiting(job)


@register.filter
def time_left(job: Job) -> str:
    """How long this stage still takes, from its pace so far; "" while that says nothing."""
    done = job.steps_done - job.stage_started_with
    if job.status != Job.Status.RUNNING or job.stage_started_at is None or done <= 0:
        return ""
    elapsed = (timezone.now() - job.stage_started_at).total_seconds()
    left = elapsed / done * (job.steps_total - job.steps_done)
    return in_words(left) if elapsed > 2 and left > 0 else ""


@register.filter
def took(job: Job) -> str:
    """From the first start to the end."""
    if job.started_at is None or job.finished_at is None:
        return ""
    return in_words((job.finished_at - job.started_at).total_seconds())


@register.filter
def in_words(seconds: float | timedelta | None) -> str:
    """ "40 seconds", "12 minutes", "3 h 20 min"."""
    if seconds is None:
        return ""
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if seconds < 90:
        rounded = max(1, round(seconds))
        return f"{rounded} second{'' if rounded == 1 else 's'}"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} minutes"
    return f"{minutes // 60} h {minutes % 60} min"


@register.filter
def of_mb(megabytes: int) -> str:
    """ "840 MB", "2.4 GB"."""
    return f"{megabytes} MB" if megabytes < 1024 else f"{megabytes / 1024:.1f} GB"
