"""Celery's side of the pipeline: hints in, rows handled."""

import logging
from typing import Any

from celery.signals import worker_ready
from django.conf import settings

from analyses import pipeline
from hematovision.celery import job
from inference.registry.selectors import serving

logger = logging.getLogger(__name__)


@job(bind=True, name="analyses.tasks.analyse_queued")
def analyse_queued(self: Any) -> None:
    """Claim queued rows and handle them one by one; ask for another turn while there are more."""
    from analyses import reading  # brings the engine along, which beat and training do without

    _load_engines()
    claimed = pipeline.claim(worker=self.request.hostname)
    for position, analysis in enumerate(claimed):
        pipeline.renew(claimed[position:])
        reading.analyse(analysis)
    if len(claimed) == settings.ANALYSIS_CLAIM_SIZE or any(row.attempt > 1 for row in claimed):
        pipeline.hint()


def _load_engines() -> None:
    """Load the models in use after the fork (once; the hint at start is what calls this first).

    A model that is put in use while the worker runs is loaded here too, before any row of it is
    claimed.
    """
    from inference.engines import engine_for
    from inference.ml.bundle import BundleError

    versions = dict.fromkeys(version for _, version in serving())
    for model_version in list(versions)[: settings.ENGINES_OPEN]:
        try:
            engine_for(model_version)
        except BundleError as error:
            logger.error("%s Its analyses wait.", error)


@job(name="analyses.tasks.reap")
def reap() -> None:
    """The recovery, periodic by beat."""
    pipeline.reap()


@worker_ready.connect
def recover(sender: Any, **kwargs: Any) -> None:
    """At start: what a former worker of this name held is free again."""
    pipeline.release(worker=sender.hostname)
    pipeline.reap()
    pipeline.hint()
