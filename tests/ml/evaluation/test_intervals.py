"""Intervals hold what they measure, whatever the figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.ml.evaluation.intervals import Figure, Photographs, mean_of_shares, wilson

pytestmark = [pytest.mark.unit, pytest.mark.property]

rows = st.lists(st.tuples(st.integers(0, 40).map(str), st.booleans()), min_size=1, max_size=120)


@given(rows=rows, seed=st.integers(0, 100))
def test_a_share_lies_in_its_interval(rows: list[tuple[str, bool]], seed: int) -> None:
    groups, right = zip(*rows, strict=True)
    photographs = Photographs(groups, seed=seed, resamples=200)
    figure = photographs.share(
        photographs.sums(np.array(right)), photographs.sums(np.ones(len(right)))
    )

    low, high = figure["interval"]
    assert 0 <= low <= figure["value"] + 1e-4
    assert figure["value"] - 1e-4 <= high <= 1
    assert high - low > 0.01  # never certain
    assert figure["photographs"] == len(set(groups))
    assert figure["images"] == len(rows)


@given(successes=st.integers(0, 300), failures=st.integers(0, 300), more=st.integers(2, 9))
def test_wilson_narrows_with_evidence(successes: int, failures: int, more: int) -> None:
    trials = successes + failures
    low, high = wilson(successes, trials)
    narrow_low, narrow_high = wilson(more * successes, more * trials)

    assert 0 <= low <= high <= 1
    if trials:
        assert low - 1e-9 <= successes / trials <= high + 1e-9
        assert narrow_high - narrow_low < high - low


@given(
    shares=st.lists(
        st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
        min_size=1,
        max_size=8,
    )
)
def test_a_mean_of_shares_is_as_uncertain_as_its_parts_allow(
    shares: list[tuple[int, int]],
) -> None:
    figures: list[Figure] = [
        {"value": hits / n, "interval": wilson(hits, n), "photographs": n, "images": n}
        for hits, n in shares
    ]
    mean = mean_of_shares(figures)

    widths = [high - low for low, high in (figure["interval"] for figure in figures)]
    low, high = mean["interval"]
    assert low <= mean["value"] + 1e-4
    assert mean["value"] - 1e-4 <= high
    assert high - low <= max(widths) + 1e-3
    assert high - low >= max(widths) / len(shares) / math.sqrt(2) - 1e-3


def test_a_bootstrap_of_four_photographs_says_nothing() -> None:
    photographs = Photographs(list("aabbccdd"), seed=0, resamples=50)
    figure = photographs.measure(
        photographs.sums(np.arange(8.0)[:, None]), lambda sums: sums[..., 0] / 8
    )

    assert figure["value"] == 3.5
    assert (figure["interval"], figure["by"]) == ([None, None], "none")


def test_a_share_of_nothing_does_not_exist() -> None:
    photographs = Photographs(["a"], seed=0, resamples=5)
    figure = photographs.share(np.zeros(1), np.zeros(1))

    assert (figure["value"], figure["interval"]) == (None, [None, None])


def test_no_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="no pictures"):
        Photographs([], seed=0, resamples=5)
