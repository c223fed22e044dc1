"""Areas, calibration and losses against scikit-learn and by hand."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from inference.ml.evaluation.intervals import Photographs, wilson
from inference.ml.evaluation.scores import (
    calibration_figures,
    probability_figures,
    weighted_auc,
    weighted_average_precision,
)

pytestmark = pytest.mark.unit


def made_up(seed: int, images: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, images)
    logits = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels]
    powers = np.exp(logits)
    return powers / powers.sum(axis=1, keepdims=True), labels


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """By its definition, bin by bin."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    total = 0.0
    for low in np.arange(15) / 15:
        here = (confidence >= low) & (confidence < low + 1 / 15)
        if here.any():
            total += here.sum() * abs(confidence[here].mean() - right[here].mean())
    return total / len(labels)


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 3)), min_size=2, max_size=60
    )
)
def test_weighted_areas_are_those_of_scikit_learn(rows: list[tuple[int, bool, int]]) -> None:
    scores, positive, weights = (np.array(column) for column in zip(*rows, strict=True))
    sides = weights[positive].sum(), weights[~positive].sum()
    auc = weighted_auc(scores, positive, weights[None])[0]
    precision = weighted_average_precision(scores, positive, weights[None])[0]

    if min(sides) > 0:
        expected = metrics.roc_auc_score(positive, scores, sample_weight=weights)
        assert auc == pytest.approx(expected, abs=1e-6)
    else:
        assert np.isnan(auc)
    if sides[0] > 0:
        expected = metrics.average_precision_score(positive, scores, sample_weight=weights)
        assert precision == pytest.approx(expected, abs=1e-6)


def test_losses_and_areas_are_those_of_scikit_learn() -> None:
    probabilities, labels = made_up(0, 400)
    photographs = Photographs([str(n // 2) for n in range(400)], seed=0, resamples=300)
    figures = probability_figures(probabilities, labels, photographs, ["a", "b", "c"])

    log_loss = metrics.log_loss(labels, probabilities)
    assert figures["log_loss"]["value"] == pytest.approx(log_loss, abs=1e-4)
    brier = ((probabilities - np.eye(3)[labels]) ** 2).sum(axis=1).mean()
    assert figures["brier"]["value"] == pytest.approx(brier, abs=1e-4)
    ece = expected_calibration_error(probabilities, labels)
    assert figures["ece"]["value"] == pytest.approx(ece, abs=1e-4)
    for name in ("log_loss", "brier", "ece", "mean_confidence"):
        low, high = figures[name]["interval"]
        assert low <= figures[name]["value"] <= high
        assert figures[name]["photographs"] == 200
    for index, name in enumerate("abc"):
        curves = figures["curves"][name]
        expected = metrics.roc_auc_score(labels == index, probabilities[:, index])
        assert curves["auc"]["value"] == pytest.approx(expected, abs=1e-4)
        low, high = curves["auc"]["interval"]
        assert low < expected < high
        assert curves["auc"]["by"] == "bootstrap"
        assert curves["roc"][0] == [0, 0]
        assert curves["roc"][-1] == [1, 1]
        assert len(curves["precision_recall"]) < 200
    json.dumps(figures)


def test_the_reliability_table_holds_every_picture_once() -> None:
    probabilities, labels = made_up(1, 200)
    photographs = Photographs([str(n) for n in range(200)], seed=0, resamples=50)
    rows = probability_figures(probabilities, labels, photographs, "abc")["reliability"]

    assert sum(row["accuracy"]["images"] for row in rows) == 200
    for row in rows:
        assert row["from"] - 1e-4 <= row["mean_confidence"] <= row["to"] + 1e-4


def test_a_perfect_separation_of_few_is_no_certainty() -> None:
    """Three photographs of a class, all above the others."""
    labels = np.array([0] * 60 + [1] * 3)
    probabilities = np.eye(2)[labels] * 0.8 + 0.1
    photographs = Photographs([str(n) for n in range(63)], seed=0, resamples=100)
    auc = probability_figures(probabilities, labels, photographs, "ab")["curves"]["b"]["auc"]

    assert auc["value"] == 1
    assert auc["interval"] == pytest.approx(wilson(3, 3), abs=1e-4)
    assert (auc["by"], auc["photographs"]) == ("wilson", 3)


def test_a_good_calibration_is_not_called_bad() -> None:
    """Answers drawn from their own probabilities: 0 must be possible."""
    rng = np.random.default_rng(4)
    confidence = rng.uniform(0.5, 1, 1000)
    labels = (rng.random(1000) > confidence).astype(int)
    photographs = Photographs([str(n) for n in range(1000)], seed=0, resamples=300)
    ece = probability_figures(
        np.column_stack([confidence, 1 - confidence]), labels, photographs, "ab"
    )["ece"]

    assert ece["interval"][0] < 0.01
    assert ece["value"] < ece["interval"][1] + 1e-9


@pytest.mark.parametrize("overconfident", [0.0, 0.04, 0.15])
def test_the_interval_of_the_calibration_error_does_not_flatter(overconfident: float) -> None:
    """The true error is known: the upper end lies under it hardly ever."""
    rng = np.random.default_rng(5)
    below = []
    for _ in range(60):
        confidence = rng.uniform(0.6, 1, 300)
        labels = (rng.random(300) > confidence - overconfident).astype(int)
        photographs = Photographs([str(n) for n in range(300)], seed=0, resamples=200)
        figure = calibration_figures(
            np.column_stack([confidence, 1 - confidence]), labels, photographs
        )["ece"]
        assert figure["by"] == "wider bootstrap"
        below.append(figure["interval"][1] < overconfident)

    assert np.mean(below) <= 0.04


def test_a_set_of_one_class_has_no_curves() -> None:
    photographs = Photographs(list("abcdef"), seed=0, resamples=20)
    figures = probability_figures(np.eye(2)[[0] * 6], np.zeros(6, int), photographs, "xy")

    assert figures["curves"] == {}
    assert figures["log_loss"]["value"] == 0
