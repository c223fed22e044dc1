"""Daily care of the installation."""

from django.core.management import call_command

from analyses.alerts import alerts_look
from hematovision.celery import job
from hematovision.files import store
from inference.datasets import traces, uploads
from inference.jobs import folders


@job(name="hematovision.tasks.care")
def care() -> None:
    """Remove what has expired: sessions, and what uploads, imports and other work left behind."""
    call_command("clearsessions")
    store.remove_broken_uploads()
    uploads.remove_abandoned()
    traces.clean_up()
    folders.prune()
    alerts_look()
