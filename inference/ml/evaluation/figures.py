"""Figures of a classifier on crops it has not seen: by image, by photograph and by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.ml.evaluation.intervals import (
    WILSON,
    Figure,
    Floats,
    Ints,
    Photographs,
    mean_of_shares,
    rounded,
    wilson,
)


def evaluate(
    probabilities: Floats,
    labels: Ints,
    groups: Sequence[str],
    classes: Sequence[str],
    *,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Figures by image, by photograph and by class.

    Parameters
    ----------
    probabilities : array of shape (N, C)
    labels : integer array of shape (N,)
    groups : sequence of str
        Source photograph of each crop.
    classes : sequence of str
        Names of the C classes.
    seed, resamples : int
        Of the bootstrap over photographs.

    Returns
    -------
    dict
        Ready for JSON: shares as numbers, intervals as lists of two, and which method
        gave the interval (see `Photographs.share`). Balanced accuracy is the macro
        recall, over the classes that occur.
    """
    return figures_of(
        probabilities, labels, Photographs(groups, seed=seed, resamples=resamples), classes
    )


def figures_of(
    probabilities: Floats, labels: Ints, photographs: Photographs, classes: Sequence[str]
) -> dict[str, Any]:
    """The same for photographs whose draws may be shared with other figures."""
    predicted = probabilities.argmax(axis=1)
    tables = confusion_by_group(labels, predicted, photographs.index, len(classes))
    pooled = tables.sum(axis=0)
    present = [index for index in range(len(classes)) if pooled[index].sum()]
    per_class = {classes[index]: _class_figures(tables, index, photographs) for index in present}

    def macro(name: str, *, independent: bool) -> Figure:
        shares = [figures[name] for figures in per_class.values()]
        mean = mean_of_shares(shares, independent=independent)
        # A picture stands behind the precision of one class and the recall of another.
        return {**mean, "photographs": len(photographs), "images": len(labels)}

    return {
        "images": len(labels),
        "photographs": len(photographs),
        "accuracy": photographs.share(np.trace(tables, axis1=1, axis2=2), tables.sum(axis=(1, 2))),
        "balanced_accuracy": macro("recall", independent=True),
        "macro_precision": macro("precision", independent=False),
        "macro_f1": macro("f1", independent=False),
        "by_photograph": by_photograph(probabilities, labels, photographs, classes),
        "classes": per_class,
        "confusion": pooled.astype(int).tolist(),
    }


def by_photograph(
    probabilities: Floats, labels: Ints, photographs: Photographs, classes: Sequence[str]
) -> dict[str, Any]:
    """Figures where each photograph counts once: by the majority of its copies' answers.

    ``by_mean_probability`` takes the class with the largest mean probability instead.
    Photographs are independent, so that the intervals are Wilson's.
    """
    answers, truths = majority(probabilities, labels, photographs)
    likeliest = photographs.sums(probabilities).argmax(axis=1)
    return {
        **_whole_photographs(answers, truths, classes),
        "by_mean_probability": _whole_photographs(likeliest, truths, classes),
    }


def majority(probabilities: Floats, labels: Ints, photographs: Photographs) -> tuple[Ints, Ints]:
    """The most frequent answer and label (G,) of each photograph's copies.

    Of equally frequent answers that with the larger mean probability counts.
    """
    one_each = np.eye(probabilities.shape[1])
    copies = np.bincount(photographs.index)[:, None]
    votes = photographs.sums(one_each[probabilities.argmax(axis=1)])
    votes += photographs.sums(probabilities) / copies / 2  # less than one vote
    return votes.argmax(axis=1), photographs.sums(one_each[labels]).argmax(axis=1)


def confusion_by_group(labels: Ints, predicted: Ints, group_index: Ints, classes: int) -> Floats:
    """Confusion tables (G, C, C) of each group: rows are labels, columns answers."""
    tables = np.zeros((int(group_index.max()) + 1, classes, classes))
    np.add.at(tables, (group_index, labels, predicted), 1)
    return tables


def _class_figures(tables: Floats, index: int, photographs: Photographs) -> dict[str, Any]:
    right = tables[:, index, index]
    labelled, answered = tables[:, index].sum(axis=1), tables[:, :, index].sum(axis=1)
    both = labelled + answered
    return {
        "images": int(labelled.sum()),
        "photographs": int((labelled > 0).sum()),
        "recall": photographs.share(right, labelled),
        "precision": photographs.share(right, answered),
        "f1": photographs.share(2 * right, both, images=both - right),
    }


def _whole_photographs(answers: Ints, truths: Ints, classes: Sequence[str]) -> dict[str, Any]:
    right = answers == truths
    per_class = {
        classes[index]: _counted(right[truths == index]) for index in np.unique(truths).tolist()
    }
    return {
        **_counted(right),
        "macro_recall": mean_of_shares(list(per_class.values())),
        "classes": per_class,
    }


def _counted(right: np.ndarray) -> dict[str, Any]:
    hits, trials = int(right.sum()), len(right)
    return {
        "right": hits,
        "photographs": trials,
        "images": trials,
        "value": rounded(hits / trials),
        "interval": [*map(rounded, wilson(hits, trials))],
        "by": WILSON,
    }
