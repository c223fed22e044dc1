"""Make a recognised network anew, give it its numbers, and write a bundle. Needs TensorFlow."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from inference.ml.bundle import HEAD_NAME, TFLITE_NAME, Bundle, load_bundle, sha256_of
from inference.ml.engine import softmax
from inference.ml.explain import GRID
from inference.ml.export import converted
from inference.ml.finder import Box
from inference.ml.keras_import import KerasFileError
from inference.ml.keras_import.graph import read_graph, told
from inference.ml.keras_import.options import BGR, Options
from inference.ml.keras_import.recognise import PLAIN, Layer, Recognised, as_layers
from inference.ml.keras_import.sandbox import Arrays, arrays_of, read_keras
from inference.ml.litert import FeatureNetwork
from inference.ml.preprocess import IMAGE, OWN_STAIN, Preprocessing, crop_cell, prepare, to_network
from inference.ml.sidecar import Head
from inference.ml.smear import make_smear
from inference.ml.writing import PARITY, ExportError, bundle_draft, check_target, write_card

CONFIDENT = 0.5
"""Under it every answer is flagged as uncertain: nothing better is known of such a model."""

LONGEST_HEAT_MAP = 5.0
"""Seconds; a network that needs more gets none, as somebody would wait for it."""

_CAFFE_MEANS = (123.68, 116.779, 103.939)  # of red, green and blue over ImageNet
_PARITY_PICTURES = 8
_TIMED = 5

_LAYERS = {
    name: getattr(keras.layers, name)
    for name in (
        *("Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Activation"),
        *("MaxPooling2D", "AveragePooling2D", "ZeroPadding2D", "Dense"),
    )
}
_APPLICATIONS: dict[str, Callable[[int, float], keras.Model]] = {
    "mobilenetv2": lambda size, width: keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=width, include_top=False, weights=None
    ),
    "vgg16": lambda size, _: keras.applications.VGG16(
        input_shape=(size, size, 3), include_top=False, weights=None
    ),
    "resnet50v2": lambda size, _: keras.applications.ResNet50V2(
        input_shape=(size, size, 3), include_top=False, weights=None
    ),
    "efficientnetv2b0": lambda size, _: keras.applications.EfficientNetV2B0(
        input_shape=(size, size, 3), include_top=False, weights=None, include_preprocessing=False
    ),
}


def import_keras(path: Path, options: Options, out: Path, *, scratch: Path) -> Bundle:
    """Make a bundle of a Keras file of anybody's.

    Parameters
    ----------
    path : Path
        ``.keras`` or ``.h5``.
    options : Options
    out : Path
        Folder of the bundle.
    scratch : Path
        An empty folder.

    Raises
    ------
    KerasFileError
        If the file is not taken, or the options do not fit it.
    ExportError
        If LiteRT answers otherwise than the network made here, or the folder holds something
        else.
    """
    check_target(out)
    recognised = read_keras(path, scratch)
    return write_imported(recognised, arrays_of(scratch), options, out, file_sha256=sha256_of(path))


def write_imported(
    recognised: Recognised, arrays: Arrays, options: Options, out: Path, *, file_sha256: str
) -> Bundle:
    """Build what was recognised, check it and write its bundle; see `import_keras`."""
    if len(options.classes) != recognised.classes:
        raise KerasFileError(
            f"The model has {recognised.classes} classes, but {len(options.classes)} names were "
            "given. Name each, in the order of its answers."
        )
    preprocessing = Preprocessing(
        size=recognised.size,
        stain=OWN_STAIN,
        region=IMAGE,
        interpolation=options.interpolation,
    )
    model, head = build(recognised, arrays, options)
    content = converted(model)
    network = FeatureNetwork(content, preprocessing)
    pictures = _pictures(preprocessing)
    difference = _parity(model, network, head, pictures)
    if not difference < PARITY:
        raise ExportError(
            f"LiteRT's probabilities differ from Keras' by {difference:.2g}; {PARITY:g} is "
            "allowed. The model was not taken."
        )
    seconds = _seconds(network, pictures[0]) * (GRID * GRID + 1)
    training: dict[str, Any] = {
        "imported": {
            "file_sha256": file_sha256,
            "format": recognised.format,
            "keras_version": recognised.keras_version,
            "pixels": options.scale,
            "colours": options.colours,
            "pooling": recognised.pooling,
            "hidden": recognised.hidden,
        },
        "temperature_note": "not calibrated: nothing is known of the model's training",
        "parity": {
            "crops": len(pictures),
            "largest_difference": float(f"{difference:.2g}"),
        },
        "libraries": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }
    if seconds > LONGEST_HEAT_MAP:
        training["no_explanation"] = (
            f"this network is so large that one would take {seconds:.0f} seconds."
        )
    with bundle_draft(out) as draft:
        (draft / TFLITE_NAME).write_bytes(content)
        head.save(draft / HEAD_NAME)
        write_card(
            draft,
            network={
                "backbone": recognised.backbone,
                "width": recognised.width,
                "features": network.shape[-1],
                "views": 1,
            },
            unfamiliarity=None,
            classes=options.classes,
            preprocessing=preprocessing,
            temperature=1.0,
            thresholds=dict.fromkeys(options.classes, CONFIDENT),
            metrics={},
            dataset={},
            split={},
            training=training,
        )
    return load_bundle(out)


def build(recognised: Recognised, arrays: Arrays, options: Options) -> tuple[keras.Model, Head]:
    """The network up to what its last layer sees, (N, h, w, D), and that layer.

    With global average pooling and nothing after it D is of the last feature map; else h and w
    are 1, and there is no map.

    Raises
    ------
    KerasFileError
        If a layer is otherwise than in the network that it looks like, or its numbers do not fit.
    """
    size = recognised.size
    inputs = keras.Input((size, size, 3))
    kernel, bias = pixels(recognised, options)
    entry: Any = keras.layers.Conv2D(3, 1, name="pixels")
    maps = entry(inputs)
    entry.set_weights([kernel, bias])
    try:
        base = _base(recognised, arrays)
        maps = base(maps)
        *hidden, last = recognised.head
        if recognised.pooling == "average" and not hidden:
            answer = maps
        else:
            pooled = {
                "average": keras.layers.GlobalAveragePooling2D,
                "max": keras.layers.GlobalMaxPooling2D,
                "flatten": keras.layers.Flatten,
            }[recognised.pooling]()(maps)
            for layer in hidden:
                pooled = _applied(layer, pooled, arrays)
            answer = keras.layers.Reshape((1, 1, pooled.shape[-1]))(pooled)
    except (ValueError, TypeError) as error:  # what Keras says of settings that do not go together
        raise KerasFileError(
            f"The layers of the model do not fit together: {str(error).splitlines()[0][:200]}"
        ) from error
    head = _head(last, arrays, answer.shape[-1], recognised.classes)
    return keras.Model(inputs, answer), head


def pixels(
    recognised: Recognised, options: Options
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Kernel (1, 1, 3, 3) and bias (3,) from red, green, blue in -1 to 1 to what the body takes.

    First what a person says was done outside the model, then what the model does itself.
    """
    factor, shifts = {
        "0..1": (0.5, (0.5,) * 3),
        "-1..1": (1.0, (0.0,) * 3),
        "0..255": (127.5, (127.5,) * 3),
        "caffe": (127.5, tuple(127.5 - mean for mean in _CAFFE_MEANS)),
    }[options.scale]
    order = (2, 1, 0) if options.colours == BGR else (0, 1, 2)
    kernel, bias = np.zeros((1, 1, 3, 3), np.float32), np.zeros(3, np.float32)
    for place, colour in enumerate(order):
        kernel[0, 0, colour, place] = recognised.scale[place] * factor
        bias[place] = recognised.scale[place] * shifts[colour] + recognised.offset[place]
    return kernel, bias


def _base(recognised: Recognised, arrays: Arrays) -> keras.Model:
    """The body, with its numbers."""
    size = recognised.size
    if recognised.backbone == PLAIN:
        inputs = maps = keras.Input((size, size, 3))
        for layer in recognised.body:
            maps = _applied(layer, maps, arrays)
        return keras.Model(inputs, maps)
    base = _APPLICATIONS[recognised.backbone](size, recognised.width)
    expected = as_layers(read_graph(json.loads(base.to_json())))
    _compare(recognised, expected)
    for layer in base.layers:
        if layer.name in expected:
            _fill(layer, expected[layer.name], arrays)
    return base


def _compare(recognised: Recognised, expected: dict[str, Layer]) -> None:
    """Make sure that the file's network is the one whose names its layers have."""
    found = {layer.name: layer for layer in recognised.body}
    made = {layer.name: layer for layer in expected.values()}
    for name in [*made, *found]:
        ours, theirs = made.get(name), found.get(name)
        if ours is None or theirs is None or _meaning(ours) != _meaning(theirs):
            raise KerasFileError(
                f"The model looks like {recognised.backbone}, but its layer {told(name)} is not as "
                f"in keras.applications of Keras {keras.__version__}. It is not taken, as its "
                "answers would be others."
            )


def _meaning(layer: Layer) -> tuple[object, ...]:
    """What two layers must share to answer alike; a sum does not care for the order."""
    inputs = sorted(layer.inputs) if layer.kind in ("Add", "Multiply") else list(layer.inputs)
    return layer.kind, layer.settings, inputs


def _applied(layer: Layer, maps: Any, arrays: Arrays) -> Any:
    """Put a layer of our own making after some maps, and give it its numbers."""
    made: Any = _LAYERS[layer.kind](**layer.settings)
    after = made(maps)
    _fill(made, layer, arrays)
    return after


def _fill(made: keras.layers.Layer, layer: Layer, arrays: Arrays) -> None:
    numbers = [arrays[f"{layer.name}/{variable}"] for variable in layer.variables]
    shapes = [tuple(one.shape) for one in made.weights]
    if [one.shape for one in numbers] != shapes:
        raise KerasFileError(
            f"The numbers of the layer {told(layer.name)} have the shapes "
            f"{[one.shape for one in numbers]} instead of {shapes}."
        )
    made.set_weights(numbers)


def _head(last: Layer, arrays: Arrays, features: int, classes: int) -> Head:
    kernel = arrays[f"{last.name}/kernel"]
    bias = arrays.get(f"{last.name}/bias", np.zeros(classes, np.float32))
    if kernel.shape != (features, classes) or bias.shape != (classes,):
        raise KerasFileError(
            f"The numbers of the last layer have the shape {kernel.shape} instead of "
            f"{(features, classes)}."
        )
    return Head(kernel, bias)


def _pictures(preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Drawn smears, as the network is shown pictures."""
    images = [make_smear(seed).image for seed in range(_PARITY_PICTURES)]
    return np.stack(
        [
            crop_cell(prepare(image, preprocessing), Box(0, 0, 1, 1), preprocessing)
            for image in images
        ]
    )


def _parity(
    model: keras.Model, network: FeatureNetwork, head: Head, pictures: NDArray[np.uint8]
) -> float:
    """Largest difference between the probabilities of Keras and of LiteRT."""
    inputs = to_network(pictures, network.preprocessing)
    maps = np.asarray(model.predict(inputs, batch_size=1, verbose=0), np.float32)
    ours = softmax(head.logits(maps.mean(axis=(1, 2))))
    return float(np.abs(ours - softmax(head.logits(network.features(pictures)))).max())


def _seconds(network: FeatureNetwork, picture: NDArray[np.uint8]) -> float:
    """Median time of one run."""
    times = []
    for _ in range(_TIMED):
        start = time.perf_counter()
        network.features(picture[None])
        times.append(time.perf_counter() - start)
    return float(np.median(times))
