"""Reading one claimed image: find its cells, classify them, write the result.

Only workers import this: it brings the engine along.
"""

import logging
from collections.abc import Sequence
from time import perf_counter

from django.db import transaction
from django.utils import timezone

from accounts import audit
from analyses import pipeline
from analyses.models import Analysis, Cell, Prediction, SampleImage
from hematovision.files import store
from hematovision.files.gate import GateError, decode
from inference.engines import engine_for
from inference.ml.bundle import BundleError, SchemaError
from inference.ml.engine import PictureResult
from inference.ml.finder import FINDER_VERSION, Box
from inference.ml.quality import measure_quality
from inference.registry.selectors import active_model_version

logger = logging.getLogger(__name__)

NO_MODEL_RUNS = (
    "This version of the program cannot run the model in use. Nothing is lost: the images wait "
    "until an admin puts another model in use."
)


def analyse(analysis: Analysis) -> None:
    """Read one claimed image and write its result, or why there is none. Raises nothing of the
    image's making: one bad image never fails its neighbours."""
    try:
        complete(analysis, _read(analysis))
    except SchemaError as error:
        site = analysis.sample_image.sample.site
        if analysis.model_version == active_model_version(site):  # a new sample fares no better
            pipeline.wait_for_model(analysis, NO_MODEL_RUNS)
        elif not pipeline.change_over(analysis):
            pipeline.fail(analysis, str(error), final=True)
    except BundleError as error:
        pipeline.wait_for_model(analysis, str(error))
    except GateError as error:
        pipeline.fail(analysis, str(error), final=True)
    except store.StoreError as error:
        pipeline.fail(analysis, str(error))
    except Exception as error:
        logger.exception("Analysis %s failed.", analysis.pk)
        pipeline.fail(analysis, f"An unexpected error: {type(error).__name__}: {error}")


def _read(analysis: Analysis) -> PictureResult:
    engine = engine_for(analysis.model_version)
    image = decode(store.read(analysis.sample_image.stored_image.sha256))
    if not analysis.sample_image.finder_version:
        return engine.classify(image)
    boxes = [Box(c.x, c.y, c.width, c.height) for c in analysis.sample_image.cells.all()]
    start = perf_counter()
    said = engine.predict_boxes(image, boxes)
    answered = perf_counter()
    quality = measure_quality(image)
    return PictureResult(
        said,
        boxes,
        find_ms=0.0,
        engine_ms=(answered - start) * 1000,
        quality=quality,
        quality_ms=(perf_counter() - answered) * 1000,
    )


@transaction.atomic
def complete(analysis: Analysis, result: PictureResult) -> bool:
    """Write the result if this claim still holds; return whether it did."""
    sample_image = SampleImage.objects.select_for_update().get(pk=analysis.sample_image_id)
    held = pipeline.held(analysis).update(
        status=Analysis.Status.DONE,
        error="",
        finished_at=timezone.now(),
        lease_expires_at=None,
        find_ms=result.find_ms,
        engine_ms=result.engine_ms,
        quality_flags=list(result.quality.flags),
    )
    if not held:
        logger.info(
            "Analysis %s: the claim of attempt %s no longer holds.", analysis.pk, analysis.attempt
        )
        return False
    if not sample_image.finder_version:  # cells are found once and stay
        _cells_create(sample_image, result.boxes)
    answered = sample_image.cells.all()[: len(result.cells)]  # all, or the main one alone
    Prediction.objects.bulk_create(
        Prediction(
            cell=cell,
            model_version=analysis.model_version,
            label=said.label,
            confidence=said.confidence,
            probabilities=said.probabilities,
            flags=list(said.flags),
        )
        for cell, said in zip(answered, result.cells, strict=True)
    )
    audit.record(
        audit.Action.ANALYSIS_DONE,
        actor=analysis.requested_by,
        subject=analysis,
        cells=len(result.cells),
        attempt=analysis.attempt,
        worker=analysis.worker,
    )
    return True


def _cells_create(sample_image: SampleImage, found: Sequence[Box]) -> None:
    Cell.objects.bulk_create(
        Cell(
            sample_image=sample_image,
            x=box.x,
            y=box.y,
            width=box.width,
            height=box.height,
            position=position,
            finder_version=FINDER_VERSION,
        )
        for position, box in enumerate(found)
    )
    sample_image.finder_version = FINDER_VERSION
    sample_image.save(update_fields=["finder_version"])
