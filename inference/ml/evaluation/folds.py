"""Cross-validation: the figures of all folds together, and how far the folds lie apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.intervals import Floats, Ints


def pooled_figures(
    probabilities: Floats,
    labels: Ints,
    groups: Sequence[str],
    folds: Sequence[int],
    classes: Sequence[str],
    *,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Figures of a cross-validation, pooled.

    Parameters
    ----------
    probabilities : array of shape (N, C)
        Out of fold: each row from the model that did not see its photograph.
    labels : integer array of shape (N,)
    groups : sequence of str
        Source photograph of each crop.
    folds : sequence of int
        Fold in which each crop was held back, as from `folds_by_group`.
    classes : sequence of str
    seed, resamples : int

    Returns
    -------
    dict
        ``pooled``: what `evaluate` gives for all crops. ``folds``: the main figures of
        each fold. ``spread``: their mean, standard deviation, least and greatest over
        folds. The interval of the pooled figures treats the models of the folds as one;
        the spread shows how far that holds.

    Raises
    ------
    ValueError
        If a photograph lies in two folds: then its figures are none of unseen pictures.
    """
    folds_of: dict[str, set[int]] = defaultdict(set)
    for group, fold in zip(groups, folds, strict=True):
        folds_of[group].add(fold)
    torn = sorted(group for group, found in folds_of.items() if len(found) > 1)
    if torn:
        raise ValueError(
            f"{len(torn)} photographs lie in more than one fold, for example {torn[0]}: "
            "a model was evaluated on what it was trained on. Deal whole photographs."
        )
    numbers = np.asarray(folds)
    rows = [
        _fold_row(fold, probabilities, labels, np.asarray(groups), numbers == fold, classes)
        for fold in np.unique(numbers).tolist()
    ]
    return {
        "pooled": evaluate(probabilities, labels, groups, classes, seed=seed, resamples=resamples),
        "folds": rows,
        "spread": {
            name: _spread([row[name] for row in rows])
            for name in rows[0]
            if name not in {"fold", "images", "photographs"}
        },
    }


def _fold_row(
    fold: int,
    probabilities: Floats,
    labels: Ints,
    groups: np.ndarray,
    held_back: np.ndarray,
    classes: Sequence[str],
) -> dict[str, Any]:
    """The values only: a fold has too few photographs for intervals to say more."""
    figures = evaluate(
        probabilities[held_back],
        labels[held_back],
        groups[held_back].tolist(),
        classes,
        seed=0,
        resamples=1,
    )
    return {
        "fold": fold,
        "images": figures["images"],
        "photographs": figures["photographs"],
        "accuracy": figures["accuracy"]["value"],
        "balanced_accuracy": figures["balanced_accuracy"]["value"],
        "by_photograph": figures["by_photograph"]["value"],
        "macro_recall_by_photograph": figures["by_photograph"]["macro_recall"]["value"],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {
        "mean": round(float(np.mean(values)), 4),
        "standard_deviation": round(spread, 4),
        "least": min(values),
        "greatest": max(values),
    }
