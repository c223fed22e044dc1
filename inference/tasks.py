"""Celery's side of long work: hints in, jobs handled, one after the other."""

from typing import Any

from celery.signals import worker_ready, worker_shutting_down

from hematovision.celery import job as task
from inference.jobs import queue, supervise


@task(bind=True, name="inference.tasks.work", time_limit=None, soft_time_limit=None)
def work(self: Any) -> None:
    """Claim a job and have a child process do it; then ask for another turn."""
    if supervise.stopping.is_set():
        return
    job = queue.claim(worker=self.request.hostname)
    if job is None:
        return
    supervise.work_on(job)
    queue.hint()


@task(name="inference.tasks.reap")
def reap() -> None:
    """The recovery, periodic by beat."""
    queue.reap()


@worker_ready.connect
def recover(sender: Any, **kwargs: Any) -> None:
    """At start: what a former worker of this name held is free again."""
    queue.release(worker=sender.hostname)
    queue.reap()


@worker_shutting_down.connect
def stop(**kwargs: Any) -> None:
    """A worker that is told to stop waits for the work in hand: that must not take hours."""
    supervise.stopping.set()
