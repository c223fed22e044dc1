"""How unlike anything in training a cell is, told from the network's features.

The classes' probabilities cannot say it: a network is often certain about what it has
never seen. The mean cosine distance to the nearest training features can; for the
comparison with other scores see ``bench/unfamiliar.py`` and ``docs/model/unfamiliar.md``.

References
----------
Sun, Ming, Zhu, Li: Out-of-distribution detection with deep nearest neighbors. ICML 2022.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.bundle import SCORE
from inference.ml.sidecar import TRAIN, VALIDATION, TrainingFeatures

NEIGHBOURS = 5
SHARE = 0.02
"""Of cells of known laboratories that may be flagged."""

_FAR = np.float32(2)  # the largest cosine distance: what has no direction is like nothing


class Neighbours:
    """Features of training, to measure distances to.

    Parameters
    ----------
    references : array of shape (M, D)
    neighbours : int
        How many of the nearest are averaged.
    """

    def __init__(self, references: NDArray[np.floating], neighbours: int = NEIGHBOURS) -> None:
        self._directions = directions(references)
        self._neighbours = min(neighbours, len(references))

    def distances(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Mean cosine distances to the nearest references.

        Parameters
        ----------
        features : array of shape (N, D)

        Returns
        -------
        float32 array of shape (N,)
            From 0, as one in training, to 2.
        """
        found = np.empty(len(features), np.float32)
        # One at a time, for the same reason as in `Head.logits`.
        for index, direction in enumerate(directions(features)):
            if not direction.any():
                found[index] = _FAR
                continue
            nearest = np.partition(self._directions @ direction, -self._neighbours)
            found[index] = 1 - nearest[-self._neighbours :].mean()
        return np.clip(found, 0, _FAR)


def threshold_of(
    distances: NDArray[np.floating], weights: NDArray[np.floating], share: float = SHARE
) -> float:
    """The smallest of the distances over which lies no more than a share of the weight.

    Parameters
    ----------
    distances, weights : arrays of shape (N,)

    Raises
    ------
    ValueError
        If there are none.
    """
    if not len(distances):
        raise ValueError("There are no held-back cells to set the threshold of unfamiliarity by.")
    order = np.argsort(distances, kind="stable")[::-1]
    ranked = np.asarray(distances)[order]
    over = np.cumsum(np.asarray(weights)[order]) / np.sum(weights)
    # Cells at the same distance are flagged together: of each value, what lies over it.
    above = np.array([over[at - 1] if at else 0.0 for at in np.searchsorted(-ranked, -ranked)])
    return float(ranked[above <= share][-1])


def describe(features: TrainingFeatures, weights: NDArray[np.floating]) -> dict[str, Any]:
    """The card's entry: the score, and the threshold that held-back cells of home set.

    Parameters
    ----------
    features : TrainingFeatures
        Distances are measured from its validation side to its training side.
    weights : array of shape (V,)
        Of the cells of the validation side.
    """
    neighbours = Neighbours(features.of_side(TRAIN).features)
    distances = neighbours.distances(features.of_side(VALIDATION).features)
    return entry(threshold_of(distances, weights))


def entry(threshold: float) -> dict[str, Any]:
    """The card's entry for a threshold that is known."""
    return {"score": SCORE, "neighbours": NEIGHBOURS, "threshold": threshold, "share": SHARE}


def directions(features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of length 1; of 0 where a row is 0."""
    rows = np.asarray(features, np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
