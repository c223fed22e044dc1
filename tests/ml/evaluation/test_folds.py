"""Cross-validation: pooled figures and their spread."""

import json

import numpy as np
import pytest

from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.folds import pooled_figures

pytestmark = pytest.mark.unit


def test_the_folds_are_pooled_and_their_spread_is_told() -> None:
    labels = np.array([0, 1] * 20)
    answers = labels.copy()
    answers[:4] = 1 - answers[:4]  # all errors in the first fold
    probabilities = np.eye(2)[answers]
    groups, folds = [str(n) for n in range(40)], [n // 10 for n in range(40)]
    figures = pooled_figures(probabilities, labels, groups, folds, ["x", "y"], seed=3)

    assert figures["pooled"] == evaluate(probabilities, labels, groups, ["x", "y"], seed=3)
    assert [row["accuracy"] for row in figures["folds"]] == [0.6, 1, 1, 1]
    assert [row["photographs"] for row in figures["folds"]] == [10] * 4
    spread = figures["spread"]["accuracy"]
    assert spread == {"mean": 0.9, "standard_deviation": 0.2, "least": 0.6, "greatest": 1}
    assert set(figures["spread"]) == {
        "accuracy",
        "balanced_accuracy",
        "by_photograph",
        "macro_recall_by_photograph",
    }
    json.dumps(figures)


def test_a_photograph_in_two_folds_is_refused() -> None:
    with pytest.raises(ValueError, match="1 photographs lie in more than one fold"):
        pooled_figures(np.eye(2), np.array([0, 1]), ["p", "p"], [0, 1], ["x", "y"], seed=0)
