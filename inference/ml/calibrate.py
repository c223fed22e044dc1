"""Make confidence mean what it says: temperature and thresholds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def balanced_weights(groups: Sequence[str], strata: Sequence[str]) -> NDArray[np.float64]:
    """Weights by which every stratum counts the same, and within it every group.

    Returns
    -------
    float64 array of shape (N,)
        With mean 1.
    """
    items = Counter(zip(strata, groups, strict=True))
    groups_of = Counter(stratum for stratum, _ in items)
    weights = np.array(
        [1 / (items[key] * groups_of[key[0]]) for key in zip(strata, groups, strict=True)]
    )
    return weights / weights.mean()


def log_loss(logits: Floats, labels: Ints, weights: Floats) -> float:
    """Weighted mean negative log likelihood, in nats.

    Parameters
    ----------
    logits : array of shape (N, C)
    labels : integer array of shape (N,)
    weights : array of shape (N,)
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    losses = log_sums - shifted[np.arange(len(labels)), labels]
    return float(np.average(losses, weights=weights))


def fit_temperature(logits: Floats, labels: Ints, weights: Floats) -> float:
    """The temperature, 0.2 to 5, that makes the log loss smallest.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: On calibration of modern neural networks. ICML 2017.
    """
    precise = np.asarray(logits, np.float64)
    found = minimize_scalar(
        lambda log_t: log_loss(precise / np.exp(log_t), labels, weights),
        bounds=(np.log(0.2), np.log(5)),
        method="bounded",
    )
    return float(np.exp(found.x))


def confidence_thresholds(
    probabilities: Floats, labels: Ints, weights: Floats, *, allowed_error: float = 0.02
) -> NDArray[np.float64]:
    """For each class, the least confidence at which its answers may be believed.

    Parameters
    ----------
    probabilities : array of shape (N, C)
        Calibrated.
    labels : integer array of shape (N,)
    weights : array of shape (N,)
    allowed_error : float
        Weighted share of wrong answers among those at or over the threshold.

    Returns
    -------
    float64 array of shape (C,)
        In 0.5 to 1; 1 where no lower threshold holds the error down.
    """
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    thresholds = np.ones(probabilities.shape[1])
    for index in range(len(thresholds)):
        of_class = np.flatnonzero(predicted == index)
        order = of_class[np.argsort(-confidence[of_class], kind="stable")]
        believed = np.cumsum(weights[order])
        wrong = np.cumsum(weights[order] * (labels[order] != index))
        held = np.flatnonzero(wrong <= allowed_error * believed)
        if len(held):
            thresholds[index] = max(confidence[order[held[-1]]], 0.5)
    return thresholds
