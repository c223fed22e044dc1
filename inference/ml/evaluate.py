"""Figures of a classifier on crops it has not seen, with intervals over photographs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


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
        Of the bootstrap over photographs, which gives every 95 % interval but the
        one by photograph: photographs are independent, so that one is Wilson's.

    Returns
    -------
    dict
        Ready for JSON: shares as numbers, intervals as lists of two.
    """
    names, group_index = np.unique(np.asarray(groups), return_inverse=True)
    predicted = probabilities.argmax(axis=1)
    tables = confusion_by_group(labels, predicted, group_index, len(classes))
    pooled = tables.sum(axis=0)
    samples = resampled(tables, seed=seed, resamples=resamples)
    present = [index for index in range(len(classes)) if pooled[index].sum()]

    def figure(measure: Callable[[Floats], Floats]) -> dict[str, Any]:
        return {"value": _rounded(measure(pooled)), "interval": _interval(measure(samples))}

    def of_class(measure: Callable[[Floats], Floats], index: int) -> Callable[[Floats], Floats]:
        return lambda table: measure(table)[..., index]

    right, photographs = majority_right(labels, predicted, group_index, len(classes))
    per_class = {
        classes[index]: {
            "images": int(pooled[index].sum()),
            "photographs": int((tables[:, index].sum(axis=1) > 0).sum()),
            "recall": figure(of_class(recalls, index)),
            "precision": figure(of_class(precisions, index)),
        }
        for index in present
    }
    return {
        "images": len(labels),
        "photographs": len(names),
        "accuracy": figure(accuracy),
        "balanced_accuracy": figure(
            lambda table: np.nanmean(recalls(table)[..., present], axis=-1)
        ),
        "by_photograph": {
            "right": right,
            "photographs": photographs,
            "value": round(right / photographs, 4),
            "interval": [round(bound, 4) for bound in wilson(right, photographs)],
        },
        "classes": per_class,
        "confusion": pooled.astype(int).tolist(),
    }


def confusion_by_group(labels: Ints, predicted: Ints, group_index: Ints, classes: int) -> Floats:
    """Confusion tables (G, C, C) of each group: rows are labels, columns answers."""
    tables = np.zeros((int(group_index.max()) + 1, classes, classes))
    np.add.at(tables, (group_index, labels, predicted), 1)
    return tables


def resampled(tables: Floats, *, seed: int, resamples: int) -> Floats:
    """Sums (R, C, C) over groups that are drawn anew, with replacement, R times."""
    groups = len(tables)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(groups, np.full(groups, 1 / groups), size=resamples)
    flat = draws @ tables.reshape(groups, -1)
    return flat.reshape(resamples, *tables.shape[1:])


def accuracy(tables: Floats) -> Floats:
    """Share of right answers of confusion tables (..., C, C)."""
    return np.trace(tables, axis1=-2, axis2=-1) / tables.sum(axis=(-2, -1))


def recalls(tables: Floats) -> Floats:
    """Recall of each class (..., C); not a number for a class without items."""
    return _ratio(np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(axis=-1))


def precisions(tables: Floats) -> Floats:
    """Precision of each class (..., C); not a number for one that is never answered."""
    return _ratio(np.diagonal(tables, axis1=-2, axis2=-1), tables.sum(axis=-2))


def majority_right(
    labels: Ints, predicted: Ints, group_index: Ints, classes: int
) -> tuple[int, int]:
    """Groups whose most frequent answer is their most frequent label, and all groups."""
    groups = int(group_index.max()) + 1
    answers = np.zeros((groups, classes))
    truths = np.zeros((groups, classes))
    np.add.at(answers, (group_index, predicted), 1)
    np.add.at(truths, (group_index, labels), 1)
    return int((answers.argmax(axis=1) == truths.argmax(axis=1)).sum()), groups


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    References
    ----------
    Wilson: Probable inference, the law of succession, and statistical inference.
    JASA 22 (1927) 209-212.
    """
    if trials < 1:
        return 0.0, 1.0
    z = 1.959964
    share = successes / trials
    middle = share + z * z / (2 * trials)
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _rounded(value: Floats) -> float | None:
    """None for a ratio of nothing: JSON knows no NaN, and 0 would be untrue."""
    return None if np.isnan(value) else round(float(value), 4)


def _interval(values: Floats) -> list[float | None]:
    """Of the resamples in which the ratio exists: a class may be absent from some."""
    if np.isnan(values).all():
        return [None, None]
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return [_rounded(low), _rounded(high)]
