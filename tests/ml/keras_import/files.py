"""Keras files made by hand, with h5py and zipfile alone: sound ones, to spoil in tests."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Layer = dict[str, Any]


def layer(kind: str, name: str, **config: Any) -> Layer:
    return {"class_name": kind, "config": {"name": name, **config}}


def layers(size: int = 16, classes: int = 4) -> list[Layer]:
    """A small plain network, as Keras 3 writes it."""
    return [
        layer("InputLayer", "input_layer", batch_shape=[None, size, size, 3]),
        layer("Conv2D", "conv2d", filters=4, kernel_size=[3, 3], activation="relu"),
        layer("MaxPooling2D", "max_pooling2d", pool_size=[2, 2], strides=[2, 2]),
        layer("GlobalAveragePooling2D", "global_average_pooling2d"),
        layer("Dense", "dense", units=classes, activation="softmax"),
    ]


def model(*more: Layer, **changes: Any) -> dict[str, Any]:
    """Its configuration, with more layers before the pooling."""
    told = layers(**changes)
    return {
        "class_name": "Sequential",
        "config": {"name": "m", "layers": [*told[:3], *more, *told[3:]]},
    }


def numbers(classes: int = 4) -> dict[tuple[str, str], np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = {
        ("conv2d", "kernel"): (3, 3, 3, 4),
        ("conv2d", "bias"): (4,),
        ("dense", "kernel"): (4, classes),
        ("dense", "bias"): (classes,),
    }
    return {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}


def write_h5(
    path: Path, config: Any = None, arrays: dict[tuple[str, str], Any] | None = None
) -> Path:
    """A legacy file, its variables named as Keras 2 names them."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.11.0"
        file.attrs["model_config"] = (
            config if isinstance(config, str) else json.dumps(config or model())
        )
        weights = file.create_group("model_weights")
        for (name, variable), value in (arrays or numbers()).items():
            weights.create_dataset(f"{name}/{name}/{variable}:0", data=value)
    return path


def write_keras(
    path: Path,
    config: Any = None,
    arrays: dict[tuple[str, str], Any] | None = None,
    *,
    root: str = "layers",
    packed: int = zipfile.ZIP_STORED,
    **members: bytes,
) -> Path:
    """An archive; `members` replace its own or are added, dots written as two underscores."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        places = {"kernel": "0", "bias": "1"}
        for (name, variable), value in (arrays or numbers()).items():
            file.create_dataset(f"{root}/{name}/vars/{places[variable]}", data=value)
    text = config if isinstance(config, str) else json.dumps(config or model())
    content = {
        "metadata.json": b'{"keras_version": "3.5.0"}',
        "config.json": text.encode(),
        "model.weights.h5": weights.getvalue(),
    } | {name.replace("__", "."): value for name, value in members.items()}
    with zipfile.ZipFile(path, "w", packed) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return path
