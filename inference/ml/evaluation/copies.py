"""Pictures that look like one of training under another name: turned, re-encoded, brightened.

Names and bytes do not show them; the features of the network do, mostly. See
``docs/model/evaluation.md`` for how many of which kind are found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.ml.sidecar import TRAIN, VALIDATION, TrainingFeatures
from inference.ml.unfamiliar import directions
from inference.ml.views import view

VIEWS = 8
_SHARE = 0.5
_TWINS = 0.02  # of validation crops that may be copies themselves, unknown to anybody
_LEAST_CROPS = 10
_BLOCK = 256


class Lookalikes:
    """The crops that a model was trained and validated with, to look for copies of.

    Parameters
    ----------
    training : TrainingFeatures
        Of M crops.
    classes : int
        How many the model knows.
    """

    def __init__(self, training: TrainingFeatures, classes: int) -> None:
        self._training = training
        self._references = directions(training.features)
        self._thresholds = self._small_distances(classes) * _SHARE

    @property
    def blind(self) -> list[int]:
        """Classes of whose crops nothing is called a copy: too few were held back to compare."""
        return np.flatnonzero(self._thresholds == 0).tolist()

    def nearest(self, features: NDArray[np.floating]) -> tuple[float, int]:
        """Cosine distance to the most similar crop, of any of some views (V, D) of one crop."""
        alike = directions(features) @ self._references.T
        place = int(alike.max(axis=0).argmax())
        return 1 - float(alike[:, place].max()), place

    def is_copy(self, distance: float, place: int) -> bool:
        """Whether a crop is nearer to one of training than two photographs of its class are.

        That is, under half the distance that 98 % of the class's validation crops keep from
        every training crop: a threshold for each class, since platelets are all alike. Not
        the smallest distance: one twin that nobody knows of would end the search.
        """
        return distance < float(self._thresholds[self._training.labels[place]])

    def photograph(self, place: int) -> str:
        return str(self._training.groups[place])

    def _small_distances(self, classes: int) -> NDArray[np.float64]:
        """From validation to training, by class; 0, under which nothing is, for a rare class."""
        trained = self._references[self._training.sides == TRAIN]
        validation = self._references[self._training.sides == VALIDATION]
        labels = self._training.labels[self._training.sides == VALIDATION]
        distances = np.empty(len(validation))
        for start in range(0, len(validation), _BLOCK):
            alike = validation[start : start + _BLOCK] @ trained.T
            distances[start : start + _BLOCK] = 1 - alike.max(axis=1)
        found = np.zeros(classes)
        for index in range(classes):
            of_class = distances[labels == index]
            if len(of_class) >= _LEAST_CROPS:
                # At least the second: a twin is the nearest.
                found[index] = np.quantile(of_class, _TWINS, method="higher")
        return found


def turned(crop: NDArray[np.uint8], *, averaged: int) -> NDArray[np.uint8]:
    """A crop (S, S, 3) in every view in which the network does not see it anyway: (V, S, S, 3).

    A network that averages over views answers alike to each of them.
    """
    return np.stack([view(crop, index) for index in range(0, VIEWS, averaged)])
