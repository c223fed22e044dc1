"""The engine of a model version: loaded once per process, after the fork, and kept."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from inference.ml.bundle import BundleError, SchemaError, load_bundle
from inference.registry.selectors import bundle_folder

logger = logging.getLogger(__name__)

OTHER_VERSION = (
    "This sample was begun with a model that this version of the program cannot run. "
    "A doctor or an admin can have it analysed again with the model in use."
)

if TYPE_CHECKING:
    from inference.ml.engine import Engine
    from inference.models import ModelVersion


def engine_for(model_version: ModelVersion) -> Engine:
    """The engine of this version; a sample pinned to another version gets another engine.

    Raises:
        inference.ml.bundle.SchemaError: another version of the program made the bundle.
        inference.ml.bundle.BundleError: the bundle is missing or damaged.
    """
    return _load(str(bundle_folder(model_version)), model_version.sha256)


@lru_cache(
    maxsize=max(1, int(settings.ENGINES_OPEN))
)  # models in use, and those of samples still open
def _load(folder: str, sha256: str) -> Engine:
    # Imported here: a web process that shows no heat map needs none of them.
    import numpy as np

    from inference.ml.engine import Engine
    from inference.ml.finder import Box

    try:
        bundle = load_bundle(Path(folder))
        if bundle.sha256 != sha256:
            raise BundleError("The bundle is not the one that was registered.")
        engine = Engine(bundle, threads=settings.ENGINE_THREADS)
    except SchemaError as error:
        raise SchemaError(OTHER_VERSION) from error
    except BundleError as error:
        logger.exception("The model in %s cannot be used.", folder)
        raise BundleError(
            f"The files of the model {Path(folder).name} are missing or damaged on the server. "
            "An admin can bring them back with “manage.py bootstrap” or from a backup."
        ) from error
    # The first calls are slow (OpenCV's and XNNPACK's own start): not on a person's time.
    blank = np.full((240, 320, 3), 230, np.uint8)
    engine.classify(blank)
    engine.predict_boxes(blank, [Box(96, 56, 128, 128)])
    return engine
