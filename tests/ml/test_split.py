"""No source photograph on two sides, whatever the data."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.ml.split import SIDES, split_by_group

pytestmark = [pytest.mark.unit, pytest.mark.property]

shares = st.sampled_from([0.0, 0.1, 0.2, 0.4])
items = st.lists(
    st.tuples(st.integers(0, 30).map(str), st.sampled_from("abc")), min_size=1, max_size=200
)


@given(items=items, validation=shares, test=shares, seed=st.integers(0, 1000))
def test_a_group_is_whole_on_one_side(
    items: list[tuple[str, str]], validation: float, test: float, seed: int
) -> None:
    groups, strata = zip(*items, strict=True)
    sides = split_by_group(groups, strata, validation=validation, test=test, seed=seed)

    sides_of = defaultdict(set)
    for group, side in zip(groups, sides, strict=True):
        sides_of[group].add(side)
    assert all(len(found) == 1 for found in sides_of.values())
    assert "train" in sides


@given(items=items, seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
def test_the_split_depends_on_the_seed_and_not_on_the_order(
    items: list[tuple[str, str]], seed: int, shuffle: object
) -> None:
    mixed = list(items)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]

    def sides(rows: list[tuple[str, str]]) -> dict[str, str]:
        groups, strata = zip(*rows, strict=True)
        found = split_by_group(groups, strata, validation=0.2, test=0.2, seed=seed)
        return dict(zip(groups, found, strict=True))

    assert sides(items) == sides(mixed)


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(3, 60), min_size=1),
    seed=st.integers(0, 1000),
)
def test_every_stratum_keeps_its_shares(sizes: dict[str, int], seed: int) -> None:
    strata = [name for name, count in sizes.items() for _ in range(count)]
    groups = [str(index) for index in range(len(strata))]
    sides = split_by_group(groups, strata, validation=0.15, test=0.2, seed=seed)

    for name, count in sizes.items():
        of_stratum = [side for side, of in zip(sides, strata, strict=True) if of == name]
        assert set(of_stratum) == set(SIDES)
        assert abs(of_stratum.count("test") - 0.2 * count) <= 1
        assert abs(of_stratum.count("validation") - 0.15 * count) <= 1


def test_other_seeds_split_otherwise() -> None:
    groups = [str(index) for index in range(100)]
    splits = {
        tuple(split_by_group(groups, ["a"] * 100, validation=0.2, test=0.2, seed=seed))
        for seed in range(5)
    }

    assert len(splits) == 5


def test_two_groups_stay_in_training() -> None:
    assert split_by_group("xxyy", "aaaa", validation=0.2, test=0.2, seed=0) == ["train"] * 4


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ValueError, match="training"):
        split_by_group(["x"], ["a"], validation=0.5, test=0.5, seed=0)
    with pytest.raises(ValueError, match="stratum"):
        split_by_group(["x", "y"], ["a"], validation=0.1, test=0.1, seed=0)
