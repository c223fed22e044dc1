"""Two models on the same pictures: is one better, or is it chance?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from inference.ml.evaluation.figures import confusion_by_group, majority
from inference.ml.evaluation.intervals import (
    FEW_CASES,
    NONE,
    Figure,
    Floats,
    Ints,
    Photographs,
    ratio,
    rounded,
)

_Z = 1.959964


def compare(
    ours: Floats,
    theirs: Floats,
    labels: Ints,
    groups: Sequence[str],
    *,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Compare two models on the same pictures, photograph by photograph.

    Parameters
    ----------
    ours, theirs : arrays of shape (N, C)
        Probabilities, with the same classes in the same order.
    labels : integer array of shape (N,)
    groups : sequence of str
        Source photograph of each picture.
    seed, resamples : int
        Of the bootstrap over photographs.

    Returns
    -------
    dict
        Differences, ours less theirs: ``accuracy`` and ``macro_recall`` by picture and
        ``by_photograph``, with intervals; ``mcnemar``: photographs that only one of the
        models gets right by its majority answer, and the exact two-sided p-value of so
        uneven a split.

    References
    ----------
    McNemar: Note on the sampling error of the difference between correlated proportions
    or percentages. Psychometrika 12 (1947) 153-157.
    """
    photographs = Photographs(groups, seed=seed, resamples=resamples)
    our_answers, truths = majority(ours, labels, photographs)
    their_answers, _ = majority(theirs, labels, photographs)
    we_right, they_right = our_answers == truths, their_answers == truths
    only_ours = int((we_right & ~they_right).sum())
    only_theirs = int((they_right & ~we_right).sum())
    by_picture = _tables(ours.argmax(axis=1), theirs.argmax(axis=1), labels, photographs.index)
    whole = _tables(our_answers, their_answers, truths, np.arange(len(photographs)))
    discordant = only_ours + only_theirs
    return {
        "images": len(labels),
        "photographs": len(photographs),
        "accuracy": _difference(by_picture, _accuracies, photographs),
        "macro_recall": _difference(by_picture, _macro_recalls, photographs),
        "by_photograph": {
            "accuracy": _paired_shares(only_ours, only_theirs, len(photographs)),
            "macro_recall": _difference(whole, _macro_recalls, photographs),
        },
        "mcnemar": {
            "only_ours_right": only_ours,
            "only_theirs_right": only_theirs,
            "both_right": int((we_right & they_right).sum()),
            "neither_right": int((~we_right & ~they_right).sum()),
            "p_value": 1.0 if not discordant else float(binomtest(only_ours, discordant).pvalue),
        },
    }


def _tables(ours: Ints, theirs: Ints, labels: Ints, index: Ints) -> Floats:
    """Of each photograph and class: right answers of ours, of theirs, and pictures (G, 3, C)."""
    classes = int(max(labels.max(), ours.max(), theirs.max())) + 1
    tables = [confusion_by_group(labels, answers, index, classes) for answers in (ours, theirs)]
    right = [np.diagonal(table, axis1=1, axis2=2) for table in tables]
    return np.stack([*right, tables[0].sum(axis=2)], axis=1)


def _accuracies(sums: Floats) -> tuple[Floats, Floats]:
    pictures = sums[..., 2, :].sum(axis=-1)
    return sums[..., 0, :].sum(axis=-1) / pictures, sums[..., 1, :].sum(axis=-1) / pictures


def _macro_recalls(sums: Floats) -> tuple[Floats, Floats]:
    """Over the classes that occur in a resample; others are not a number."""
    ours, theirs = (ratio(sums[..., one, :], sums[..., 2, :]) for one in (0, 1))
    return np.nanmean(ours, axis=-1), np.nanmean(theirs, axis=-1)


def _difference(
    tables: Floats,
    measure: Callable[[Floats], tuple[Floats, Floats]],
    photographs: Photographs,
) -> Figure:
    """A bootstrapped difference; without interval where hardly any photograph is answered apart.

    The bootstrap of a few discordant photographs is too narrow to be told.
    """
    ours, theirs = measure(tables.sum(axis=0))
    drawn_ours, drawn_theirs = measure(photographs.resampled(tables))
    figure = photographs.figure(ours - theirs, drawn_ours - drawn_theirs)
    apart = int((tables[:, 0] != tables[:, 1]).any(axis=1).sum())
    if apart < FEW_CASES:
        figure |= {"interval": [None, None], "by": NONE}
    return {**figure, "ours": rounded(ours), "theirs": rounded(theirs), "apart": apart}


def _paired_shares(only_ours: int, only_theirs: int, photographs: int) -> Figure:
    """The difference of two paired shares, with an interval that no zero makes vanish.

    References
    ----------
    Agresti, Min: Simple improved confidence intervals for comparing matched proportions.
    Statistics in Medicine 24 (2005) 729-740.
    """
    one, other, trials = only_ours + 0.5, only_theirs + 0.5, photographs + 2
    middle = (one - other) / trials
    reach = _Z * math.sqrt(one + other - (one - other) ** 2 / trials) / trials
    return {
        "value": rounded((only_ours - only_theirs) / photographs),
        "interval": [rounded(max(-1.0, middle - reach)), rounded(min(1.0, middle + reach))],
        "by": "agresti-min",
        "photographs": photographs,
        "images": photographs,
    }
