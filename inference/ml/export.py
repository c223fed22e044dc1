"""From a trained Keras model to a bundle on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.framework.convert_to_constants import (
    convert_variables_to_constants_v2,
)

from inference.ml.bundle import (
    FEATURES_NAME,
    HEAD_NAME,
    KERAS_NAME,
    MANIFEST_NAME,
    TFLITE_NAME,
    Bundle,
    load_bundle,
)
from inference.ml.engine import softmax
from inference.ml.litert import FeatureNetwork
from inference.ml.network import feature_map
from inference.ml.preprocess import Preprocessing, to_network
from inference.ml.sidecar import Head, ManifestRow, TrainingFeatures, write_manifest
from inference.ml.writing import PARITY, ExportError, bundle_draft, write_card


def to_tflite(model: keras.Model) -> bytes:
    """Convert a classifier without its last layer for LiteRT, for one crop at a time."""
    return converted(feature_map(model))


def converted(
    model: keras.Model, *, quantised_on: Sequence[NDArray[np.float32]] | None = None
) -> bytes:
    """Convert a network for LiteRT, for one input at a time.

    The variables are frozen into constants first: with variables left in the graph
    XNNPACK leaves the network alone and it runs four times slower.

    Parameters
    ----------
    model : keras.Model
    quantised_on : sequence of float32 arrays of shape (1, S, S, 3), optional
        With these, weights and activations become 8-bit integers whose ranges hold what the
        network computes of them. Its input and output stay float32.

    Raises
    ------
    ExportError
        If a part of the network has no integer form.
    """
    function = tf.function(lambda crops: model(crops, training=False))
    concrete = function.get_concrete_function(
        tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="crops")
    )
    frozen = convert_variables_to_constants_v2(concrete)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    if quantised_on is None:
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.representative_dataset = _one_by_one(quantised_on)
    try:
        return converter.convert()
    except Exception as error:  # the converter raises kinds of its own, which it does not name
        raise ExportError(f"The network has a part without an integer form: {error}") from error


def _one_by_one(
    inputs: Sequence[NDArray[np.float32]],
) -> Callable[[], Iterator[list[NDArray[np.float32]]]]:
    return lambda: ([one] for one in inputs)


def head_of(model: keras.Model) -> Head:
    """The last layer of a classifier."""
    return Head(*model.get_layer("logits").get_weights())


def parity(
    model: keras.Model, network: FeatureNetwork, temperature: float, crops: NDArray[np.uint8]
) -> float:
    """Largest difference between Keras' and LiteRT's calibrated probabilities, in one view.

    Parameters
    ----------
    crops : uint8 array of shape (N, S, S, 3)
    """
    inputs = to_network(crops, network.preprocessing)
    logits = np.asarray(model.predict(inputs, verbose=0), np.float32)
    features = np.array([one.mean(axis=(0, 1)) for one in network.maps(crops, views=1)])
    served = head_of(model).logits(features)
    scale = np.float32(temperature)
    differences = softmax(logits / scale) - softmax(served / scale)
    return float(np.abs(differences).max())


def write_bundle(
    model: keras.Model,
    folder: Path,
    *,
    network: dict[str, Any],
    content: bytes,
    features: TrainingFeatures,
    unfamiliarity: dict[str, Any],
    manifest: Sequence[ManifestRow],
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
    """Check and write a model; the folder appears whole or not at all.

    A bundle that is there already is replaced.

    Parameters
    ----------
    content : bytes
        What `to_tflite` made of the model.
    parity_crops : uint8 array of shape (N, S, S, 3)
        Real crops on which LiteRT must answer as Keras does.

    Raises
    ------
    ExportError
        If LiteRT answers differently, or the folder holds something else.
    """
    served = FeatureNetwork(content, preprocessing)
    difference = parity(model, served, temperature, parity_crops)
    if not difference < PARITY:
        raise ExportError(
            f"LiteRT's probabilities differ from Keras' by {difference:.2g}; {PARITY:g} is "
            "allowed. The model was not written."
        )
    told = {"crops": len(parity_crops), "largest_difference": float(f"{difference:.2g}")}
    with bundle_draft(folder) as draft:
        # A model without its optimizer, whose moments would triple the file.
        keras.Model(model.input, model.output, name=model.name).save(draft / KERAS_NAME)
        (draft / TFLITE_NAME).write_bytes(content)
        head_of(model).save(draft / HEAD_NAME)
        features.save(draft / FEATURES_NAME)
        write_manifest(draft / MANIFEST_NAME, manifest)
        write_card(
            draft,
            network=network,
            unfamiliarity=unfamiliarity,
            classes=classes,
            preprocessing=preprocessing,
            temperature=temperature,
            thresholds=thresholds,
            metrics=metrics,
            dataset=dataset,
            split=split,
            training={**training, "parity": told},
        )
    return load_bundle(folder)
