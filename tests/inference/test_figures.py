"""A model's figures in words that promise no more than was measured."""

import pytest

from inference.templatetags.figures import as_percent, with_interval

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
