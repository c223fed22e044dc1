"""The folders of jobs: what is in the way is removed, the log stays."""

import shutil
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from inference.models import Job

KEEP_FAILED = timedelta(days=7)  # so long a failed job goes on where it stood


def clean(folder: Path) -> None:
    """Remove what a job has made on its way, all but its log."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != Job.LOG_NAME:
            path.unlink(missing_ok=True)


def prune() -> None:
    """Clean the folders of jobs that ended long ago; remove those that no row knows."""
    for job in Job.objects.filter(finished_at__lt=timezone.now() - KEEP_FAILED):
        clean(job.folder)
    there = list(Path(settings.MEDIA_ROOT, "jobs").glob("*"))  # before the rows: a row comes first
    known = {str(uuid) for uuid in Job.objects.values_list("uuid", flat=True)}
    for folder in there:
        if folder.name not in known:
            shutil.rmtree(folder, ignore_errors=True)


def lack_of_room() -> str:
    """Why work cannot go on for want of disk, or ""."""
    free = shutil.disk_usage(settings.MEDIA_ROOT).free // 2**20
    if free >= settings.JOB_FREE_DISK_MB:
        return ""
    return (
        f"Only {free} MB of disk are free, and JOB_FREE_DISK_MB keeps {settings.JOB_FREE_DISK_MB}. "
        "Make room on the server, then try again: it goes on where it stood."
    )
