"""Compare recipes of training, each judged on photographs and laboratories it has not seen.

    python -m bench.experiments ../shared/data --weights FILE --part laboratory
    python -m bench.experiments ../shared/data --weights FILE --part cross-validation
    python -m bench.experiments --table

Each recipe and part appends one line to ``docs/model/experiments.jsonl``; what is there already is
not run again, so the search may be stopped and taken up. `--recipe NAME` takes
some of them only, `--table` prints the lines as Markdown.

``laboratory``: trained on one data set, judged on the four classes of the other, both ways.
``cross-validation``: both sets in folds by photograph, answers pooled.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.recipes import RECIPES, SEED, Answers, Recipe, cut, few_copies, fit
from inference.ml.data import Item, list_items
from inference.ml.engine import softmax
from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.folds import pooled_figures
from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.scores import calibration_figures
from inference.ml.evaluation.selective import selective_figures
from inference.ml.preprocess import (
    COMMON_STAIN,
    OWN_STAIN,
)
from inference.ml.split import folds_by_group, leave_one_dataset_out, split_by_group
from inference.ml.unfamiliar import Neighbours, threshold_of

LINES = Path("docs/model/experiments.jsonl")
SHARED = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
COPIES = 6  # of one photograph that are judged; more cost time and tell nothing
FOLDS = 3


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
class Judged:
    """Answers to items that the network did not see.

    Attributes
    ----------
    items : list of Item
    classes : tuple of str
    probabilities : float32 array of shape (N, C)
    flagged : bool array of shape (N,)
        As uncertain or unfamiliar.
    """

    items: list[Item]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    flagged: NDArray[np.bool_]

    @classmethod
    def of(
        cls, answers: Answers, rule: Rule, items: list[Item], classes: tuple[str, ...]
    ) -> Judged:
        probabilities = softmax(answers.logits / np.float32(rule.temperature))
        uncertain = probabilities.max(axis=1) < rule.thresholds[probabilities.argmax(axis=1)]
        far = rule.neighbours.distances(answers.features) > rule.farthest
        return cls(items, classes, probabilities, uncertain | far)

    def where(self, chosen: NDArray[np.bool_]) -> Judged:
        return Judged(
            [item for item, is_chosen in zip(self.items, chosen, strict=True) if is_chosen],
            self.classes,
            self.probabilities[chosen],
            self.flagged[chosen],
        )


def joined(parts: Sequence[Judged]) -> Judged:
    return Judged(
        [item for part in parts for item in part.items],
        parts[0].classes,
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.flagged for part in parts]),
    )


def figures_of(judged: Judged) -> dict[str, Any]:
    """By photograph and by cell, each with its interval over photographs."""
    labels = np.array([judged.classes.index(item.label) for item in judged.items])
    groups = [item.group for item in judged.items]
    photographs = Photographs(groups, seed=SEED, resamples=1000)
    told = evaluate(judged.probabilities, labels, groups, judged.classes, seed=SEED)
    selective = selective_figures(
        judged.probabilities, labels, {"flagged": judged.flagged}, photographs
    )["flags"]["flagged"]
    shared = [index for index, name in enumerate(judged.classes) if name in SHARED]
    of_shared = np.isin(labels, shared)
    among = np.array(shared)[judged.probabilities[:, shared].argmax(axis=1)] == labels
    return {
        "cells": told["images"],
        "by_photograph": {
            key: told["by_photograph"][key] for key in ("right", "photographs", "interval")
        },
        "macro_recall": told["by_photograph"]["macro_recall"],
        "recall": {
            name: figure["value"] for name, figure in told["by_photograph"]["classes"].items()
        },
        "accuracy": told["accuracy"],
        "among_shared": photographs.share(
            photographs.sums(among & of_shared), photographs.sums(of_shared)
        ),
        "coverage": selective["coverage"],
        "risk": selective["risk"],
        "ece": calibration_figures(judged.probabilities, labels, photographs)["ece"],
        "classes": judged.classes,
        "confusion": told["confusion"],
    }


def tried(
    recipe: Recipe,
    crops: NDArray[np.uint8],
    items: Sequence[Item],
    inside: NDArray[np.int64],
    outside: NDArray[np.int64],
    weights: str,
) -> Judged:
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
    return Judged.of(answer(outside), rule, [items[at] for at in outside], classes)


def laboratory(
    recipe: Recipe, crops: NDArray[np.uint8], items: Sequence[Item], weights: str
) -> dict[str, Any]:
    """Train on each data set alone and answer the shared classes of the other."""
    found = {}
    for left_out in leave_one_dataset_out(
        [item.dataset for item in items],
        [item.label for item in items],
        [item.group for item in items],
    ):
        outside = few_copies(items, np.array(left_out.test), COPIES)
        judged = tried(recipe, crops, items, np.array(left_out.train), outside, weights)
        found[left_out.dataset] = figures_of(judged)
        print("   to", left_out.dataset, found[left_out.dataset]["accuracy"], flush=True)
    return found


def cross_validation(
    recipe: Recipe, crops: NDArray[np.uint8], items: Sequence[Item], weights: str
) -> dict[str, Any]:
    """Both data sets in folds by photograph, every answer by a network that did not see it."""
    fold_of = np.array(
        folds_by_group([i.group for i in items], [i.stratum for i in items], folds=FOLDS, seed=SEED)
    )
    judged = []
    for fold in range(FOLDS):
        outside = few_copies(items, np.flatnonzero(fold_of == fold), COPIES)
        inside = np.flatnonzero(fold_of != fold)
        judged.append(tried(recipe, crops, items, inside, outside, weights))
    pooled = joined(judged)
    folds = np.repeat(np.arange(FOLDS), [len(part.items) for part in judged])
    found = {}
    for name in sorted({item.dataset for item in items}):
        of_set = np.array([item.dataset == name for item in pooled.items])
        here = pooled.where(of_set)
        spread = pooled_figures(
            here.probabilities,
            np.array([here.classes.index(item.label) for item in here.items]),
            [item.group for item in here.items],
            folds[of_set].tolist(),
            here.classes,
            seed=SEED,
            resamples=1,
        )["spread"]
        found[name] = {**figures_of(here), "spread": spread}
    return found


HEADING = (
    "| recipe | epochs x crops | judged on | photographs right | macro recall | cells right "
    "| among the four | not flagged | right of these | ECE |"
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
        recipe, start = as_run(RECIPES[name], told.part), time.monotonic()
        settings = json.loads(json.dumps(asdict(recipe)))
        if any(line["part"] == told.part and line["settings"] == settings for line in lines()):
            continue
        print(name, flush=True)
        crops, kept = cut(listing, recipe, told.cache)
        items = [listing.items[at] for at in kept]
        figures = PARTS[told.part](recipe, crops, items, told.weights)
        line = {
            "recipe": name,
            "part": told.part,
            "minutes": round((time.monotonic() - start) / 60, 1),
            "settings": settings,
            "figures": figures,
        }
        LINES.parent.mkdir(parents=True, exist_ok=True)
        with LINES.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def as_run(recipe: Recipe, part: str) -> Recipe:
    """The settings that a part really runs with; these are recorded."""
    if part == "cross-validation":  # more photographs to learn from, and a figure for home
        recipe = replace(
            recipe,
            epochs=max(recipe.epochs, 4),
            crops_per_epoch=max(recipe.crops_per_epoch, 4800),
        )
    stain = COMMON_STAIN if recipe.stain == "anchors" else OWN_STAIN
    return replace(recipe, preprocessing=replace(recipe.preprocessing, stain=stain))


def lines() -> list[dict[str, Any]]:
    if not LINES.exists():
        return []
    return [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()]


def table() -> str:
    """The lines as Markdown, one table for each part."""
    out = []
    for part in PARTS:
        out += [f"### {part.capitalize()}", "", HEADING, "| --- " * 10 + "|"]
        for line in lines():
            if line["part"] != part:
                continue
            run = line["settings"]
            for dataset, told in line["figures"].items():
                whole = told["by_photograph"]
                out.append(
                    f"| {line['recipe']} | {run['epochs']} x {run['crops_per_epoch']} | {dataset} "
                    f"| {whole['right']} of {whole['photographs']} {_interval(whole)} "
                    f"| {_figure(told['macro_recall'])} | {_figure(told['accuracy'])} "
                    f"| {_figure(told['among_shared'])} | {_figure(told['coverage'])} "
                    f"| {_figure(told['risk'], other=True)} | {_figure(told['ece'])} |"
                )
        out.append("")
    return "\n".join(out)


def _figure(figure: dict[str, Any], *, other: bool = False) -> str:
    """A figure with its interval where there is one; `other` turns a share of errors round."""
    if figure["value"] is None:
        return "-"
    value, (low, high) = figure["value"], figure["interval"]
    if other:
        value, low, high = 1 - value, *(None if end is None else 1 - end for end in (high, low))
    return f"{value:.3f} {_interval({'interval': (low, high)})}".strip()


def _interval(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return "" if low is None else f"[{low:.2f}, {high:.2f}]"


if __name__ == "__main__":
    main()
