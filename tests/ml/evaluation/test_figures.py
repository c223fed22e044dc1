"""Figures and intervals against cases that can be worked out by hand."""

import json

import numpy as np
import pytest
from sklearn import metrics

from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.intervals import wilson

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


def test_no_error_seen_is_no_certainty() -> None:
    """Three of 55 photographs, all right: the bootstrap would say 100 % to 100 %."""
    labels = np.array([0] * 52 + [1] * 3)
    figures = evaluate(
        one_hot(labels.tolist()), labels, [str(n) for n in range(55)], ["x", "y"], seed=0
    )

    recall = figures["classes"]["y"]["recall"]
    assert recall["value"] == 1
    assert recall["interval"] == pytest.approx(wilson(3, 3), abs=1e-4)
    assert (recall["by"], recall["photographs"], recall["images"]) == ("wilson", 3, 3)
    assert figures["accuracy"]["interval"] == pytest.approx(wilson(55, 55), abs=1e-4)
    macro = figures["balanced_accuracy"]
    assert (macro["value"], macro["by"]) == (1, "combined")
    assert wilson(3, 3)[0] < macro["interval"][0] < wilson(52, 52)[0]


def test_few_photographs_with_many_copies_are_few() -> None:
    """Five photographs of a hundred copies each are five trials, not five hundred."""
    labels = np.zeros(500, int)
    groups = [str(n // 100) for n in range(500)]
    figures = evaluate(one_hot([0] * 500), labels, groups, ["x", "y"], seed=0)

    assert figures["accuracy"]["interval"] == pytest.approx(wilson(5, 5), abs=1e-4)
    assert figures["accuracy"]["images"] == 500


def test_many_photographs_with_errors_have_the_bootstrap() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 300)
    answers = np.where(rng.random(300) < 0.8, labels, 1 - labels)
    figures = evaluate(
        one_hot(answers.tolist()), labels, [str(n) for n in range(300)], ["x", "y"], seed=0
    )

    assert figures["accuracy"]["by"] == "bootstrap"
    share = figures["accuracy"]["value"]
    assert figures["accuracy"]["interval"] == pytest.approx(wilson(share * 300, 300), abs=0.015)


def test_every_figure_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    labels, answers = rng.integers(0, 4, 400), rng.integers(0, 4, 400)
    names = ["a", "b", "c", "d"]
    figures = evaluate(one_hot(answers.tolist(), 4), labels, ["p", "q"] * 200, names, seed=0)

    expected = metrics.classification_report(
        labels, answers, target_names=names, output_dict=True, zero_division=0
    )
    for name in names:
        assert figures["classes"][name]["images"] == expected[name]["support"]
        for ours, theirs in (("recall", "recall"), ("precision", "precision"), ("f1", "f1-score")):
            value = figures["classes"][name][ours]["value"]
            assert value == pytest.approx(expected[name][theirs], abs=1e-4)
    assert figures["confusion"] == metrics.confusion_matrix(labels, answers).tolist()
    balanced = metrics.balanced_accuracy_score(labels, answers)
    assert figures["balanced_accuracy"]["value"] == pytest.approx(balanced, abs=2e-4)
    macro = expected["macro avg"]
    assert figures["macro_f1"]["value"] == pytest.approx(macro["f1-score"], abs=2e-4)
    assert figures["macro_precision"]["value"] == pytest.approx(macro["precision"], abs=2e-4)


def test_a_photograph_counts_once_by_majority_and_by_mean_probability() -> None:
    """Two weak wrong answers outvote a strong right one, but not its probability."""
    probabilities = np.array([[0.45, 0.55], [0.45, 0.55], [0.95, 0.05], [0.2, 0.8]])
    figures = evaluate(
        probabilities, np.array([0, 0, 0, 1]), ["p", "p", "p", "q"], ["x", "y"], seed=0
    )["by_photograph"]

    assert (figures["right"], figures["photographs"]) == (1, 2)
    assert figures["by_mean_probability"]["right"] == 2
    assert figures["macro_recall"]["value"] == 0.5
    assert figures["classes"]["x"]["interval"] == pytest.approx(wilson(0, 1), abs=1e-4)


def test_a_tie_between_copies_goes_to_the_larger_mean_probability() -> None:
    probabilities = np.array([[0.6, 0.4], [0.1, 0.9]])
    figures = evaluate(probabilities, np.array([1, 1]), ["p", "p"], ["x", "y"], seed=0)

    assert figures["by_photograph"]["right"] == 1


def test_the_precision_of_a_class_that_is_never_answered_is_unknown() -> None:
    figures = evaluate(one_hot([0, 0], 2), np.array([0, 1]), ["p", "q"], ["x", "y"], seed=0)

    precision = figures["classes"]["y"]["precision"]
    assert (precision["value"], precision["interval"]) == (None, [None, None])
    json.dumps(figures, allow_nan=False)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(9, 10, 0.5958, 0.9821), (64, 71, 0.8102, 0.9514), (5, 5, 0.5655, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=2e-4)
