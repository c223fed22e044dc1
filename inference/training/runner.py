"""The job of a training run. Only the training worker's child process imports this."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from django.utils import timezone

from hematovision.files.gate import decode
from inference.datasets.selectors import listing_of
from inference.jobs.kinds import Cancelled, JobError
from inference.ml.bundle import CARD_NAME, BundleError
from inference.ml.data import DataError
from inference.ml.progress import Cancelled as TrainingCancelled
from inference.ml.progress import Progress
from inference.ml.writing import ExportError
from inference.models import ModelVersion, TrainingRun
from inference.registry.selectors import active_model_version
from inference.registry.services import bundle_register, comparison_start
from inference.training.options import Options, Start, settings_for

if TYPE_CHECKING:
    from inference.jobs.child import Running

STAGES = {
    "cut": "Cutting the cells out",
    "warm up": "First stage: the last layer",
    "train": "Second stage: the whole network",
    "evaluate": "Measuring and writing the model",
}


def run(running: Running) -> None:
    """Train, register the model as a candidate, and have it compared with the one in use."""
    from inference.ml.network import WeightsError
    from inference.ml.train import train

    training = TrainingRun.objects.select_related("parent").get(job=running.job)
    versions = list(training.dataset_versions.select_related("dataset").order_by("pk"))
    out = running.folder / "bundle"
    telling = _Telling(running, training)
    try:
        settings = settings_for(
            options=Options.from_json(training.settings),
            start=training.start,
            parent=training.parent,
            out=out,
            licences=tuple(
                (version.dataset.name, version.dataset.licence)
                for version in versions
                if version.dataset.licence
            ),
            command=f"training {training.pk}",
        )
        if not (out / CARD_NAME).exists():  # else an earlier attempt ended just after writing it
            train(
                settings,
                listing_of(versions, training.class_map),
                telling.report,
                decode=decode,
                folder=running.folder / "run",
                stop=telling.stop,
            )
        running.check_stop()
        by = running.job.requested_by
        model_version = bundle_register(
            folder=out,
            by=by,
            origin=ModelVersion.Origin.TRAINED,
            parent=training.parent if training.start == Start.ACTIVE else None,
        )
    except TrainingCancelled as error:
        raise Cancelled from error
    except (BundleError, DataError, ExportError, WeightsError) as error:
        raise JobError(str(error)) from error
    with running.result():
        TrainingRun.objects.filter(pk=training.pk).update(model_version=model_version)
        in_use = active_model_version()
        if in_use and in_use != model_version:
            comparison_start(candidate=model_version, baseline=in_use, by=by)


class _Telling:
    """Between the core, which knows no database, and the rows."""

    def __init__(self, running: Running, training: TrainingRun) -> None:
        self._running, self._training = running, training
        self._history: list[dict[str, float]] = list(training.history)
        self._since = time.monotonic()
        minutes = Options.from_json(training.settings).stop_after_minutes
        self._seconds = 60 * minutes if minutes else None

    def report(self, progress: Progress) -> None:
        if progress.epoch is not None and progress.record is not None:
            self._epoch_ended(progress.epoch, progress.record)
        self._running.report(
            STAGES[progress.stage], progress.done, progress.total, progress.message
        )

    def stop(self) -> str:
        """What a person wants, or an end because its time is up."""
        wish = self._running.stop()
        if wish or self._seconds is None:
            return wish
        started_at = self._running.job.started_at
        assert started_at, "a job at work has begun"
        return "finish" if (timezone.now() - started_at).total_seconds() > self._seconds else ""

    def _epoch_ended(self, epoch: int, record: dict[str, float]) -> None:
        """Keep the record of a new epoch; a run that goes on tells of the former ones, too."""
        took, self._since = time.monotonic() - self._since, time.monotonic()
        known = self._history[epoch] if epoch < len(self._history) else {}
        if record.items() <= known.items():
            return
        self._history[epoch:] = [{**record, "seconds": round(took, 1)}]
        held = TrainingRun.objects.filter(pk=self._training.pk, job__claim=self._running.job.claim)
        held.update(history=self._history)
        self._running.got_further()
