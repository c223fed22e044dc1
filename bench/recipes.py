"""Compare recipes of training, each judged on photographs and laboratories it has not seen.

    python -m bench.recipes ../shared/data --weights FILE --part laboratory [--recipe NAME]
    python -m bench.recipes ../shared/data --weights FILE --part cross-validation [--recipe NAME]
    python -m bench.recipes --table

Each recipe and part appends one line to ``docs/model/experiments.jsonl``; what is there already is
not run again, so the search may be stopped and taken up. `--table` prints the lines as Markdown.

``laboratory``: trained on one data set, judged on the four classes of the other, both ways.
``cross-validation``: both sets in folds by photograph, answers pooled.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.stains import NORMALISERS, red_cell_radius, unchanged
from hematovision.files.gate import decode
from inference.ml.augment import WIDER, Augmentation
from inference.ml.data import Item, Listing, list_items
from inference.ml.engine import softmax
from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.scores import calibration_figures
from inference.ml.finder import SMALLEST_CELL, SMALLEST_PLATELET, Box, find_cells
from inference.ml.preprocess import (
    COMMON_STAIN,
    OWN_STAIN,
    Prepared,
    Preprocessing,
    crop_cell,
    prepare,
)
from inference.ml.split import folds_by_group, split_by_group
from inference.ml.unfamiliar import Neighbours, threshold_of

LINES = Path("docs/model/experiments.jsonl")
BCCD, PBC = "bccd/TRAIN", "data/pbc"
SHARED = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
COPIES = 6  # of one photograph that are judged; more cost time and tell nothing
COPIES_CUT = 24  # that are used at all
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
    views: int = 1
    epochs: int = 2
    crops_per_epoch: int = 3600
    learning_rate: float = 3e-4
    first_trained: str | None = None

    @property
    def crops(self) -> str:
        """What the crops depend on: recipes alike in it share them."""
        told: list[object] = [self.preprocessing.size, self.preprocessing.context, COPIES_CUT]
        told += [self.white_balance, self.stain, self.scale]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]


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
    images, positions = cache / f"{recipe.crops}.npy", cache / f"{recipe.crops}.json"
    if not positions.exists():
        cache.mkdir(parents=True, exist_ok=True)
        wide = replace(
            recipe.preprocessing,
            size=round(recipe.preprocessing.size * WIDER),
            context=recipe.preprocessing.context * WIDER,
            stain=COMMON_STAIN if recipe.stain == "anchors" else OWN_STAIN,
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
        report=lambda done, total, message: print("   ", message, flush=True) if message else None,
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


@dataclass(frozen=True)
class Rule:
    """When an answer counts as unflagged: calibrated and familiar enough, set on validation."""

    temperature: float
    thresholds: NDArray[np.float64]
    neighbours: Neighbours
    farthest: float

    @classmethod
    def of(
        cls,
        validation: Answers,
        labels: NDArray[np.int64],
        items: Sequence[Item],
        references: Answers,
    ) -> Rule:
        from inference.ml.calibrate import (
            balanced_weights,
            confidence_thresholds,
            fit_temperature,
        )

        weights = balanced_weights([item.group for item in items], [i.stratum for i in items])
        temperature = fit_temperature(validation.logits, labels, weights)
        probabilities = softmax(validation.logits / np.float32(temperature))
        neighbours = Neighbours(references.features)
        farthest = threshold_of(neighbours.distances(validation.features), weights)
        return cls(
            temperature,
            confidence_thresholds(probabilities, labels, weights),
            neighbours,
            farthest,
        )


@dataclass(frozen=True)
class Row:
    """An answer to one cell."""

    item: Item
    answer: str
    among_shared: str
    probabilities: NDArray[np.float32]
    label: int
    unflagged: bool

    @property
    def right(self) -> bool:
        return self.answer == self.item.label


def rows_of(
    answers: Answers, rule: Rule, items: Sequence[Item], classes: tuple[str, ...]
) -> list[Row]:
    probabilities = softmax(answers.logits / np.float32(rule.temperature))
    best = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    familiar = rule.neighbours.distances(answers.features) <= rule.farthest
    unflagged = familiar & (confidence >= rule.thresholds[best])
    shared = [index for index, name in enumerate(classes) if name in SHARED]
    among = probabilities[:, shared].argmax(axis=1)
    return [
        Row(
            item,
            classes[best[at]],
            classes[shared[among[at]]],
            probabilities[at],
            classes.index(item.label),
            bool(unflagged[at]),
        )
        for at, item in enumerate(items)
    ]


def figures_of(rows: Sequence[Row]) -> dict[str, Any]:
    """By photograph (majority of its copies) and by cell."""
    copies: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        copies[row.item.group].append(row)
    right: dict[str, list[bool]] = defaultdict(list)
    for group in copies.values():
        answer = Counter(row.answer for row in group).most_common(1)[0][0]
        right[group[0].item.label].append(answer == group[0].item.label)
    every = [one for those in right.values() for one in those]
    believed = [row for row in rows if row.unflagged]

    def share(values: Sequence[bool]) -> float | None:
        return round(sum(values) / len(values), 4) if values else None

    return {
        "photographs": len(every),
        "photographs_right": sum(every),
        "macro_recall": round(float(np.mean([np.mean(those) for those in right.values()])), 4),
        "recall": {name: share(those) for name, those in sorted(right.items())},
        "answers": {
            name: dict(Counter(row.answer for row in rows if row.item.label == name))
            for name in sorted(right)
        },
        "cells": len(rows),
        "cells_right": share([row.right for row in rows]),
        "right_among_shared": share([row.among_shared == row.item.label for row in rows]),
        "unflagged": share([row.unflagged for row in rows]),
        "right_when_unflagged": share([row.right for row in believed]),
        "calibration_error": _calibration_error(rows),
    }


def _calibration_error(rows: Sequence[Row]) -> float | None:
    told = calibration_figures(
        np.stack([row.probabilities for row in rows]),
        np.array([row.label for row in rows]),
        Photographs([row.item.group for row in rows], seed=SEED, resamples=100),
    )
    value: float | None = told["ece"]["value"]
    return value


def few_copies(items: Sequence[Item], at: NDArray[np.int64], copies: int) -> NDArray[np.int64]:
    """At most so many of each photograph, drawn by the hash of the file."""
    seen: Counter[str] = Counter()
    chosen = []
    for index in sorted(at, key=lambda one: items[one].sha256):
        seen[items[index].group] += 1
        if seen[items[index].group] <= copies:
            chosen.append(index)
    return np.array(sorted(chosen))


def tried(
    recipe: Recipe,
    crops: NDArray[np.uint8],
    items: Sequence[Item],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    weights: str,
) -> list[Row]:
    """Train on the items inside (a part of them validates) and answer those outside."""
    sides = np.array(
        split_by_group(
            [items[at].group for at in inside],
            [items[at].stratum for at in inside],
            validation=0.17,
            test=0.0,
            seed=SEED,
        )
    )
    train = inside[sides == "train"]
    validation = few_copies(items, inside[sides == "validation"], 4)
    answer, classes = fit(recipe, crops, items, train, validation, weights)
    rule = Rule.of(
        answer(validation),
        np.array([classes.index(items[at].label) for at in validation]),
        [items[at] for at in validation],
        answer(few_copies(items, train, 4)),
    )
    return rows_of(answer(outside), rule, [items[at] for at in outside], classes)


def laboratory(
    recipe: Recipe, crops: NDArray[np.uint8], items: Sequence[Item], weights: str
) -> dict[str, Any]:
    """Train on each data set alone and answer the shared classes of the other."""
    dataset = np.array([item.dataset for item in items])
    shared = np.array([item.label in SHARED for item in items])
    found = {}
    for home, away in ((PBC, BCCD), (BCCD, PBC)):
        outside = few_copies(items, np.flatnonzero((dataset == away) & shared), COPIES)
        inside = np.flatnonzero(dataset == home)
        found[away] = figures_of(tried(recipe, crops, items, inside, outside, weights))
        print("   to", away, found[away], flush=True)
    return found


def cross_validation(
    recipe: Recipe, crops: NDArray[np.uint8], items: Sequence[Item], weights: str, folds: int = 3
) -> dict[str, Any]:
    """Both data sets in folds by photograph, every answer by a network that did not see it."""
    fold_of = np.array(
        folds_by_group([i.group for i in items], [i.stratum for i in items], folds=folds, seed=SEED)
    )
    longer = replace(
        recipe,
        epochs=max(recipe.epochs, 4),
        crops_per_epoch=max(recipe.crops_per_epoch, 4800),
    )
    rows: list[Row] = []
    for fold in range(folds):
        outside = few_copies(items, np.flatnonzero(fold_of == fold), COPIES)
        rows += tried(longer, crops, items, np.flatnonzero(fold_of != fold), outside, weights)
    return {
        name: figures_of([row for row in rows if row.item.dataset == name]) for name in (BCCD, PBC)
    }


HEADING = (
    "| recipe | judged on | photographs right | macro recall | cells right | among the four "
    "| unflagged | right when unflagged | ECE | minutes |"
)
PARTS = {"laboratory": laboratory, "cross-validation": cross_validation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="?", help="folder with bccd and pbc")
    parser.add_argument("--weights", help="ImageNet weights of MobileNetV2")
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--recipe", action="append", choices=RECIPES, help="default: all")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "hematovision-crops"
    )
    parser.add_argument("--table", action="store_true", help="print what was tried")
    told = parser.parse_args()
    if told.table:
        print(table())
        return
    if not (told.data and told.weights and told.part):
        parser.error("data, --weights and --part are needed to run experiments")
    listing = list_items(
        [told.data / "bccd/TRAIN", told.data / "pbc"],
        [told.data / "bccd/source_photographs.csv"],
    )
    for name in told.recipe or RECIPES:
        if any(line["recipe"] == name and line["part"] == told.part for line in lines()):
            continue
        print(name, flush=True)
        recipe, start = RECIPES[name], time.monotonic()
        crops, kept = cut(listing, recipe, told.cache)
        figures = PARTS[told.part](recipe, crops, [listing.items[at] for at in kept], told.weights)
        line = {
            "recipe": name,
            "part": told.part,
            "minutes": round((time.monotonic() - start) / 60, 1),
            "settings": asdict(recipe),
            "figures": figures,
        }
        LINES.parent.mkdir(parents=True, exist_ok=True)
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def lines() -> list[dict[str, Any]]:
    if not LINES.exists():
        return []
    return [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """The lines as Markdown, one table for each part."""
    out = []
    for part in PARTS:
        out += [
            f"### {part.capitalize()}",
            "",
            HEADING,
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for line in lines():
            if line["part"] != part:
                continue
            for dataset, told in line["figures"].items():
                out.append(
                    f"| {line['recipe']} | {dataset} "
                    f"| {told['photographs_right']} of {told['photographs']} "
                    f"| {told['macro_recall']:.3f} | {told['cells_right']:.3f} "
                    f"| {told['right_among_shared']:.3f} | {told['unflagged']:.3f} "
                    f"| {told['right_when_unflagged'] or float('nan'):.3f} "
                    f"| {told['calibration_error']:.3f} | {line['minutes']} |"
                )
        out.append("")
    return "\n".join(out)


if __name__ == "__main__":
    main()
