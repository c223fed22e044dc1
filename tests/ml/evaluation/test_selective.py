"""Coverage and risk, worked out by hand."""

import json

import numpy as np
import pytest

from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.selective import selective_figures

pytestmark = pytest.mark.unit


def answers(confidences: list[float]) -> np.ndarray:
    return np.column_stack([confidences, 1 - np.array(confidences)])


def test_flags_leave_fewer_answers_and_fewer_errors() -> None:
    probabilities = answers([0.99, 0.95, 0.9, 0.8, 0.7, 0.6])
    labels = np.array([0, 0, 0, 1, 0, 1])
    flags = {
        "uncertain": np.array([False, False, False, False, True, True]),
        "unfamiliar": np.array([False, False, False, True, False, False]),
    }
    photographs = Photographs(list("aabcde"), seed=0, resamples=50)
    figures = selective_figures(probabilities, labels, flags, photographs)

    uncertain = figures["flags"]["uncertain"]
    assert uncertain["coverage"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    assert uncertain["risk"]["value"] == 0.25
    assert (uncertain["risk"]["photographs"], uncertain["risk"]["images"]) == (3, 4)
    assert uncertain["error_among_flagged"]["value"] == 0.5
    assert uncertain["weighted_alike"]["coverage"]["value"] == 0.6
    assert uncertain["weighted_alike"]["risk"]["value"] == pytest.approx(1 / 3, abs=1e-4)
    both = figures["flags"]["any"]
    assert (both["coverage"]["value"], both["risk"]["value"]) == (0.5, 0)
    assert both["risk"]["interval"][1] > 0.5  # two photographs without error prove little
    json.dumps(figures)


def test_the_curve_ends_at_the_error_of_all_answers() -> None:
    probabilities = answers([0.99, 0.95, 0.9, 0.8])
    photographs = Photographs(list("abcd"), seed=0, resamples=50)
    figures = selective_figures(probabilities, np.array([0, 0, 1, 0]), {}, photographs)

    assert figures["curve"] == [[0.25, 0], [0.5, 0], [0.75, 0.3333], [1, 0.25]]
    assert figures["area"] == pytest.approx((0 + 0 + 1 / 3 + 1 / 4) / 4, abs=1e-4)
    assert figures["steps"][-1]["coverage"] == 1
    assert figures["steps"][-1]["risk"]["value"] == 0.25
    half = next(step for step in figures["steps"] if step["coverage"] == 0.5)
    assert (half["least_confidence"], half["risk"]["value"]) == (0.95, 0)
    assert figures["flags"] == {}


def test_answers_of_equal_confidence_stand_together() -> None:
    photographs = Photographs([str(n) for n in range(10)], seed=0, resamples=20)
    figures = selective_figures(answers([0.9] * 10), np.zeros(10, int), {}, photographs)

    assert all(step["coverage"] == 1 for step in figures["steps"])
