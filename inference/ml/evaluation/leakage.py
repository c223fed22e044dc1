"""Refuse to measure a model on what it was trained with, under whatever name it comes."""

from __future__ import annotations

from collections.abc import Sequence

from inference.ml.data import Item, regrouped
from inference.ml.sidecar import ManifestRow

HELD_BACK = "test"
_EXAMPLES = 3


class LeakageError(Exception):
    """Pictures were trained on, or none was held back; the message says how many and which."""


def with_photographs(items: Sequence[Item], manifest: Sequence[ManifestRow]) -> list[Item]:
    """Items with the source photographs that the training knew, where it knew the file.

    A table of photographs that is forgotten here thus does not turn copies into
    photographs of their own.
    """
    group_of = {row.sha256: row.group for row in manifest}
    pairs = [(item.group, group_of[item.sha256]) for item in items if item.sha256 in group_of]
    return regrouped(items, pairs)


def held_back(items: Sequence[Item], manifest: Sequence[ManifestRow]) -> list[Item]:
    """The items that training put on its test side.

    Raises
    ------
    LeakageError
        If there are none.
    """
    test = {row.sha256 for row in manifest if row.side == HELD_BACK}
    kept = [item for item in items if item.sha256 in test]
    if not kept:
        raise LeakageError(
            f"None of the {len(items)} pictures was held back when this model was trained. "
            "Give the folders that it was trained on, or leave --held-back out."
        )
    return kept


def trained_on(items: Sequence[Item], manifest: Sequence[ManifestRow]) -> list[Item]:
    """Items whose file, or a picture of whose photograph, was used to train or to choose.

    Photographs have the same name in every folder, as in the tables of them.

    Parameters
    ----------
    items : sequence of Item
        From `with_photographs`.
    manifest : sequence of ManifestRow
        Of the model's bundle.
    """
    used = [row for row in manifest if row.side != HELD_BACK]
    files = {row.sha256 for row in used}
    photographs = {_photograph(row.group) for row in used}
    tainted = {item.group for item in items if item.sha256 in files}
    return [
        item for item in items if item.group in tainted or _photograph(item.group) in photographs
    ]


def check_unseen(items: Sequence[Item], manifest: Sequence[ManifestRow], *, version: str) -> None:
    """Make sure that a model was not trained on what it is to be measured with.

    Raises
    ------
    LeakageError
        With the number of pictures and examples.
    """
    seen = trained_on(items, manifest)
    if not seen:
        return
    files = {row.sha256 for row in manifest if row.side != HELD_BACK}
    same = sum(item.sha256 in files for item in seen)
    examples = ", ".join(f"{item.label}/{item.path.name}" for item in seen[:_EXAMPLES])
    raise LeakageError(
        f"{len(seen)} of the {len(items)} pictures cannot be evaluated: {version} was trained or "
        f"tuned on {same} of these very files and on photographs of the other {len(seen) - same}, "
        f"for example {examples}. Its figures would measure memory. Use --held-back to evaluate "
        "what was held back from training, or give other pictures."
    )


def _photograph(group: str) -> str:
    """A group's name without its data set."""
    return group.split(":", 1)[-1]
