"""A model's figures in words that promise no more than was measured."""

import pytest

from inference.templatetags.figures import as_percent, beside, in_points, with_interval

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "interval", "words"),
    [
        (0.8545, [0.7376, 0.9244], "85.5 % (73.8–92.4)"),
        (1.0, [0.5655, 1.0], "100.0 % (56.5–100.0)"),
        (0.25, [None, None], "25.0 %"),
        (None, [None, None], "–"),
    ],
)
def test_a_figure_with_its_interval(
    value: float | None, interval: list[float | None], words: str
) -> None:
    assert with_interval({"value": value, "interval": interval}) == words


def test_a_share_that_is_unknown() -> None:
    assert as_percent(None) == "–"
    assert as_percent(0.034) == "3.4 %"


def test_two_cards_are_told_side_by_side() -> None:
    figure = {"value": 0.5, "interval": [0.25, 1]}
    ours = {"metrics": {"home": {"images": 9, "accuracy": figure, "by_photograph": figure}}}
    files = {"images": 9, "by_photograph": figure | {"photographs": 9}}
    theirs = {"metrics": {"home": files, "broken": 5}}
    ((dataset, rows),) = beside(ours, theirs)
    assert dataset == "home"
    assert rows[:2] == [
        ["Accuracy by picture", "50.0 % (25.0–100.0)", "–"],
        ["Accuracy by photograph", "50.0 % (25.0–100.0)", "–"],  # files are no photographs
    ]
    assert beside({}, {"metrics": []}) == []


def test_a_difference_has_its_sign_and_interval() -> None:
    assert in_points({"value": -0.012, "interval": [-0.05, 0.03]}) == "−1.2 points (−5.0 to +3.0)"
    assert in_points({"value": 0.0, "interval": [None, None]}) == "+0.0 points"
    assert in_points("?") == "–"
