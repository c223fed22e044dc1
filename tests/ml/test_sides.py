"""Which side a photograph is on, over generations of models: nothing that was seen is a test."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from inference.ml.data import DataError, Item, Listing, make_listing
from inference.ml.finder import Box
from inference.ml.settings import Settings
from inference.ml.sidecar import ManifestRow
from inference.ml.sides import Dealt, deal
from inference.ml.split import SIDES, split_by_group

pytestmark = [pytest.mark.unit, pytest.mark.property]

SETTINGS = Settings(out=Path())
PARTS = Settings(out=Path(), given_parts=True)


def item(
    photograph: object, *, label: str = "a", copy: int = 0, part: str = "", dataset: str = "set"
) -> Item:
    name = f"{photograph}-{copy}"
    return Item(
        Path(name), dataset, label, f"{dataset}:{photograph}", f"{dataset} {name}", part=part
    )


def rows_of(dealt: Dealt) -> list[ManifestRow]:
    """The manifest of a model that was trained with what was dealt."""
    return [
        ManifestRow(side, item.dataset, item.label, item.group, item.sha256)
        for item, side in zip(dealt.items, dealt.sides, strict=True)
    ]


def listing_of(photographs: dict[int, tuple[str, int]], **changes: str) -> Listing:
    """Photographs, each with its class and number of copies, and enough of every class."""
    enough = {1000 + at: ("ab"[at % 2], 1) for at in range(8)}
    return make_listing(
        item(photograph, label=label, copy=copy, **changes)
        for photograph, (label, copies) in {**photographs, **enough}.items()
        for copy in range(copies)
    )


def whole_on_one_side(dealt: Dealt) -> None:
    sides = defaultdict(set)
    for one, side in zip(dealt.items, dealt.sides, strict=True):
        sides[one.group].add(side)
    assert all(len(found) == 1 for found in sides.values())


sets = st.dictionaries(
    st.integers(0, 40), st.tuples(st.sampled_from("ab"), st.integers(1, 3)), max_size=30
)


@given(generations=st.lists(st.tuples(sets, st.integers(0, 99)), min_size=2, max_size=4))
def test_over_generations_what_was_trained_on_is_never_tested_and_tests_stay(
    generations: list[tuple[dict[int, tuple[str, int]], int]],
) -> None:
    """Each model's sides are kept by the next, whatever is added to or left out of the data."""
    seen: set[str] = set()
    tested: set[str] = set()
    manifests: list[list[ManifestRow]] = []
    for photographs, seed in generations:
        try:
            dealt = deal(listing_of(photographs), Settings(out=Path(), seed=seed), manifests)
        except DataError:  # nothing is left to validate with: no model comes of it
            continue
        whole_on_one_side(dealt)
        test = {one.group for one in dealt.of("test")}
        used = {one.group for side in ("train", "validation") for one in dealt.of(side)}
        assert not seen & test
        assert not tested & used
        seen |= used
        tested |= test
        manifests.append(rows_of(dealt))


@given(photographs=sets, locked=st.dictionaries(st.integers(0, 40), st.sampled_from(SIDES)))
def test_only_what_is_free_is_dealt(
    photographs: dict[int, tuple[str, int]], locked: dict[int, str]
) -> None:
    items = listing_of(photographs).items
    fixed = {f"set:{name}": side for name, side in locked.items()}
    groups, strata = [one.group for one in items], [one.stratum for one in items]
    sides = split_by_group(groups, strata, validation=0.2, test=0.2, seed=0, locked=fixed)  # type: ignore[arg-type]
    free = [at for at, group in enumerate(groups) if group not in fixed]
    alone = split_by_group(
        [groups[at] for at in free],
        [strata[at] for at in free],
        validation=0.2,
        test=0.2,
        seed=0,
    )

    assert [sides[at] for at in free] == alone
    assert all(fixed.get(group, side) == side for group, side in zip(groups, sides, strict=True))


@pytest.mark.parametrize(
    ("sides", "expected"),
    [
        (("test", "test"), "test"),
        (("test", "train"), "train"),
        (("train", "test"), "train"),
        (("test", "validation"), "validation"),
        (("validation", "train"), "train"),
        (("test", "used somehow"), "train"),
    ],
)
def test_what_two_models_put_on_different_sides_is_no_test(
    sides: tuple[str, str], expected: str
) -> None:
    listing = listing_of({1: ("a", 2)})
    manifests = [[ManifestRow(side, "set", "a", "set:1", "set 1-0")] for side in sides]
    dealt = deal(listing, SETTINGS, manifests)

    side_of = {one.group: side for one, side in zip(dealt.items, dealt.sides, strict=True)}
    assert side_of["set:1"] == expected
    assert dealt.kept == 1


def test_a_file_is_known_under_another_name_and_so_are_the_other_files_of_its_photograph() -> None:
    listing = make_listing(
        [*listing_of({}).items, item(1, dataset="renamed"), item(1, dataset="renamed", copy=1)]
    )
    manifest = [ManifestRow("train", "old", "a", "old:photo", "renamed 1-0")]
    dealt = deal(listing, SETTINGS, [manifest])

    known = [one for one in dealt.items if one.dataset == "renamed"]
    assert {one.group for one in known} == {"old:photo"}
    assert set(known) <= set(dealt.of("train"))


def test_new_files_of_a_known_photograph_go_where_it_was() -> None:
    """An augmented copy that training never saw, of a photograph that it did."""
    manifest = [
        ManifestRow("train", "set", "a", "set:1", "another file"),
        ManifestRow("test", "set", "a", "set:2", "one more"),
    ]
    dealt = deal(listing_of({1: ("a", 1), 2: ("a", 1)}), SETTINGS, [manifest])
    side_of = {one.group: side for one, side in zip(dealt.items, dealt.sides, strict=True)}

    assert (side_of["set:1"], side_of["set:2"]) == ("train", "test")


@given(photographs=sets, tested=st.sets(st.integers(0, 40)))
def test_given_parts_make_the_test_side(
    photographs: dict[int, tuple[str, int]], tested: set[int]
) -> None:
    assume(tested & set(photographs))
    listing = make_listing(
        item(
            name := int(one.group.removeprefix("set:")),
            label=one.label,
            copy=int(one.path.name.partition("-")[2]),
            part="test" if name in tested else "train",
        )
        for one in listing_of(photographs).items
    )
    dealt = deal(listing, PARTS)

    whole_on_one_side(dealt)
    assert {one.part for one in dealt.of("test")} == {"test"}
    assert {one.part for side in ("train", "validation") for one in dealt.of(side)} == {"train"}


def test_parts_that_share_a_photograph_are_refused_by_example() -> None:
    items = [*listing_of({}).items, item(1, part="train"), item(1, copy=1, part="test")]
    with pytest.raises(DataError, match="1-1 is said to be for testing, and 1-0, of the same"):
        deal(make_listing(items), PARTS)
    with pytest.raises(DataError, match="Use the split by photograph"):
        deal(listing_of({}), PARTS)


def test_what_an_earlier_model_was_trained_on_is_no_test_whatever_is_said() -> None:
    listing = make_listing([*listing_of({}).items, item(1, part="test"), item(2, part="test")])
    manifest = [ManifestRow("train", "set", "a", "set:1", "set 1-0")]
    dealt = deal(listing, PARTS, [manifest])

    assert [one.group for one in dealt.of("test")] == ["set:2"]
    assert (dealt.kept, dealt.not_tested) == (1, 1)


@pytest.mark.parametrize(
    ("items", "word"),
    [
        ([item(at) for at in range(9)], "at least two classes"),
        ([item(at, label=label) for at, label in enumerate("ab")], "a has 1, b has 1"),
        ([item(0, label="a", copy=at) for at in range(5)] + [item(1, label="b")] * 9, "a has 1"),
        ([item(0, label="ab"[at % 2], copy=at) for at in range(9)], "copies of one another"),
        ([*(item(at) for at in range(5)), item(9, label="b"), item(8, label="b")], "b has 2"),
    ],
)
def test_too_little_is_refused_with_what_is_missing(items: list[Item], word: str) -> None:
    with pytest.raises(DataError, match=word):
        deal(make_listing(items), SETTINGS)


def test_a_side_without_a_photograph_is_refused() -> None:
    listing = listing_of({})
    manifest = [
        ManifestRow("train", one.dataset, one.label, one.group, one.sha256) for one in listing.items
    ]
    with pytest.raises(DataError, match="No photograph is left for the validation side"):
        deal(listing, SETTINGS, [manifest])


def test_cells_of_one_field_are_on_one_side_with_their_own_labels() -> None:
    fields = [
        Item(Path(f"{at}"), "set", label, f"set:{at}", f"{at}", Box(place, 0, 9, 9))
        for at in range(12)
        for place, label in enumerate("aab")
    ]
    dealt = deal(make_listing(fields), SETTINGS)

    whole_on_one_side(dealt)
    assert {one.label for one in dealt.of("test")} == {"a", "b"}
    with pytest.raises(DataError, match="two classes, in the same box"):
        make_listing([*fields, Item(Path("again"), "set", "b", "set:0", "0", Box(0, 0, 9, 9))])
