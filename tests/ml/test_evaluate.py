"""Figures and intervals against cases that can be worked out by hand."""

import json

import numpy as np
import pytest

from inference.ml.evaluate import evaluate, wilson

pytestmark = pytest.mark.unit


def one_hot(answers: list[int], classes: int = 2) -> np.ndarray:
    return np.eye(classes)[answers]


def test_figures_by_image_class_and_photograph() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    answers = [0, 0, 0, 1, 1, 0]
    groups = ["p", "p", "p", "p", "q", "r"]
    figures = evaluate(one_hot(answers), labels, groups, ["x", "y"], seed=0)

    assert figures["accuracy"]["value"] == pytest.approx(4 / 6, abs=1e-4)
    assert figures["balanced_accuracy"]["value"] == pytest.approx((0.75 + 0.5) / 2)
    assert figures["by_photograph"]["right"] == 2
    assert figures["by_photograph"]["photographs"] == 3
    assert figures["classes"]["x"]["recall"]["value"] == pytest.approx(0.75)
    assert figures["classes"]["x"]["precision"]["value"] == pytest.approx(0.75)
    assert figures["classes"]["x"]["photographs"] == 1
    assert figures["classes"]["y"]["photographs"] == 2
    assert figures["confusion"] == [[3, 1], [1, 1]]
    json.dumps(figures)


def test_copies_of_a_photograph_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(40) < 0.8
    answers = np.where(right, 0, 1)

    def width(copies: int) -> float:
        figures = evaluate(
            one_hot(np.repeat(answers, copies).tolist()),
            np.zeros(40 * copies, int),
            [str(index) for index in np.repeat(np.arange(40), copies)],
            ["x", "y"],
            seed=0,
        )
        low, high = figures["accuracy"]["interval"]
        assert low <= figures["accuracy"]["value"] <= high
        return float(high - low)

    assert width(10) == pytest.approx(width(1), abs=0.02)
    assert 0.15 < width(1) < 0.35


def test_classes_that_do_not_occur_have_no_figures() -> None:
    figures = evaluate(one_hot([0, 1], 3), np.array([0, 1]), ["p", "q"], ["x", "y", "z"], seed=0)

    assert list(figures["classes"]) == ["x", "y"]
    assert figures["balanced_accuracy"]["value"] == 1


def test_a_class_absent_from_some_resamples_is_no_zero_there() -> None:
    """Three of 55 photographs, all right: a resample without them says nothing of the class."""
    labels = np.array([0] * 52 + [1] * 3)
    figures = evaluate(
        one_hot(labels.tolist()), labels, [str(n) for n in range(55)], ["x", "y"], seed=0
    )

    assert figures["classes"]["y"]["recall"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert figures["balanced_accuracy"] == {"value": 1.0, "interval": [1.0, 1.0]}


def test_the_precision_of_a_class_that_is_never_answered_is_unknown() -> None:
    figures = evaluate(one_hot([0, 0], 2), np.array([0, 1]), ["p", "q"], ["x", "y"], seed=0)

    assert figures["classes"]["y"]["precision"] == {"value": None, "interval": [None, None]}
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(9, 10, 0.5958, 0.9821), (64, 71, 0.8102, 0.9514), (5, 5, 0.5655, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=2e-4)
