"""The figures that a model's card carries: the main ones, without curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.ml.evaluation.figures import figures_of
from inference.ml.evaluation.intervals import Floats, Ints, Photographs
from inference.ml.evaluation.scores import calibration_figures


def card_figures(
    probabilities: Floats,
    labels: Ints,
    groups: Sequence[str],
    classes: Sequence[str],
    thresholds: Floats,
    *,
    seed: int,
    resamples: int = 2000,
) -> dict[str, Any]:
    """What `figures.evaluate` gives, and calibration and doubt, each with its interval.

    Parameters
    ----------
    probabilities : array of shape (N, C)
        Calibrated.
    labels : integer array of shape (N,)
    groups : sequence of str
        Source photograph of each crop.
    classes : sequence of str
    thresholds : array of shape (C,)
        Confidence under which an answer of a class is flagged as uncertain.
    seed, resamples : int
        Of the bootstrap over photographs.
    """
    photographs = Photographs(groups, seed=seed, resamples=resamples)
    predicted = probabilities.argmax(axis=1)
    believed = probabilities.max(axis=1) >= thresholds[predicted]
    every, kept = photographs.sums(np.ones(len(labels))), photographs.sums(believed)
    calibration = calibration_figures(probabilities, labels, photographs)
    return {
        **figures_of(probabilities, labels, photographs, classes),
        "calibration_error": calibration["ece"],
        "brier": calibration["brier"],
        "log_loss": calibration["log_loss"],
        "mean_confidence": calibration["mean_confidence"],
        "not_flagged": photographs.share(kept, every),
        "wrong_among_not_flagged": photographs.share(
            photographs.sums(believed & (predicted != labels)), kept
        ),
    }
