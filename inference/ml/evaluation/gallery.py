"""The worst mistakes, to look at: confidently wrong first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from inference.ml.evaluation.intervals import Floats, Ints


def worst_mistakes(
    probabilities: Floats,
    labels: Ints,
    groups: Sequence[str],
    *,
    at_most: int = 24,
    per_photograph: int = 1,
) -> list[int]:
    """Positions of wrong answers, the most confident first.

    Parameters
    ----------
    probabilities : array of shape (N, C)
    labels : integer array of shape (N,)
    groups : sequence of str
        Source photograph of each picture.
    at_most, per_photograph : int
        Copies of one photograph are mistaken alike; more of them show nothing new.
    """
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    shown: Counter[str] = Counter()
    chosen: list[int] = []
    for at in wrong[np.argsort(-confidence[wrong], kind="stable")].tolist():
        if len(chosen) == at_most:
            break
        if shown[groups[at]] < per_photograph:
            shown[groups[at]] += 1
            chosen.append(at)
    return chosen
