"""What the card says of doubt and calibration."""

import json

import numpy as np
import pytest

from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.summary import card_figures

pytestmark = pytest.mark.unit


def test_the_card_has_an_interval_for_every_figure() -> None:
    confidence = np.array([0.95, 0.9, 0.85, 0.6, 0.55, 0.99])
    probabilities = np.column_stack([confidence, 1 - confidence])
    labels, groups = np.array([0, 0, 1, 1, 0, 0]), list("abcdef")
    told = card_figures(probabilities, labels, groups, "xy", np.array([0.8, 0.5]), seed=1)

    assert told["not_flagged"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    assert told["wrong_among_not_flagged"]["value"] == 0.25
    assert told["wrong_among_not_flagged"]["photographs"] == 4
    for name in ("calibration_error", "brier", "log_loss", "mean_confidence", "not_flagged"):
        low, high = told[name]["interval"]
        assert low <= told[name]["value"] <= high
    plain = evaluate(probabilities, labels, groups, "xy", seed=1)
    assert {name: told[name] for name in plain} == plain
    json.dumps(told)
