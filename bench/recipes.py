"""Recipes of training that ``bench/experiments.py`` compares, and how one is trained."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from bench import stains
from bench.stains import NORMALISERS, red_cell_radius, unchanged
from hematovision.files.gate import decode
from inference.ml import finder, preprocess, stain
from inference.ml.augment import WIDER, Augmentation
from inference.ml.data import Item, Listing
from inference.ml.finder import SMALLEST_CELL, SMALLEST_PLATELET, Box, find_cells
from inference.ml.preprocess import (
    Prepared,
    Preprocessing,
    crop_cell,
    prepare,
)
from inference.ml.progress import Progress

COPIES_CUT = 24  # of one photograph that are used; more cost time and tell little
SEED = 20261121


MILD = Augmentation(colour=1.0, stain=0.0, focus=0.3)


@dataclass(frozen=True)
class Recipe:
    """Settings of one experiment, as they differ from the first."""

    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    white_balance: bool = True
    stain: str = "none"
    scale: str = "nucleus"
    augmentation: Augmentation = MILD
    label_smoothing: float = 0.05
    adapt_norm: bool = True
    backbone: str = "mobilenetv2"
    views: Literal[1, 2, 4] = 1
    epochs: int = 2
    crops_per_epoch: int = 3600
    learning_rate: float = 3e-4
    first_trained: str | None = None


STRONG = Augmentation(colour=1.5, stain=1.0, focus=0.5)

SOFT = Augmentation(colour=1.0, stain=0.5, focus=0.8)

RECIPES: dict[str, Recipe] = {
    "part 1": Recipe(),
    "jitter": Recipe(augmentation=STRONG),
    "anchors": Recipe(stain="anchors"),
    "jitter, anchors": Recipe(augmentation=STRONG, stain="anchors"),
    "jitter, anchors, four views": Recipe(augmentation=STRONG, stain="anchors", views=4),
    "jitter, anchors, norm frozen": Recipe(augmentation=STRONG, stain="anchors", adapt_norm=False),
    "jitter, anchors, smoothing 0.1": Recipe(
        augmentation=STRONG, stain="anchors", label_smoothing=0.1
    ),
    "jitter, anchors, scratch CNN": Recipe(
        augmentation=STRONG, stain="anchors", backbone="scratch-cnn", learning_rate=1e-3, epochs=4
    ),
    "as shipped, longer": Recipe(
        augmentation=STRONG, stain="anchors", views=4, epochs=6, crops_per_epoch=7200
    ),
    "jitter, macenko": Recipe(augmentation=STRONG, stain="macenko"),
    "jitter, reinhard": Recipe(augmentation=STRONG, stain="reinhard"),
    "jitter, no white balance": Recipe(augmentation=STRONG, white_balance=False),
    "soft, anchors": Recipe(augmentation=SOFT, stain="anchors"),
    "soft, anchors, 96 pixels": Recipe(
        augmentation=SOFT, stain="anchors", preprocessing=Preprocessing(size=96)
    ),
    "soft, anchors, context 2.0": Recipe(
        augmentation=SOFT, stain="anchors", preprocessing=Preprocessing(context=2.0)
    ),
    "soft, anchors, scale from red cells": Recipe(
        augmentation=SOFT, stain="anchors", scale="red cells"
    ),
    "soft, red cells": Recipe(augmentation=SOFT, stain="red cells"),
}


def cut(listing: Listing, recipe: Recipe, cache: Path) -> tuple[NDArray[np.uint8], list[int]]:
    """Wide crops of the main cells, kept on disk for the next recipe that cuts alike."""
    name = crops_name(listing, recipe)
    images, positions = cache / f"{name}.npy", cache / f"{name}.json"
    if not positions.exists():
        cache.mkdir(parents=True, exist_ok=True)
        wide = replace(
            recipe.preprocessing,
            size=round(recipe.preprocessing.size * WIDER),
            context=recipe.preprocessing.context * WIDER,
        )
        crops, kept = [], []
        chosen = few_copies(listing.items, np.arange(len(listing.items)), COPIES_CUT)
        cv2.setNumThreads(1)
        with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
            wanted = [(listing.items[at], recipe, wide) for at in chosen]
            cut_out = pool.map(_crop, *zip(*wanted, strict=True), chunksize=64)
            for position, crop in zip(chosen, cut_out, strict=True):
                if crop is not None:
                    crops.append(crop)
                    kept.append(int(position))
        np.save(images, np.stack(crops))
        positions.write_text(json.dumps(kept))
    return np.load(images), json.loads(positions.read_text())


def crops_name(listing: Listing, recipe: Recipe) -> str:
    """What crops depend on: the files in their order, the settings and the code that cuts."""
    told = hashlib.sha256(
        json.dumps(
            [
                [f"{item.sha256} {item.group}" for item in listing.items],
                [asdict(recipe.preprocessing), COPIES_CUT, WIDER],
                [recipe.white_balance, recipe.stain, recipe.scale],
            ]
        ).encode()
    )
    for module in (finder, preprocess, stain, stains):
        told.update(Path(module.__file__ or "").read_bytes())
    return told.hexdigest()[:16]


def _crop(item: Item, recipe: Recipe, wide: Preprocessing) -> NDArray[np.uint8] | None:
    image = decode(item.path.read_bytes())
    smallest = SMALLEST_PLATELET if item.label == "platelet" else SMALLEST_CELL
    cells = find_cells(image, smallest=smallest)
    if not cells:
        return None
    box = cells[0].box
    if recipe.scale == "red cells":
        box = _box_of_scale(box, red_cell_radius(image), image.shape)
    prepared = prepare(image, wide)
    if recipe.stain in NORMALISERS or not recipe.white_balance:
        pixels = prepared.pixels if recipe.white_balance else image
        prepared = Prepared(NORMALISERS.get(recipe.stain, unchanged)(pixels))
    return crop_cell(prepared, box, wide)


def _box_of_scale(box: Box, radius: float, shape: tuple[int, ...]) -> Box:
    """A box of the same middle whose side is measured in red cells, where there are any."""
    if not radius:
        return box
    side = min(round(2 * 1.7 * radius), *shape[:2])
    left = int(np.clip(box.x + (box.width - side) // 2, 0, shape[1] - side))
    top = int(np.clip(box.y + (box.height - side) // 2, 0, shape[0] - side))
    return Box(left, top, side, side)


@dataclass
class Answers:
    """What a network says of crops: logits (N, C) and pooled features (N, D)."""

    logits: NDArray[np.float32]
    features: NDArray[np.float32]


def fit(
    recipe: Recipe,
    crops: NDArray[np.uint8],
    items: Sequence[Item],
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    weights: str,
) -> tuple[Callable[[NDArray[np.int64]], Answers], tuple[str, ...]]:
    """Train on some of the items; gives a function that answers others, and its classes."""
    import keras

    from inference.ml.augment import centre
    from inference.ml.fit import Part, Schedule, fine_tune, predict_logits, warm_up
    from inference.ml.network import build_classifier, pooled_features

    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    classes = tuple(sorted({items[at].label for at in train}))
    parameters = recipe.preprocessing

    def tell(progress: Progress) -> None:
        if progress.message:
            print("   ", progress.message, flush=True)

    def part(at: NDArray[np.int64], wide: bool) -> Part:
        chosen = crops[at]
        return Part(
            chosen if wide else np.ascontiguousarray(centre(chosen, parameters.size)),
            np.array([classes.index(items[one].label) for one in at]),
            [items[one] for one in at],
        )

    model = build_classifier(
        len(classes),
        parameters.size,
        weights=weights if recipe.backbone == "mobilenetv2" else None,
        backbone=recipe.backbone,
        adapt_norm=recipe.adapt_norm,
        first_trained=recipe.first_trained,
    )
    training = part(train, wide=True)
    warm_up(model, training, parameters, SEED)
    fine_tune(
        model,
        training,
        part(validation, wide=False),
        parameters,
        schedule=Schedule(
            epochs=recipe.epochs,
            crops_per_epoch=recipe.crops_per_epoch,
            batch=32,
            learning_rate=recipe.learning_rate,
            patience=recipe.epochs,
            seed=SEED,
            label_smoothing=recipe.label_smoothing,
            augmentation=recipe.augmentation,
        ),
        report=tell,
    )
    pooled = pooled_features(model)
    kernel, bias = model.get_layer("logits").get_weights()

    def answer(at: NDArray[np.int64]) -> Answers:
        seen = np.ascontiguousarray(centre(crops[at], parameters.size))
        views = [seen, seen[:, :, ::-1], seen[:, ::-1], seen[:, ::-1, ::-1]][: recipe.views]
        features = np.mean(
            [predict_logits(pooled, np.ascontiguousarray(v), parameters) for v in views], axis=0
        )
        return Answers(features @ kernel + bias, features)

    return answer, classes


def few_copies(items: Sequence[Item], at: NDArray[np.int64], copies: int) -> NDArray[np.int64]:
    """At most so many of each photograph, drawn by the hash of the file."""
    seen: Counter[str] = Counter()
    chosen = []
    for index in sorted(at, key=lambda one: items[one].sha256):
        seen[items[index].group] += 1
        if seen[items[index].group] <= copies:
            chosen.append(index)
    return np.array(sorted(chosen))
