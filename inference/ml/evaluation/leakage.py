"""Refuse to measure a model on what it was trained with, under whatever name it comes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache

from inference.ml.data import Item, Listing, regrouped
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


def sides_known(
    items: Sequence[Item], manifest: Sequence[ManifestRow]
) -> dict[str, frozenset[str]]:
    """The sides on which training had pictures of each group of items; those it knew none of lack.

    A photograph is the same if its name and that of its data set are, or if one of its files
    is (see `with_photographs`). Its name alone says nothing: every laboratory may number
    its photographs from 1; those are for `named_alike`.

    Parameters
    ----------
    items : sequence of Item
        From `with_photographs`.
    manifest : sequence of ManifestRow
        Of a model's bundle.
    """
    name_of = _namer(items, manifest)
    by_file: dict[str, set[str]] = defaultdict(set)
    by_photograph: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in manifest:
        by_file[row.sha256].add(row.side)
        by_photograph[row.dataset, name_of(row.group)].add(row.side)
    found: dict[str, set[str]] = defaultdict(set)
    for item in items:
        known = by_file.get(item.sha256, set()) | by_photograph.get(
            (item.dataset, name_of(item.group)), set()
        )
        if known:
            found[item.group] |= known
    return {group: frozenset(sides) for group, sides in found.items()}


def trained_on(items: Sequence[Item], manifest: Sequence[ManifestRow]) -> list[Item]:
    """Items whose photograph was used to train or to choose; parameters as in `sides_known`."""
    sides = sides_known(items, manifest)
    return [item for item in items if sides.get(item.group, frozenset()) - {HELD_BACK}]


def unseen(listing: Listing, manifest: Sequence[ManifestRow]) -> Listing:
    """What of a listing was neither used to train a model nor to choose among models.

    Parameters
    ----------
    listing : Listing
    manifest : sequence of ManifestRow
        Of the model's bundle.
    """
    items = with_photographs(listing.items, manifest)
    used = set(trained_on(items, manifest))
    return Listing([item for item in items if item not in used], listing.groups_unknown)


def named_alike(items: Sequence[Item], manifest: Sequence[ManifestRow]) -> list[Item]:
    """Items whose photograph only has the name of one that was used to train or to choose.

    It may be another laboratory's, or the same photograph in a folder of another name
    with files that were written anew: a person has to tell.
    """
    name_of = _namer(items, manifest)
    names = {name_of(row.group) for row in manifest if row.side != HELD_BACK}
    files = {row.sha256 for row in manifest}
    known = {item.group for item in items if item.sha256 in files}
    return [item for item in items if name_of(item.group) in names and item.group not in known]


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
    examples = ", ".join(item.shown for item in seen[:_EXAMPLES])
    raise LeakageError(
        f"{len(seen)} of the {len(items)} pictures cannot be evaluated: {version} was trained or "
        f"tuned on {same} of these very files and on photographs of the other {len(seen) - same}, "
        f"for example {examples}. Its figures would measure memory. Use --held-back to evaluate "
        "what was held back from training, or give other pictures."
    )


def _namer(items: Sequence[Item], manifest: Sequence[ManifestRow]) -> Callable[[str], str]:
    """From a group to its photograph's name, without the data set, which may hold a colon."""
    datasets = {*(item.dataset for item in items), *(row.dataset for row in manifest)}
    longest_first = sorted(datasets, key=len, reverse=True)

    def name_of(group: str) -> str:
        for dataset in longest_first:
            if group.startswith(f"{dataset}:"):
                return group.removeprefix(f"{dataset}:")
        return group

    return cache(name_of)
