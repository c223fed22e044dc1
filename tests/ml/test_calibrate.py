"""Temperature and thresholds, and what they do to calibration, on answers whose truth is known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.ml.calibrate import (
    balanced_weights,
    confidence_thresholds,
    fit_temperature,
    log_loss,
)
from inference.ml.engine import softmax
from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.scores import calibration_figures

pytestmark = pytest.mark.unit


def drawn(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits, and labels drawn from exactly the probabilities that they stand for."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, 4)).astype(np.float32)
    cumulative = softmax(logits).cumsum(axis=1)
    labels = (rng.random((count, 1)) > cumulative).sum(axis=1).clip(0, 3)
    return logits, labels


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_overconfidence(factor: float) -> None:
    logits, labels = drawn(20000)
    temperature = fit_temperature(logits * factor, labels, np.ones(len(labels)))

    assert temperature == pytest.approx(factor, rel=0.05)


def test_the_temperature_lowers_loss_and_calibration_error() -> None:
    logits, labels = drawn(5000)
    sharp, weights = logits * 3, np.ones(len(labels))
    temperature = fit_temperature(sharp, labels, weights)

    assert log_loss(sharp / temperature, labels, weights) < log_loss(sharp, labels, weights)
    assert calibration_error(softmax(sharp / temperature), labels) < 0.03
    assert calibration_error(softmax(sharp), labels) > 0.08


def calibration_error(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    photographs = Photographs([str(n) for n in range(len(labels))], seed=0, resamples=2)
    return float(calibration_figures(probabilities, labels, photographs)["ece"]["value"])


def test_log_loss_is_the_mean_of_minus_log_probability() -> None:
    logits = np.log(np.array([[0.5, 0.5], [0.9, 0.1]]))

    assert log_loss(logits, np.array([0, 1]), np.array([3.0, 1.0])) == pytest.approx(
        -(3 * np.log(0.5) + np.log(0.1)) / 4
    )


def test_thresholds_hold_the_error_down_on_new_cells() -> None:
    logits, labels = drawn(20000)
    thresholds = confidence_thresholds(softmax(logits), labels, np.ones(len(labels)))
    new_logits, new_labels = drawn(20000, seed=1)
    rows = softmax(new_logits)
    believed = rows.max(axis=1) >= thresholds[rows.argmax(axis=1)]
    wrong = rows.argmax(axis=1)[believed] != new_labels[believed]

    assert believed.mean() > 0.1
    assert wrong.mean() < 0.025


def test_a_class_that_is_always_right_gets_the_lowest_threshold_and_a_bad_one_the_highest() -> None:
    rows = np.array([[0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.2, 0.8]])
    thresholds = confidence_thresholds(rows, np.array([0, 0, 0, 0]), np.ones(4))

    assert thresholds[0] == pytest.approx(0.6)
    assert thresholds[1] == 1


@given(
    st.lists(st.tuples(st.integers(0, 9).map(str), st.sampled_from("ab")), min_size=1, max_size=60)
)
def test_weights_count_strata_alike_and_groups_alike_within(rows: list[tuple[str, str]]) -> None:
    groups, strata = zip(*rows, strict=True)
    weights = balanced_weights(groups, strata)
    total = dict.fromkeys(rows, 0.0)
    for key, weight in zip(rows, weights, strict=True):
        total[key] += weight
    sums = {
        stratum: [value for key, value in total.items() if key[1] == stratum]
        for stratum in set(strata)
    }

    assert weights.mean() == pytest.approx(1)
    assert np.ptp([sum(values) for values in sums.values()]) == pytest.approx(0, abs=1e-9)
    assert all(np.ptp(values) == pytest.approx(0, abs=1e-9) for values in sums.values())
