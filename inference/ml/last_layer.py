"""Fit the last layer on features of a frozen network, without TensorFlow.

Home is what a model was trained with, as its bundle keeps it; a site is a laboratory that
has labelled some cells of its own. Both are `TrainingFeatures`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from inference.ml.calibrate import (
    balanced_weights,
    confidence_thresholds,
    fit_temperature,
    log_loss,
)
from inference.ml.engine import softmax
from inference.ml.sidecar import TRAIN, VALIDATION, Head, TrainingFeatures
from inference.ml.split import folds_by_group
from inference.ml.unfamiliar import Neighbours, entry, threshold_of

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Among these cross-validation chooses; scikit-learn's C, the inverse of the penalty."""

FOLDS = 3
_UNHEARD_OF = 10  # natural logarithm: a class without cells is e^10 times less likely than any

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class SiteFit:
    """A last layer for home and a site, and how to read its answers.

    Attributes
    ----------
    head : Head
    strength : float
        Which cross-validation chose.
    temperature : float
    thresholds : float64 array of shape (C,)
        Of confidence.
    unfamiliarity : dict
        The card's entry.
    """

    head: Head
    strength: float
    temperature: float
    thresholds: NDArray[np.float64]
    unfamiliarity: dict[str, Any]


def fit_head(
    features: Floats,
    labels: NDArray[np.integer],
    weights: Floats | None = None,
    *,
    classes: int,
    strength: float = 0.1,
) -> Head:
    """Multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    features : array of shape (N, D)
    labels : integer array of shape (N,)
        Of two classes at least. One that does not occur is never answered.
    weights : array of shape (N,), optional
        Of the cells, with mean 1.
    classes : int
        C, how many there are.
    strength : float
        scikit-learn's C, the inverse of the penalty.
    """
    present, index = np.unique(labels, return_inverse=True)
    # Three times as fast as to the default tolerance, and as good on cells not seen.
    regression = LogisticRegression(C=strength, tol=1e-3, max_iter=200)
    with warnings.catch_warnings():
        # Near the optimum is good enough: the last digits are noise of few cells.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(np.asarray(features, np.float32), index, sample_weight=weights)
    kernel, bias = regression.coef_.T, regression.intercept_
    if kernel.shape[1] == 1:  # scikit-learn keeps one column for two classes
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.hstack([-bias / 2, bias / 2])
    head = Head(
        np.repeat(kernel.mean(axis=1, keepdims=True), classes, axis=1).astype(np.float32),
        np.full(classes, bias.min() - _UNHEARD_OF, np.float32),
    )
    head.kernel[:, present], head.bias[present] = kernel, bias
    return head


def fit_with_replay(
    home: TrainingFeatures, site: TrainingFeatures, *, classes: int, strength: float
) -> Head:
    """Fit on a site's cells and, so that nothing is forgotten, on home's training again.

    Home and site count alike, however many cells each has; in each every class of every
    data set, and in that every photograph.
    """
    train = home.of_side(TRAIN)
    both = train.with_more(site)
    weights = _alike(weights_of(train), weights_of(site))
    return fit_head(both.features, both.labels, weights, classes=classes, strength=strength)


def fit_to_site(
    home: TrainingFeatures, site: TrainingFeatures, *, classes: int, seed: int
) -> SiteFit:
    """Fit, calibrate and set thresholds for home and a site together.

    What the strength is chosen by, and confidence and unfamiliarity are calibrated with,
    are home's validation side and the site's cells as answered by the models of a
    cross-validation that had not seen their photographs.

    Parameters
    ----------
    home : TrainingFeatures
        Training and validation side.
    site : TrainingFeatures
        Of two photographs at least.
    classes : int
        How many there are, home's first.
    seed : int
        Of the folds.
    """
    held_back = home.of_side(VALIDATION)
    folds = folds_of(site, seed)
    weights = weights_of(held_back), weights_of(site)
    answers = {one: _cross_fitted(home, site, folds, classes, one) for one in STRENGTHS}

    def loss(strength: float) -> float:
        of_site, of_home = answers[strength]
        return log_loss(of_site, site.labels, weights[1]) + float(
            np.mean([log_loss(logits, held_back.labels, weights[0]) for logits in of_home])
        )

    strength = min(STRENGTHS, key=loss)
    head = fit_with_replay(home, site, classes=classes, strength=strength)
    logits: NDArray[np.float32] = np.concatenate(
        [head.logits(_rows(held_back)), answers[strength][0]], dtype=np.float32
    )
    labels = np.concatenate([held_back.labels, site.labels])
    alike = _alike(*weights)
    temperature = fit_temperature(logits, labels, alike)
    thresholds = confidence_thresholds(
        softmax((logits / temperature).astype(np.float32)), labels, alike
    )
    return SiteFit(head, strength, temperature, thresholds, _unfamiliarity(home, site, folds))


def folds_of(site: TrainingFeatures, seed: int) -> NDArray[np.int64]:
    """The fold of each cell; photographs stay whole."""
    groups, strata = site.groups.tolist(), site.labels.astype(str).tolist()
    return np.array(folds_by_group(groups, strata, folds=min(FOLDS, len(set(groups))), seed=seed))


def weights_of(cells: TrainingFeatures) -> NDArray[np.float64]:
    """By which every class of every data set counts alike, and in it every photograph."""
    strata = [f"{one}:{label}" for one, label in zip(cells.datasets, cells.labels, strict=True)]
    return balanced_weights(cells.groups.tolist(), strata)


def _cross_fitted(
    home: TrainingFeatures,
    site: TrainingFeatures,
    folds: NDArray[np.int64],
    classes: int,
    strength: float,
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Logits of the site's cells by models that did not see them; home's by each model."""
    of_site = np.empty((len(site), classes), np.float32)
    of_home = []
    for fold in np.unique(folds):
        head = fit_with_replay(home, site.where(folds != fold), classes=classes, strength=strength)
        of_site[folds == fold] = head.logits(_rows(site.where(folds == fold)))
        of_home.append(head.logits(_rows(home.of_side(VALIDATION))))
    return of_site, of_home


def _unfamiliarity(
    home: TrainingFeatures, site: TrainingFeatures, folds: NDArray[np.int64]
) -> dict[str, Any]:
    """The card's entry, where the site's cells are among the references, too."""
    train, held_back = home.of_side(TRAIN), home.of_side(VALIDATION)
    distances = [Neighbours(train.with_more(site).features).distances(held_back.features)]
    for fold in np.unique(folds):
        others = Neighbours(train.with_more(site.where(folds != fold)).features)
        distances.append(others.distances(site.where(folds == fold).features))
    judged = held_back.with_more(site.where(np.argsort(folds, kind="stable")))
    weights = balanced_weights(judged.groups.tolist(), judged.datasets.tolist())
    return entry(threshold_of(np.concatenate(distances), weights))


def _alike(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Weights of two sets, each with mean 1, made to count the same; with mean 1."""
    total = len(first) + len(second)
    return np.concatenate([first * total / len(first), second * total / len(second)]) / 2


def _rows(cells: TrainingFeatures) -> NDArray[np.float32]:
    return cells.features.astype(np.float32)
