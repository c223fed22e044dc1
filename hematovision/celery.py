"""The Celery application and the one decorator with which every task is made."""

import os
from collections.abc import Callable
from typing import Any

from celery import Celery

from hematovision import broker

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hematovision.settings")

broker.use()

app = Celery("hematovision")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


def job(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function, with the project's rules.

    Acknowledged late and given back when its worker dies. On every transport a task can still be
    lost or run twice: what it does must be idempotent, and the reaper must be able to find it in
    the database (measured in docs/decisions/0001-the-row-is-the-truth.md).
    """
    return app.task(acks_late=True, reject_on_worker_lost=True, ignore_result=True, **options)
