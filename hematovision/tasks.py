"""Daily care of the installation."""

from django.core.management import call_command

from hematovision.celery import job
from hematovision.files import store


@job(name="hematovision.tasks.care")
def care() -> None:
    """Remove what has expired: sessions, and uploads that broke off half-way."""
    call_command("clearsessions")
    store.remove_broken_uploads()
