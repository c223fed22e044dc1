"""How fast the network answers, beside Keras, and a whole picture from file to answer.

    python -m bench.engine inference/bundles/default picture.jpg

Needs TensorFlow (for the peers only). Every figure is a median in one process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import keras
import numpy as np
import tensorflow as tf

from inference.ml.bundle import load_bundle
from inference.ml.data import read_image
from inference.ml.engine import Engine
from inference.ml.explain import heat_map
from inference.ml.finder import find_cells
from inference.ml.preprocess import crop_cell, prepare, to_network


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
    parser.add_argument("bundle", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--repeats", type=int, default=100)
    options = parser.parse_args()
    cv2.setNumThreads(1)

    bundle = load_bundle(options.bundle)
    parameters = bundle.card.preprocessing
    one, two = (Engine(bundle, threads=threads) for threads in (1, 2))
    image = read_image(options.picture)
    cells = find_cells(image)
    if not cells:
        parser.error(f"No white cell is found in {options.picture}.")
    prepared = prepare(image, parameters)
    crop = crop_cell(prepared, cells[0].box, parameters)[None]

    model = keras.models.load_model(bundle.keras_path)
    inputs = to_network(crop, parameters)
    traced = tf.function(lambda batch: model(batch, training=False))
    tensor = tf.constant(inputs)

    height, width = image.shape[:2]
    rows: list[tuple[str, Callable[[], object]]] = [
        ("LiteRT, 1 thread, one crop", lambda: one.run(crop)),
        ("LiteRT, 2 threads, one crop", lambda: two.run(crop)),
        ("tf.function, one crop (peer)", lambda: traced(tensor).numpy()),
        ("keras.predict, one crop (peer)", lambda: model.predict(inputs, verbose=0)),
        ("read and decode the picture", lambda: read_image(options.picture)),
        ("find the cells", lambda: find_cells(image)),
        (
            "white-balance and crop",
            lambda: crop_cell(prepare(image, parameters), cells[0].box, parameters),
        ),
        ("file to answer, 1 thread", lambda: one.classify(read_image(options.picture))),
        ("heat map, 1 thread", lambda: heat_map(one, crop[0], 0)),
    ]
    print(f"{bundle.version}; {options.picture.name}, {width}x{height}, {len(cells)} cell(s)")
    for name, call in rows:
        print(f"{name:32} {median_ms(call, options.repeats):8.2f} ms")


if __name__ == "__main__":
    main()
