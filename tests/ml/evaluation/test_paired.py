"""Two models on the same pictures."""

import json

import numpy as np
import pytest
from scipy.stats import binom

from inference.ml.evaluation.paired import compare

pytestmark = pytest.mark.unit


def one_hot(right: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.eye(2)[np.where(right, labels, 1 - labels)]


def test_photographs_that_only_one_model_gets_right_decide() -> None:
    """Forty photographs of five copies: ours alone is right in nine, theirs alone in two."""
    labels = np.repeat([0, 1] * 20, 5)
    photograph = np.repeat(np.arange(40), 5)
    ours = one_hot(~np.isin(photograph, [0, 1]), labels)
    theirs = one_hot(~np.isin(photograph, range(10, 19)), labels)
    told = compare(ours, theirs, labels, [str(n) for n in photograph], seed=0)

    mcnemar = told["mcnemar"]
    assert (mcnemar["only_ours_right"], mcnemar["only_theirs_right"]) == (9, 2)
    assert (mcnemar["both_right"], mcnemar["neither_right"]) == (29, 0)
    assert mcnemar["p_value"] == pytest.approx(2 * binom.cdf(2, 11, 0.5))
    assert told["accuracy"]["value"] == pytest.approx(7 / 40)
    assert (told["accuracy"]["ours"], told["accuracy"]["theirs"]) == (0.95, 0.775)
    low, high = told["accuracy"]["interval"]
    assert 0 < low < 7 / 40 < high
    whole = told["by_photograph"]["accuracy"]
    assert whole["value"] == pytest.approx(7 / 40)
    assert whole["interval"][0] < whole["value"] < whole["interval"][1]
    assert told["macro_recall"]["value"] == pytest.approx(7 / 40, abs=1e-4)
    json.dumps(told)


def test_equal_models_differ_by_nothing_and_nothing_is_proved() -> None:
    labels = np.array([0, 1] * 10)
    same = one_hot(np.arange(20) > 2, labels)
    told = compare(same, same, labels, [str(n) for n in range(20)], seed=0)

    assert told["mcnemar"]["p_value"] == 1
    assert (told["accuracy"]["value"], told["accuracy"]["interval"]) == (0, [None, None])
    low, high = told["by_photograph"]["accuracy"]["interval"]
    assert low == -high
    assert 0.05 < high < 0.2


def test_the_intervals_hold_what_happens_again_and_again() -> None:
    """Models that are equally good: 0 must be in most intervals."""
    rng = np.random.default_rng(0)
    labels = np.zeros(120, int)
    held = 0
    for seed in range(40):
        ours, theirs = (one_hot(rng.random(120) < 0.8, labels) for _ in range(2))
        told = compare(ours, theirs, labels, [str(n) for n in range(120)], seed=seed, resamples=300)
        low, high = told["accuracy"]["interval"]
        held += low <= 0 <= high
    assert held >= 34
