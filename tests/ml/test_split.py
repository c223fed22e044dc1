"""No source photograph on two sides, whatever the data."""

from collections import Counter, defaultdict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inference.ml.split import SIDES, folds_by_group, leave_one_dataset_out, split_by_group

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


@given(items=items, folds=st.integers(2, 6), seed=st.integers(0, 1000))
def test_a_group_is_whole_in_one_fold(items: list[tuple[str, str]], folds: int, seed: int) -> None:
    groups, strata = zip(*items, strict=True)
    assume(len(set(groups)) >= folds)
    dealt = folds_by_group(groups, strata, folds=folds, seed=seed)

    folds_of = defaultdict(set)
    for group, fold in zip(groups, dealt, strict=True):
        folds_of[group].add(fold)
    assert all(len(found) == 1 for found in folds_of.values())
    sizes = Counter(found.pop() for found in folds_of.values())
    assert set(sizes) == set(range(folds))
    assert max(sizes.values()) - min(sizes.values()) <= 1


@given(
    sizes=st.dictionaries(st.sampled_from("abcd"), st.integers(2, 60), min_size=1),
    folds=st.integers(2, 8),
    seed=st.integers(0, 1000),
)
def test_every_stratum_is_dealt_evenly(sizes: dict[str, int], folds: int, seed: int) -> None:
    strata = [name for name, count in sizes.items() for _ in range(count)]
    groups = [str(index) for index in range(len(strata))]
    assume(len(groups) >= folds)
    dealt = folds_by_group(groups, strata, folds=folds, seed=seed)

    for name in sizes:
        counts = [
            sum(fold == number for fold, of in zip(dealt, strata, strict=True) if of == name)
            for number in range(folds)
        ]
        assert max(counts) - min(counts) <= 1


@given(items=items, seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
def test_folds_depend_on_the_seed_and_not_on_the_order(
    items: list[tuple[str, str]], seed: int, shuffle: object
) -> None:
    assume(len({group for group, _ in items}) >= 2)
    mixed = list(items)
    shuffle.shuffle(mixed)  # type: ignore[attr-defined]

    def dealt(rows: list[tuple[str, str]]) -> dict[str, int]:
        groups, strata = zip(*rows, strict=True)
        return dict(zip(groups, folds_by_group(groups, strata, folds=2, seed=seed), strict=True))

    assert dealt(items) == dealt(mixed)


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_that_cannot_be_are_refused(folds: int) -> None:
    with pytest.raises(ValueError, match="3 photographs"):
        folds_by_group("xyz", "aaa", folds=folds, seed=0)


def test_each_data_set_is_left_out_with_the_classes_that_both_sides_have() -> None:
    datasets = ["here", "here", "here", "there", "there", "there"]
    labels = ["a", "b", "c", "a", "b", "d"]
    here, there = leave_one_dataset_out(datasets, labels, list("uvwxyz"))

    assert (here.dataset, here.classes) == ("here", ("a", "b"))
    assert (here.train, here.test) == ([3, 4, 5], [0, 1])
    assert (there.train, there.test) == ([0, 1, 2], [3, 4])


def test_a_photograph_in_both_data_sets_is_not_trained_on() -> None:
    here, there = leave_one_dataset_out(
        ["here", "here", "here", "there", "there", "there"], list("ababab"), list("uvwuxy")
    )

    assert here.train == [4, 5]
    assert there.train == [1, 2]


def test_one_data_set_cannot_be_left_out() -> None:
    with pytest.raises(ValueError, match="two or more"):
        leave_one_dataset_out(["here"], ["a"], ["u"])
    with pytest.raises(ValueError, match="fewer than two classes"):
        leave_one_dataset_out(["here", "here", "there"], list("abc"), list("uvw"))
