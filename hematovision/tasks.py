"""Daily care of the installation."""

from django.core.management import call_command

from hematovision.celery import job
from hematovision.files import store
from inference.jobs import folders


@job(name="hematovision.tasks.care")
def care() -> None:
    """Remove what has expired: sessions, broken uploads, what failed work has left behind."""
    call_command("clearsessions")
    store.remove_broken_uploads()
    folders.prune()
