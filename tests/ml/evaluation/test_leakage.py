"""What was trained on is refused, whatever its name; what was held back is let through."""

from pathlib import Path

import pytest

from inference.ml.data import Item
from inference.ml.evaluation.leakage import (
    LeakageError,
    check_unseen,
    held_back,
    named_alike,
    trained_on,
    with_photographs,
)
from inference.ml.sidecar import ManifestRow

pytestmark = pytest.mark.unit


def item(
    name: str, *, sha: str, group: str, label: str = "monocyte", dataset: str = "new/set"
) -> Item:
    return Item(Path("somewhere") / label / name, dataset, label, group, sha)


MANIFEST = [
    ManifestRow("train", "old/set", "monocyte", "old/set:photo1", "a" * 64),
    ManifestRow("train", "old/set", "monocyte", "old/set:photo1", "b" * 64),
    ManifestRow("validation", "old/set", "monocyte", "old/set:photo2", "c" * 64),
    ManifestRow("test", "old/set", "monocyte", "old/set:photo3", "d" * 64),
    ManifestRow("test", "old/set", "monocyte", "old/set:photo3", "e" * 64),
]


def test_a_file_that_was_trained_on_is_refused_under_another_name() -> None:
    items = [
        item("renamed.jpg", sha="a" * 64, group="new/set:aaaa"),
        item("new.jpg", sha="f" * 64, group="new/set:ffff"),
    ]
    with pytest.raises(LeakageError) as refusal:
        check_unseen(items, MANIFEST, version="model-1")

    said = str(refusal.value)
    assert said.startswith("1 of the 2 pictures cannot be evaluated: model-1 was trained")
    assert "monocyte/renamed.jpg" in said
    assert "--held-back" in said


@pytest.mark.parametrize("photograph", ["photo1", "photo2"])
def test_another_picture_of_a_photograph_of_training_or_validation_is_refused(
    photograph: str,
) -> None:
    items = [item("copy.jpg", sha="f" * 64, group=f"old/set:{photograph}", dataset="old/set")]

    assert trained_on(items, MANIFEST) == items
    with pytest.raises(LeakageError, match="0 of these very files and on photographs"):
        check_unseen(items, MANIFEST, version="model-1")


def test_a_table_that_joins_a_file_to_one_of_training_taints_it() -> None:
    items = [
        item("seen.jpg", sha="a" * 64, group="new/set:mine"),
        item("sibling.jpg", sha="f" * 64, group="new/set:mine"),
        item("other.jpg", sha="9" * 64, group="new/set:theirs"),
    ]

    assert trained_on(with_photographs(items, MANIFEST), MANIFEST) == [
        *with_photographs(items, MANIFEST)[:2]
    ]


def test_what_was_held_back_is_let_through() -> None:
    items = [
        item("test.jpg", sha="d" * 64, group="new/set:dddd"),
        item("seen.jpg", sha="a" * 64, group="new/set:aaaa"),
    ]
    kept = held_back(items, MANIFEST)

    assert [one.path.name for one in kept] == ["test.jpg"]
    check_unseen(kept, MANIFEST, version="model-1")


def test_nothing_held_back_is_said() -> None:
    with pytest.raises(LeakageError, match="None of the 1 pictures was held back"):
        held_back([item("new.jpg", sha="f" * 64, group="new/set:x")], MANIFEST)


def test_copies_stay_one_photograph_without_a_table() -> None:
    """Two files that training knew as one photograph are no two photographs here."""
    items = [
        item("one.jpg", sha="d" * 64, group="new/set:dddd"),
        item("two.jpg", sha="e" * 64, group="new/set:eeee"),
        item("new.jpg", sha="f" * 64, group="new/set:ffff"),
    ]
    groups = [one.group for one in with_photographs(items, MANIFEST)]

    assert groups[0] == groups[1] != groups[2]


def test_another_laboratory_may_number_its_photographs_alike() -> None:
    """The name alone refuses nothing, but is told."""
    items = [
        item("mine.jpg", sha="f" * 64, group="new/set:photo1"),
        item("other.jpg", sha="9" * 64, group="new/set:photo9"),
    ]

    check_unseen(items, MANIFEST, version="model-1")
    assert named_alike(items, MANIFEST) == items[:1]


def test_names_with_colons_stay_whole() -> None:
    manifest = [ManifestRow("train", "a:b/set", "monocyte", "a:b/set:slide:1", "a" * 64)]
    same = item("x.jpg", sha="f" * 64, group="a:b/set:slide:1", dataset="a:b/set")
    another = item("y.jpg", sha="9" * 64, group="new/set:other:1")
    alike = item("z.jpg", sha="8" * 64, group="new/set:slide:1")

    assert trained_on([same, another, alike], manifest) == [same]
    assert named_alike([another, alike], manifest) == [alike]
