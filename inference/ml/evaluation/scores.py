"""How good the probabilities are: ROC and precision-recall, calibration, Brier, log loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from inference.ml.evaluation.intervals import (
    BOOTSTRAP,
    FEW_CASES,
    FEW_PHOTOGRAPHS,
    WILSON,
    Figure,
    Floats,
    Ints,
    Photographs,
    percentiles,
    ratio,
    rounded,
    wilson,
)

BINS = 15
_CURVE_POINTS = 150
_DRAWS = 500  # of the areas, which are sorted sums and not plain ones
_CHUNK = 50
_LEAST_PROBABILITY = 1e-7  # so that one certain error is dear but not infinitely


def probability_figures(
    probabilities: Floats, labels: Ints, photographs: Photographs, classes: Sequence[str]
) -> dict[str, Any]:
    """Calibration and, for each class that occurs, its two curves and the areas under them.

    Parameters
    ----------
    probabilities : array of shape (N, C)
        Calibrated.
    labels : integer array of shape (N,)
    photographs : Photographs
    classes : sequence of str

    Returns
    -------
    dict
        Those of `calibration_figures`, and ``curves``: for each class areas and points.
    """
    return {
        **calibration_figures(probabilities, labels, photographs),
        "curves": {
            classes[index]: _curves(probabilities[:, index], labels == index, photographs)
            for index in np.unique(labels).tolist()
            if (labels != index).any()
        },
    }


def calibration_figures(
    probabilities: Floats, labels: Ints, photographs: Photographs
) -> dict[str, Any]:
    """Whether probabilities mean what they say.

    Returns
    -------
    dict
        ``log_loss`` (nats), ``brier`` (0 to 2: the squared distance from the truth,
        summed over classes), ``ece``, ``mean_confidence``, ``reliability`` (a row for
        each bin that holds something).
    """
    truth = np.eye(probabilities.shape[1])[labels]
    of_truth = np.clip(probabilities[np.arange(len(labels)), labels], _LEAST_PROBABILITY, 1)
    brier = ((probabilities - truth) ** 2).sum(axis=1)
    return {
        "log_loss": _mean(-np.log(of_truth), photographs),
        "brier": _mean(brier, photographs),
        "mean_confidence": _mean(probabilities.max(axis=1), photographs),
        **_reliability(probabilities, labels, photographs),
    }


def weighted_auc(scores: Floats, positive: np.ndarray, weights: Floats) -> Floats:
    """Areas under ROC curves, one for each row of weights.

    Parameters
    ----------
    scores : array of shape (N,)
    positive : bool array of shape (N,)
    weights : array of shape (R, N)

    Returns
    -------
    array of shape (R,)
        Not a number where one side has no weight.
    """
    hits, misses = _by_score(-scores, positive, weights)  # best first
    before = np.cumsum(hits, axis=1) - hits / 2  # a tie is half right
    return ratio((before * misses).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


def weighted_average_precision(scores: Floats, positive: np.ndarray, weights: Floats) -> Floats:
    """Average precisions, one for each row of weights; parameters as in `weighted_auc`."""
    hits, misses = _by_score(-scores, positive, weights)
    found = np.cumsum(hits, axis=1)
    precision = np.nan_to_num(ratio(found, found + np.cumsum(misses, axis=1)))
    return ratio((precision * hits).sum(axis=1), found[:, -1])


def _by_score(keys: Floats, positive: np.ndarray, weights: Floats) -> tuple[Floats, Floats]:
    """Weight of positives and of others (R, U) at each of U different keys, ascending."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-np.inf))
    ordered = weights[:, order].astype(np.float64)
    of_class = positive[order]
    hits = np.add.reduceat(ordered * of_class, starts, axis=1)
    return hits, np.add.reduceat(ordered * ~of_class, starts, axis=1)


def _curves(scores: Floats, positive: np.ndarray, photographs: Photographs) -> dict[str, Any]:
    false_rate, true_rate, _ = roc_curve(positive, scores)
    precision, recall, _ = precision_recall_curve(positive, scores, drop_intermediate=True)
    return {
        "auc": _area(weighted_auc, scores, positive, photographs),
        "average_precision": _area(weighted_average_precision, scores, positive, photographs),
        "roc": _points(false_rate, true_rate),
        "precision_recall": _points(recall[::-1], precision[::-1]),
    }


def _area(
    area: Callable[[Floats, np.ndarray, Floats], Floats],
    scores: Floats,
    positive: np.ndarray,
    photographs: Photographs,
) -> Figure:
    """An area by bootstrap; by Wilson's formula where few photographs decide it.

    That is, with fewer than 20 on a side, or fewer than 5 that overlap the other side: a
    separation that few photographs disturb looks almost certain to the bootstrap. The
    formula takes as many trials as the smaller side has photographs, for want of a better
    one: it is careful.
    """
    value = float(area(scores, positive, np.ones((1, len(scores))))[0])
    of_class = photographs.sums(positive) > 0
    trials = min(int(of_class.sum()), int((photographs.sums(~positive) > 0).sum()))
    below = positive & (scores <= scores[~positive].max())
    above = ~positive & (scores >= scores[positive].min())
    overlapping = min(int((photographs.sums(side) > 0).sum()) for side in (below, above))
    if trials < FEW_PHOTOGRAPHS or overlapping < FEW_CASES:
        interval, by = wilson(value * trials, trials), WILSON
    else:
        draws = photographs.draws[:_DRAWS]
        samples = np.concatenate(
            [
                area(scores, positive, draws[start : start + _CHUNK][:, photographs.index])
                for start in range(0, len(draws), _CHUNK)
            ]
        )
        interval, by = percentiles(samples), BOOTSTRAP
    return {
        "value": rounded(value),
        "interval": [*map(rounded, interval)],
        "by": by,
        "photographs": int(of_class.sum()),
        "images": int(positive.sum()),
    }


def _mean(values: Floats, photographs: Photographs) -> Figure:
    sums = photographs.sums(np.column_stack([values, np.ones(len(values))]))
    return photographs.measure(sums, lambda both: both[..., 0] / both[..., 1])


def _reliability(probabilities: Floats, labels: Ints, photographs: Photographs) -> dict[str, Any]:
    """Expected calibration error, and how often answers of a confidence are right.

    Resampling adds noise, and noise looks like bad calibration: the bootstrap's errors lie
    over the measured one as that lies over the true one. Mirrored at the measured value
    (the basic bootstrap) the interval reaches down to where the true error may be, but
    falls short above. So its lower end is the mirrored one, and its upper end the larger
    of both: it may be too wide, but does not flatter.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1])
    member = np.eye(BINS)[bin_of]
    sums = photographs.sums(
        np.stack([member, member * confidence[:, None], member * right[:, None]], axis=1)
    )

    def error(flat: Floats) -> Floats:
        counts, confident, correct = np.moveaxis(flat.reshape(*flat.shape[:-1], 3, BINS), -2, 0)
        return np.abs(confident - correct).sum(axis=-1) / counts.sum(axis=-1)

    figure = photographs.measure(sums, error)
    low, high = figure["interval"]
    if low is not None:
        value = figure["value"]
        figure["interval"] = [
            rounded(max(0.0, 2 * value - high)),
            rounded(max(high, 2 * value - low)),
        ]
        figure["by"] = "wider bootstrap"
    rows = []
    for index in np.unique(bin_of).tolist():
        counts = sums[:, 0, index]
        rows.append(
            {
                "from": round(index / BINS, 4),
                "to": round((index + 1) / BINS, 4),
                "mean_confidence": rounded(sums[:, 1, index].sum() / counts.sum()),
                "accuracy": photographs.share(sums[:, 2, index], counts),
            }
        )
    return {"ece": figure, "reliability": rows}


def _points(across: Floats, up: Floats) -> list[list[float]]:
    """A curve's points, thinned where there are more than a drawing shows."""
    if len(across) > _CURVE_POINTS:
        steps = np.cumsum(np.hypot(np.diff(across, prepend=0), np.diff(up, prepend=up[0])))
        wanted = np.linspace(0, steps[-1], _CURVE_POINTS)
        chosen = np.unique(np.append(np.searchsorted(steps, wanted), [0, len(across) - 1]))
        across, up = across[chosen], up[chosen]
    return [[round(float(x), 4), round(float(y), 4)] for x, y in zip(across, up, strict=True)]
