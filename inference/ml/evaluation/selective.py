"""Coverage against risk: how many answers are not flagged, and how many of those are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.evaluation.intervals import Floats, Ints, Photographs, rounded

Flags = Mapping[str, NDArray[np.bool_]]

_STEPS = tuple(range(5, 101, 5))
_CURVE_POINTS = 150


def selective_figures(
    probabilities: Floats, labels: Ints, flags: Flags, photographs: Photographs
) -> dict[str, Any]:
    """What is left when flagged answers go to a person, and the whole curve.

    Parameters
    ----------
    probabilities : array of shape (N, C)
    labels : integer array of shape (N,)
    flags : mapping of str to bool array of shape (N,)
        Which answers the engine flagged, e.g. as ``uncertain`` or ``unfamiliar``.
    photographs : Photographs

    Returns
    -------
    dict
        ``flags``: for each flag, and for ``any`` of them, the share of answers that are
        flagged; the error among those that are not (``risk``) and among those that are;
        both shares with photographs weighted alike. ``curve``: coverage and risk if only
        the most confident answers counted; ``steps``: at every 5 % the risk with its
        interval. ``area``: mean risk over all coverages.
    """
    wrong = probabilities.argmax(axis=1) != labels
    named = {**flags, "any": np.any([*flags.values()], axis=0)} if flags else {}
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    coverage = np.arange(1, len(order) + 1) / len(order)
    risk = np.cumsum(wrong[order]) / np.arange(1, len(order) + 1)
    thinned = np.unique(np.linspace(0, len(order) - 1, _CURVE_POINTS).round().astype(int))
    return {
        "flags": {name: _flag_figures(flag, wrong, photographs) for name, flag in named.items()},
        "curve": [[round(float(coverage[at]), 4), round(float(risk[at]), 4)] for at in thinned],
        "steps": [_step(percent, order, confidence, wrong, photographs) for percent in _STEPS],
        "area": rounded(risk.mean()),
    }


def _flag_figures(
    flagged: NDArray[np.bool_], wrong: NDArray[np.bool_], photographs: Photographs
) -> dict[str, Any]:
    every = photographs.sums(np.ones(len(wrong)))
    kept, kept_wrong = photographs.sums(~flagged), photographs.sums(~flagged & wrong)
    flagged_wrong = photographs.sums(flagged & wrong)
    return {
        "coverage": photographs.share(kept, every),
        "risk": photographs.share(kept_wrong, kept),
        "error_among_flagged": photographs.share(flagged_wrong, every - kept),
        "weighted_alike": {  # every photograph counts once, however many copies it has
            "coverage": photographs.share(kept / every, np.ones(len(every)), images=every),
            "risk": photographs.share(kept_wrong / every, kept / every, images=kept),
        },
    }


def _step(
    percent: int,
    order: Ints,
    confidence: Floats,
    wrong: NDArray[np.bool_],
    photographs: Photographs,
) -> dict[str, Any]:
    """At a coverage, or just over it: answers of equal confidence stand or fall together."""
    least = confidence[order[max(0, -(-len(order) * percent // 100) - 1)]]
    believed = confidence >= least
    return {
        "coverage": rounded(believed.mean()),
        "least_confidence": rounded(least),
        "risk": photographs.share(photographs.sums(believed & wrong), photographs.sums(believed)),
    }
