"""From a trained Keras model to a bundle on disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from inference.ml.bundle import (
    CARD_NAME,
    KERAS_NAME,
    SCHEMA_VERSION,
    TFLITE_NAME,
    Bundle,
    Card,
    load_bundle,
    sha256_of,
)
from inference.ml.engine import Engine, softmax
from inference.ml.finder import FINDER_VERSION
from inference.ml.network import with_features
from inference.ml.preprocess import Preprocessing, to_network

PARITY = 1e-3
"""Largest difference of a probability between Keras and LiteRT that is let through."""


class ExportError(Exception):
    """A model cannot be exported; the message says why."""


def to_tflite(model: keras.Model) -> tuple[bytes, dict[str, str]]:
    """Convert a classifier for LiteRT, for one crop at a time.

    The variables are frozen into constants first: with variables left in the graph
    XNNPACK leaves the network alone and it runs four times slower.

    Returns
    -------
    content : bytes
        The TFLite model.
    outputs : dict
        Names of its tensors ``logits`` and ``features``.
    """
    both = with_features(model)
    function = tf.function(lambda crops: both(crops, training=False))
    concrete = function.get_concrete_function(
        tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="crops")
    )
    frozen = convert_variables_to_constants_v2(concrete)
    content = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model).convert()

    interpreter = Interpreter(model_content=content)
    by_rank = {len(one["shape"]): one["name"] for one in interpreter.get_output_details()}
    return content, {"logits": by_rank[2], "features": by_rank[4]}


def parity(model: keras.Model, engine: Engine, crops: NDArray[np.uint8]) -> float:
    """Largest difference between Keras' and LiteRT's calibrated probabilities.

    Parameters
    ----------
    crops : uint8 array of shape (N, S, S, 3)
    """
    card = engine.bundle.card
    logits = np.asarray(model.predict(to_network(crops, card.preprocessing), verbose=0))
    expected = softmax((logits / card.temperature).astype(np.float32))
    return float(np.abs(expected - engine.probabilities(crops)).max())


def write_bundle(
    model: keras.Model,
    folder: Path,
    *,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    temperature: float,
    thresholds: dict[str, float],
    metrics: dict[str, Any],
    dataset: dict[str, Any],
    split: dict[str, Any],
    training: dict[str, Any],
    parity_crops: NDArray[np.uint8],
) -> Bundle:
    """Convert, check and write a model; the folder appears whole or not at all.

    A bundle that is there already is replaced.

    Parameters
    ----------
    parity_crops : uint8 array of shape (N, S, S, 3)
        Real crops on which LiteRT must answer as Keras does.

    Raises
    ------
    ExportError
        If LiteRT answers differently, or the folder holds something else.
    """
    check_target(folder)
    draft = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        # A model without its optimizer, whose moments would triple the file.
        keras.Model(model.input, model.output, name=model.name).save(draft / KERAS_NAME)
        content, outputs = to_tflite(model)
        (draft / TFLITE_NAME).write_bytes(content)
        files = {name: sha256_of(draft / name) for name in (KERAS_NAME, TFLITE_NAME)}
        now = datetime.now(UTC)
        card = Card(
            schema=SCHEMA_VERSION,
            version=f"mobilenetv2-{preprocessing.size}-{now:%Y%m%d}-{files[TFLITE_NAME][:8]}",
            created=now.isoformat(timespec="seconds"),
            classes=classes,
            preprocessing=preprocessing,
            finder_version=FINDER_VERSION,
            outputs=outputs,
            temperature=temperature,
            thresholds=thresholds,
            metrics=metrics,
            dataset=dataset,
            split=split,
            training=training,
            files=files,
        )
        (draft / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
        difference = parity(model, Engine(load_bundle(draft)), parity_crops)
        if not difference < PARITY:
            raise ExportError(
                f"LiteRT's probabilities differ from Keras' by {difference:.2g}; {PARITY:g} is "
                "allowed. The model was not written."
            )
        told = {"crops": len(parity_crops), "largest_difference": float(f"{difference:.2g}")}
        card = replace(card, training={**training, "parity": told})
        (draft / CARD_NAME).write_text(card.to_json(), encoding="utf-8")
        draft.chmod(0o755)
        _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return load_bundle(folder)


def check_target(folder: Path) -> None:
    """Make sure that a bundle can be written to a folder.

    Raises
    ------
    ExportError
        If the folder holds something else or cannot be written.
    """
    if folder.exists() and not (folder / CARD_NAME).is_file():
        raise ExportError(f"{folder} exists and is no model bundle. Give another --out.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder.parent} cannot be made ({error.strerror}).") from error
    if not os.access(folder.parent, os.W_OK):
        raise ExportError(f"{folder.parent} cannot be written. Give another --out.")


def _replace(draft: Path, folder: Path) -> None:
    """Rename a finished draft into place; an older bundle steps aside for a moment."""
    aside = draft.with_name(draft.name + "-old")
    if folder.exists():
        folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
