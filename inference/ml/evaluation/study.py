"""All figures of one set of answers, ready for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import classification_report

from inference.ml.data import Item, count_by
from inference.ml.evaluation.answers import Answers
from inference.ml.evaluation.figures import figures_of
from inference.ml.evaluation.gallery import worst_mistakes
from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.paired import compare
from inference.ml.evaluation.scores import probability_figures
from inference.ml.evaluation.selective import selective_figures

_COPIES_TOLD = 100
SAME_LABORATORY = "same-laboratory figure, patients unknown"


def standing(*, in_training: bool, photographs_known: bool, same_name: bool = False) -> str:
    """What figures of a data set may be called.

    Parameters
    ----------
    in_training : bool
        Whether training knew any of its files.
    photographs_known : bool
        To training, if it was in it.
    same_name : bool
        Whether training had a data set of this name.
    """
    if in_training:
        return (
            "photographs never seen in training, of a data set that was"
            if photographs_known
            else SAME_LABORATORY
        )
    told = "a data set that training did not see"
    if same_name:
        told += ", though it had one of this name, with other files"
    if photographs_known:
        return told
    return f"{told}; patients unknown, every file counted as a photograph of its own"


def study(
    answers: Answers, *, seed: int, resamples: int = 2000, without_cell: Sequence[Item] = ()
) -> dict[str, Any]:
    """Every figure of answers to pictures of classes that the model knows.

    Parameters
    ----------
    answers : Answers
    seed, resamples : int
        Of the bootstrap over photographs.
    without_cell : sequence of Item
        Pictures of the same set in which no cell was found: they are in none of the
        figures but those of ``finding``.
    """
    photographs = Photographs(answers.groups, seed=seed, resamples=resamples)
    probabilities, labels, classes = answers.probabilities, answers.labels, answers.classes
    return {
        **figures_of(probabilities, labels, photographs, classes),
        "finding": _finding(answers, without_cell, seed=seed, resamples=resamples),
        "probability": probability_figures(probabilities, labels, photographs, classes),
        "selective": selective_figures(probabilities, labels, answers.flags, photographs),
        "classification_report": _report(probabilities, labels, classes),
        "mistakes": [
            mistake(answers, at) for at in worst_mistakes(probabilities, labels, answers.groups)
        ],
    }


def by_knowledge(answers: Answers) -> tuple[Answers | None, Answers | None]:
    """The answers to cells of classes that the model knows, and those to others."""
    knows = [item.label in answers.classes for item in answers.items]
    if not any(knows):
        return None, answers
    missed = [item for item in answers.without_cell if item.label in answers.classes]
    known = replace(answers.where(np.flatnonzero(knows)), without_cell=missed)
    return known, None if all(knows) else answers.where(np.flatnonzero(np.logical_not(knows)))


def mistake(answers: Answers, at: int) -> dict[str, Any]:
    """One answer, for the gallery; ``position`` is its place among the answers."""
    item, row = answers.items[at], answers.probabilities[at]
    return {
        "position": at,
        "file": item.shown,
        "dataset": item.dataset,
        "photograph": item.group.split(":", 1)[-1],
        "label": item.label,
        "answer": answers.classes[int(row.argmax())],
        "confidence": round(float(row.max()), 4),
        "probability_of_label": round(float(row[answers.classes.index(item.label)]), 4),
        "flags": [name for name, flag in answers.flags.items() if flag[at]],
    }


def near_copies(answers: Answers) -> dict[str, Any]:
    """Pictures that look like copies of what the model was trained or tuned with."""
    found: list[dict[str, Any]] = [
        {
            "file": item.shown,
            "dataset": item.dataset,
            "like": copy[0],
            "distance": round(copy[1], 5),
        }
        for item, copy in zip(answers.items, answers.copies, strict=True)
        if copy is not None
    ]
    return {
        "pictures": len(found),
        "photographs": len(
            {i.group for i, c in zip(answers.items, answers.copies, strict=True) if c is not None}
        ),
        "cannot_tell": list(answers.copies_unknown),
        "nearest_first": sorted(found, key=lambda row: row["distance"])[:_COPIES_TOLD],
    }


def unknown_classes(answers: Answers, *, seed: int, resamples: int = 2000) -> dict[str, Any]:
    """Cells of classes that the model was never shown: how many it flags, what it says."""
    told = {}
    flagged = np.any([*answers.flags.values()], axis=0)
    predicted = answers.probabilities.argmax(axis=1)
    for label in sorted({item.label for item in answers.items}):
        here = np.array([item.label == label for item in answers.items])
        photographs = Photographs(
            [item.group for item in answers.items if item.label == label],
            seed=seed,
            resamples=resamples,
        )
        every = photographs.sums(np.ones(int(here.sum())))
        shares = {**answers.flags, "any": flagged}
        told[label] = {
            "flagged": {
                name: photographs.share(photographs.sums(flag[here]), every)
                for name, flag in shares.items()
            },
            "answers": count_by([answers.classes[index] for index in predicted[here]]),
        }
    return told


def compared(ours: Answers, theirs: Answers, *, seed: int) -> dict[str, Any]:
    """A paired test of two models' answers to the same pictures, with classes both know."""
    both_know = set(ours.classes) & set(theirs.classes)
    their_place = {item.key: at for at, item in enumerate(theirs.items)}
    pairs = [
        (at, their_place[item.key])
        for at, item in enumerate(ours.items)
        if item.label in both_know and item.key in their_place
    ]
    if not pairs:
        return {"images": 0}
    here, there = (list(column) for column in zip(*pairs, strict=True))
    names = sorted({*ours.classes, *theirs.classes})
    chosen = ours.where(here)
    return compare(
        _in_order(ours, names)[here],
        _in_order(theirs, names)[there],
        np.array([names.index(item.label) for item in chosen.items]),
        chosen.groups,
        seed=seed,
    )


def _in_order(answers: Answers, names: Sequence[str]) -> np.ndarray:
    """Probabilities with the columns of other class names; 0 for a class it does not know."""
    wide = np.zeros((len(answers.items), len(names)), np.float32)
    wide[:, [names.index(name) for name in answers.classes]] = answers.probabilities
    return wide


def _finding(
    answers: Answers, without_cell: Sequence[Item], *, seed: int, resamples: int
) -> dict[str, Any]:
    """Pictures in which a cell was found, and right answers if a missed cell counts as wrong."""
    groups = [*answers.groups, *(item.group for item in without_cell)]
    photographs = Photographs(groups, seed=seed, resamples=resamples)
    found = np.arange(len(groups)) < len(answers.items)
    right = np.zeros(len(groups), bool)
    right[: len(answers.items)] = answers.probabilities.argmax(axis=1) == answers.labels
    every = photographs.sums(np.ones(len(groups)))
    return {
        "found": photographs.share(photographs.sums(found), every),
        "found_and_right": photographs.share(photographs.sums(right), every),
        "without_cell": [item.shown for item in without_cell],
    }


def _report(probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> str:
    """scikit-learn's table, of the classes that occur."""
    present = np.unique(labels)
    return str(
        classification_report(
            labels,
            probabilities.argmax(axis=1),
            labels=present,
            target_names=[classes[index] for index in present],
            digits=3,
            zero_division=0,
        )
    )
