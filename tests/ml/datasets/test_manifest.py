"""A version's manifest: one way to write it, and a hash that knows its content only."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.ml.datasets.manifest import Entry, ManifestError, from_bytes, to_bytes

pytestmark = pytest.mark.unit

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
boxes = st.none() | st.tuples(*[st.integers(0, 10_000)] * 4)
entries = st.builds(
    Entry,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    label=words,
    group=words,
    part=st.sampled_from(["train", "test", ""]),
    box=boxes,
    name=words,
)


@pytest.mark.property
@given(rows=st.lists(entries, max_size=5), data=st.data())
def test_the_same_pictures_have_the_same_hash_in_any_order(
    rows: list[Entry], data: st.DataObject
) -> None:
    written = to_bytes(rows)

    assert to_bytes(data.draw(st.permutations(rows))) == written
    assert sorted(map(repr, from_bytes(written))) == sorted(map(repr, rows))


def _hash_of(entries: Iterable[Entry]) -> str:
    return hashlib.sha256(to_bytes(entries)).hexdigest()


def test_whatever_is_changed_changes_the_hash() -> None:
    entry = Entry("0" * 64, "a", "p", "train", (1, 2, 3, 4), "x/a/1.png")
    changed = [
        replace(entry, label="b"),
        replace(entry, group=""),
        replace(entry, part="test"),
        replace(entry, box=None),
        replace(entry, name="y"),
        replace(entry, sha256="1" * 64),
    ]
    assert len({_hash_of([one]) for one in [entry, *changed]}) == 7
    assert _hash_of([entry, entry]) != _hash_of([entry])


@pytest.mark.parametrize("change", [b" ", b"\n", b"{}\n", b"\xff", b"null\n"])
def test_a_manifest_that_was_changed_is_refused(change: bytes) -> None:
    data = to_bytes([Entry("0" * 64, "a", "p", "train", None, "x")])
    with pytest.raises(ManifestError):
        from_bytes(data + change)
    with pytest.raises(ManifestError):
        from_bytes(data.replace(b"train", b"trains"))
