"""The worst mistakes come first, and no photograph fills the gallery."""

import numpy as np
import pytest

from inference.ml.evaluation.gallery import worst_mistakes

pytestmark = pytest.mark.unit

CONFIDENCE = np.array([0.9, 0.99, 0.95, 0.8, 0.97])
PROBABILITIES = np.column_stack([CONFIDENCE, 1 - CONFIDENCE])
LABELS = np.array([1, 1, 1, 1, 0])  # the last is right
GROUPS = ["p", "p", "p", "q", "r"]


def test_confidently_wrong_first_and_one_of_a_photograph() -> None:
    assert worst_mistakes(PROBABILITIES, LABELS, GROUPS) == [1, 3]


def test_more_of_a_photograph_on_demand() -> None:
    assert worst_mistakes(PROBABILITIES, LABELS, GROUPS, per_photograph=2) == [1, 2, 3]
    assert worst_mistakes(PROBABILITIES, LABELS, GROUPS, per_photograph=3, at_most=2) == [1, 2]


def test_no_mistakes() -> None:
    assert worst_mistakes(PROBABILITIES, np.zeros(5, int), GROUPS) == []
