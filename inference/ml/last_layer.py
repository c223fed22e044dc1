"""Fit the last layer on features of a frozen network, without TensorFlow.

Home is what a model was trained with, as its bundle keeps it; a site is a laboratory that
has labelled some cells of its own. Both are `TrainingFeatures`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

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

STRENGTHS = (0.01, 0.1, 1.0)
"""Cross-validation chooses among these, and whether the penalty pulls towards the old layer."""

FOLDS = 3

MOST_STEPS = 3000
"""Of the solver; some 20 to 250 are taken."""

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class SiteFit:
    """A last layer for home and a site, and how to read its answers.

    Attributes
    ----------
    head : Head
    strength : float
    from_old : bool
        Whether the penalty pulled towards the old layer; cross-validation chose both.
    converged : bool
        Whether every fit, also of the cross-validation, came to its end.
    temperature : float
    thresholds : float64 array of shape (C,)
        Of confidence.
    unfamiliarity : dict
        The card's entry.
    """

    head: Head
    strength: float
    from_old: bool
    converged: bool
    temperature: float
    thresholds: NDArray[np.float64]
    unfamiliarity: dict[str, Any]


class Solution(NamedTuple):
    """A fitted layer, and whether the search for it came to its end."""

    head: Head
    converged: bool


class Choice(NamedTuple):
    """How to fit to a site: what cross-validation found best.

    Attributes
    ----------
    strength : float
    prior : Head or None
        The old layer, if the penalty is to pull towards it.
    of_site : float32 array of shape (N, C)
        Logits of the site's cells, by models that had not seen their photographs.
    converged : bool
    """

    strength: float
    prior: Head | None
    of_site: NDArray[np.float32]
    converged: bool


def fit_head(
    features: Floats,
    labels: NDArray[np.integer],
    weights: Floats | None = None,
    *,
    classes: int,
    strength: float = 0.1,
    prior: Head | None = None,
    steps: int | None = None,
) -> Head:
    """The layer that `solve` finds."""
    return solve(
        features, labels, weights, classes=classes, strength=strength, prior=prior, steps=steps
    ).head


def solve(
    features: Floats,
    labels: NDArray[np.integer],
    weights: Floats | None = None,
    *,
    classes: int,
    strength: float = 0.1,
    prior: Head | None = None,
    steps: int | None = None,
) -> Solution:
    """Multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    features : array of shape (N, D)
    labels : integer array of shape (N,)
    weights : array of shape (N,), optional
        Of the cells, with mean 1.
    classes : int
        C, how many there are. One without cells is hardly ever answered.
    strength : float
        The inverse of the penalty, as scikit-learn's C.
    prior : Head, optional
        What the penalty pulls towards; nothing, by default.
    steps : int, optional
        At most; `MOST_STEPS` by default.
    """
    most = steps or MOST_STEPS
    rows = np.asarray(features, np.float32)
    share = np.ones(len(rows)) if weights is None else np.asarray(weights)
    share = (share / share.sum()).astype(np.float32)[:, None]
    truth = share * np.eye(classes, dtype=np.float32)[labels]
    if prior is None:
        prior = Head(np.zeros((rows.shape[1], classes), np.float32), np.zeros(classes, np.float32))
    start = rows @ prior.kernel + prior.bias
    penalty = 1 / (strength * len(rows))

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        change = flat.reshape(-1, classes).astype(np.float32)
        kernel, bias = change[:-1], change[-1]
        logits = start + rows @ kernel + bias
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        error = share * np.exp(logs) - truth
        slope = np.vstack([rows.T @ error + penalty * kernel, error.sum(axis=0)])
        value = -float((truth * logs).sum()) + penalty / 2 * float((kernel**2).sum())
        return value, slope.ravel().astype(np.float64)

    found = minimize(
        loss,
        np.zeros((rows.shape[1] + 1) * classes),
        jac=True,
        method="L-BFGS-B",
        # A tenth of this steepness lowers the loss by another 1 %, in twice the time; ten
        # times of it stops so early that a weak penalty is a strong one.
        options={"maxiter": most, "maxfun": 2 * most, "gtol": 1e-4},
    )
    change = found.x.reshape(-1, classes).astype(np.float32)
    return Solution(Head(prior.kernel + change[:-1], prior.bias + change[-1]), bool(found.success))


def fit_with_replay(
    home: TrainingFeatures,
    site: TrainingFeatures,
    *,
    classes: int,
    strength: float,
    prior: Head | None = None,
) -> Solution:
    """Fit on a site's cells and, so that nothing is forgotten, on home's training again.

    Home and site count alike, however many cells each has; in each every class of every
    data set, and in that every photograph. The prior may have fewer classes.
    """
    train = home.of_side(TRAIN)
    both = train.with_more(site)
    weights = _alike(weights_of(train), weights_of(site))
    return solve(
        both.features,
        both.labels,
        weights,
        classes=classes,
        strength=strength,
        prior=prior and neutral(prior, classes),
    )


def fit_to_site(
    home: TrainingFeatures, site: TrainingFeatures, old: Head, *, classes: int, seed: int
) -> SiteFit:
    """Fit, calibrate and set thresholds for home and a site together.

    What the penalty is chosen by, and confidence and unfamiliarity are calibrated with,
    are home's validation side and the site's cells as answered by the models of a
    cross-validation that had not seen their photographs.

    Parameters
    ----------
    home : TrainingFeatures
        Training and validation side.
    site : TrainingFeatures
        Of two photographs at least.
    old : Head
        The layer before.
    classes : int
        How many there are, those of the old layer first.
    seed : int
        Of the folds.
    """
    held_back = home.of_side(VALIDATION)
    choice = choose(home, site, old, classes=classes, seed=seed)
    head, converged = fit_with_replay(
        home, site, classes=classes, strength=choice.strength, prior=choice.prior
    )
    logits: NDArray[np.float32] = np.concatenate([head.logits(_rows(held_back)), choice.of_site])
    labels = np.concatenate([held_back.labels, site.labels])
    alike = _alike(weights_of(held_back), weights_of(site))
    temperature = fit_temperature(logits, labels, alike)
    probabilities = softmax((logits / temperature).astype(np.float32))
    return SiteFit(
        head=head,
        strength=choice.strength,
        from_old=choice.prior is not None,
        converged=converged and choice.converged,
        temperature=temperature,
        thresholds=confidence_thresholds(probabilities, labels, alike),
        unfamiliarity=_unfamiliarity(home, site, folds_of(site, seed)),
    )


def choose(
    home: TrainingFeatures, site: TrainingFeatures, old: Head, *, classes: int, seed: int
) -> Choice:
    """Choose penalty and prior by the log loss at the site and at home together.

    Parameters are those of `fit_to_site`.
    """
    held_back = home.of_side(VALIDATION)
    folds = folds_of(site, seed)
    weights = weights_of(held_back), weights_of(site)

    def tried(prior: Head | None, strength: float) -> tuple[float, Choice]:
        of_site = np.empty((len(site), classes), np.float32)
        at_home, converged = [], True
        for fold in np.unique(folds):
            head, ended = fit_with_replay(
                home, site.where(folds != fold), classes=classes, strength=strength, prior=prior
            )
            of_site[folds == fold] = head.logits(_rows(site.where(folds == fold)))
            at_home.append(log_loss(head.logits(_rows(held_back)), held_back.labels, weights[0]))
            converged = converged and ended
        loss = log_loss(of_site, site.labels, weights[1]) + float(np.mean(at_home))
        return loss, Choice(strength, prior, of_site, converged)

    every = [tried(prior, strength) for prior in (None, old) for strength in STRENGTHS]
    return min(every, key=lambda pair: pair[0])[1]


def folds_of(site: TrainingFeatures, seed: int) -> NDArray[np.int64]:
    """The fold of each cell; photographs stay whole."""
    groups, strata = site.groups.tolist(), site.labels.astype(str).tolist()
    return np.array(folds_by_group(groups, strata, folds=min(FOLDS, len(set(groups))), seed=seed))


def weights_of(cells: TrainingFeatures) -> NDArray[np.float64]:
    """By which every class of every data set counts alike, and in it every photograph."""
    strata = [f"{one}:{label}" for one, label in zip(cells.datasets, cells.labels, strict=True)]
    return balanced_weights(cells.groups.tolist(), strata)


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


def neutral(head: Head, classes: int) -> Head:
    """A head with more classes, about which it has no opinion: they get the mean of the others."""
    more = classes - len(head.bias)
    kernels = np.repeat(head.kernel.mean(axis=1, keepdims=True), more, axis=1)
    biases = np.repeat(head.bias.mean(), more)
    return Head(np.hstack([head.kernel, kernels]), np.concatenate([head.bias, biases]))


def _alike(first: Floats, second: Floats) -> NDArray[np.float64]:
    """Weights of two sets, each with mean 1, made to count the same; with mean 1."""
    total = len(first) + len(second)
    return np.concatenate([first * total / len(first), second * total / len(second)]) / 2


def _rows(cells: TrainingFeatures) -> NDArray[np.float32]:
    return cells.features.astype(np.float32)
