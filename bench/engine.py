"""How fast the network answers, beside Keras, and a whole picture from file to answer.

    python -m bench.engine                         on the shipped model and a synthetic smear
    python -m bench.engine --picture picture.jpg --bundle FOLDER

Needs TensorFlow (for the peers only). Every figure is a median in one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.bundle import load_bundle
from inference.ml.engine import Engine
from inference.ml.explain import heat_map
from inference.ml.finder import find_cells
from inference.ml.preprocess import crop_cell, prepare, to_network
from inference.ml.smear import make_smear


def median_ms(call: Callable[[], object], repeats: int) -> float:
    """Median time of a call in milliseconds, after three that do not count."""
    for _ in range(3):
        call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--bundle", type=Path, default=Path("inference/bundles/default"))
    parser.add_argument("--picture", type=Path, help="default: a synthetic smear of 320x240")
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with TemporaryDirectory() as folder:
        measure(options.bundle, options.picture or synthetic_smear(folder), options.repeats)


def synthetic_smear(folder: str) -> Path:
    path = Path(folder) / "synthetic-smear.jpg"
    smear = make_smear(1, width=320, height=240, white_cells=1, scale=1.4)
    Image.fromarray(smear.image).save(path, quality=90)
    return path


def measure(folder: Path, picture: Path, repeats: int) -> None:
    """Print the table for one bundle and one picture."""

    bundle = load_bundle(folder)
    parameters = bundle.card.preprocessing
    one, two = (Engine(bundle, threads=threads) for threads in (1, 2))
    image = decode(picture.read_bytes())
    cells = find_cells(image)
    if not cells:
        raise SystemExit(f"No white cell is found in {picture}.")
    prepared = prepare(image, parameters)
    crop = crop_cell(prepared, cells[0].box, parameters)[None]

    views, features = bundle.card.network["views"], one.features(crop)
    model = keras.models.load_model(bundle.keras_path)
    inputs = to_network(crop, parameters)
    traced = tf.function(lambda batch: model(batch, training=False))
    tensor = tf.constant(inputs)

    height, width = image.shape[:2]
    rows: list[tuple[str, Callable[[], object]]] = [
        ("LiteRT, 1 thread, one crop", lambda: one.run(crop, views=1)),
        ("LiteRT, 2 threads, one crop", lambda: two.run(crop, views=1)),
        (f"the same in {views} view(s), 1 thread", lambda: one.features(crop)),
        ("distance to training", lambda: one.unfamiliarity(features)),
        ("tf.function, one crop (peer)", lambda: traced(tensor).numpy()),
        ("keras.predict, one crop (peer)", lambda: model.predict(inputs, verbose=0)),
        ("read and decode the picture", lambda: decode(picture.read_bytes())),
        ("find the cells", lambda: find_cells(image)),
        (
            "white-balance and crop",
            lambda: crop_cell(prepare(image, parameters), cells[0].box, parameters),
        ),
        ("file to answer, 1 thread", lambda: one.classify(decode(picture.read_bytes()))),
        ("heat map, 1 thread", lambda: heat_map(one, crop[0], 0)),
    ]
    print(f"{bundle.version}; {picture.name}, {width}x{height}, {len(cells)} cell(s)")
    for name, call in rows:
        print(f"{name:32} {median_ms(call, repeats):8.2f} ms")


if __name__ == "__main__":
    main()
