"""Compare heat maps by deletion and insertion on real cells that training never saw.

    python -m bench.heat_map inference/bundles/default --data ../shared/data/bccd/TRAIN \\
        --data ../shared/data/pbc --groups ../shared/data/bccd/source_photographs.csv

The measures are those of `inference.ml.faithfulness`. What covers is either the empty
field's colour or a heavy blur; occlusion itself uses the former, so the latter is the
fairer judge. "in cell" is the share of the hottest tenth that lies in the cell's box.
Needs TensorFlow (for the peers only).
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
from numpy.typing import NDArray

from hematovision.files.gate import decode
from inference.ml.bundle import load_bundle
from inference.ml.data import cut_crops, list_items, main_cell_box
from inference.ml.engine import Engine
from inference.ml.explain import heat_map, spread
from inference.ml.faithfulness import (
    SHARES,
    deletion_insertion,
    hottest_in_box,
    middle_map,
    random_map,
)
from inference.ml.finder import Box
from inference.ml.preprocess import box_in_crop, to_network

Crop = NDArray[np.uint8]
Heat = NDArray[np.float32]
Method = Callable[[Crop, int], Heat]
FINER_LAYER = "block_13_expand_relu"  # 8 x 8 for a crop of 128


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--groups", type=Path, action="append", default=[])
    parser.add_argument("--per-stratum", type=int, default=12, help="crops of a class of a set")
    options = parser.parse_args()

    engine = Engine(load_bundle(options.bundle))
    crops, classes, boxes, photographs = held_out(engine, options)
    print(f"{len(crops)} held-out crops of {photographs} photographs, rightly classified")
    print(f"{'map':28} {'deletion':>17} {'insertion':>17} {'in cell':>8} {'ms':>6}")
    print(f"{'':28} {'field':>8} {'blur':>8} {'field':>8} {'blur':>8}")
    for name, method in methods(engine).items():
        method(crops[0], classes[0])  # traces what TensorFlow wants to trace
        start = time.perf_counter()
        heats = [method(crop, index) for crop, index in zip(crops, classes, strict=True)]
        each = 1e3 * (time.perf_counter() - start) / len(crops)
        scores = np.mean(
            [
                judge(engine, crop, index, heat)
                for crop, index, heat in zip(crops, classes, heats, strict=True)
            ],
            axis=0,
        )
        inside = np.mean([hottest_in_box(*pair) for pair in zip(heats, boxes, strict=True)])
        print(f"{name:28} " + " ".join(f"{s:8.3f}" for s in scores), f"{inside:8.2f} {each:6.1f}")


def held_out(engine: Engine, options: argparse.Namespace) -> tuple[Crop, list[int], list[Box], int]:
    """Crops of the card's test photographs that the model names rightly, and what is in them."""
    card = engine.bundle.card
    test = set(card.split["test_groups"])
    rng = np.random.default_rng(0)
    items = [item for item in list_items(options.data, options.groups).items if item.group in test]
    chosen = []
    for stratum in sorted({item.stratum for item in items}):
        of_stratum = [item for item in items if item.stratum == stratum]
        take = min(options.per_stratum, len(of_stratum))
        chosen += [of_stratum[at] for at in rng.choice(len(of_stratum), take, replace=False)]
    crops, kept = cut_crops(chosen, card.preprocessing, decode=decode)
    labels = np.array([card.classes.index(chosen[at].label) for at in kept])
    right = engine.probabilities(crops).argmax(axis=1) == labels
    named = [chosen[at] for at, fine in zip(kept, right, strict=True) if fine]
    boxes = []
    for item in named:
        box = main_cell_box(decode(item.path.read_bytes()), item.label)
        assert box is not None  # its crop was cut
        boxes.append(box_in_crop(box, card.preprocessing))
    return crops[right], labels[right].tolist(), boxes, len({item.group for item in named})


def methods(engine: Engine) -> dict[str, Method]:
    """The map that ships and its peers."""
    model = keras.models.load_model(engine.bundle.keras_path)
    kernel = model.get_layer("logits").get_weights()[0]
    finer = keras.Model(model.input, [model.get_layer(FINER_LAYER).output, model.output])
    background = engine.bundle.card.preprocessing.background
    rng = np.random.default_rng(0)

    def activation(crops: Crop, index: int) -> NDArray[np.float32]:
        _, features = engine.run(crops, views=1)
        weights = kernel[:, index] - kernel.mean(axis=1)
        return np.asarray(features @ weights, np.float32)

    def cam(crop: Crop, index: int) -> Heat:
        return spread(activation(crop[None], index)[0], len(crop))

    def shifted_cam(crop: Crop, index: int) -> Heat:
        step = len(crop) // 16
        fine = np.zeros((8, 8), np.float32)
        for row, down in enumerate((-step, step)):
            for column, across in enumerate((-step, step)):
                move = np.array([[1, 0, -across], [0, 1, -down]], np.float32)
                moved = cv2.warpAffine(
                    crop,
                    move,
                    crop.shape[:2],
                    borderMode=cv2.BORDER_CONSTANT,
                    borderValue=(background,) * 3,
                ).astype(np.uint8)
                fine[row::2, column::2] = activation(moved[None], index)[0]
        return spread(fine, len(crop))

    @tf.function  # type: ignore[untyped-decorator]
    def gradient(inputs: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            maps, logits = finer(inputs, training=False)
            score = logits[0, index]
        return maps, tape.gradient(score, maps)

    def finer_grad_cam(crop: Crop, index: int) -> Heat:
        inputs = tf.constant(to_network(crop[None], engine.bundle.card.preprocessing))
        maps, gradients = gradient(inputs, tf.constant(index))
        weights = gradients.numpy().mean(axis=(1, 2), keepdims=True)
        return spread(np.maximum((maps.numpy() * weights).sum(axis=-1)[0], 0), len(crop))

    def finer_product(crop: Crop, index: int) -> Heat:
        inputs = tf.constant(to_network(crop[None], engine.bundle.card.preprocessing))
        maps, gradients = gradient(inputs, tf.constant(index))
        return spread((maps * gradients).numpy().sum(axis=-1)[0], len(crop))

    return {
        "occlusion, 64 patches": lambda crop, index: heat_map(engine, crop, index),
        "CAM, 4 x 4": cam,
        "CAM of 4 shifts, 8 x 8": shifted_cam,
        "Grad-CAM, 8 x 8": finer_grad_cam,
        "gradient x map, 8 x 8": finer_product,
        "the middle, whatever the cell": lambda crop, _: middle_map(len(crop)),
        "random 8 x 8": lambda crop, _: random_map(len(crop), rng),
    }


def judge(engine: Engine, crop: Crop, index: int, heat: Heat) -> list[float]:
    """Deletion over field and blur, insertion over field and blur: mean probabilities."""
    stages = [
        deletion_insertion(engine, crop, index, heat, cover=cover) for cover in ("field", "blur")
    ]
    areas = np.trapezoid(np.array(stages), SHARES)  # (cover, measure)
    return [float(area) for area in areas.T.ravel()]


if __name__ == "__main__":
    main()
