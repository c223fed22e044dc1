"""Duplicates: the same files, and pictures of the same cell, turned, flipped or shifted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.look import Looks
from inference.ml.datasets.manifest import Entry

NEAR = 0.955
"""Likeness of the rings from which two pictures are of one cell, whatever else they show."""
PLAUSIBLE = 0.8
"""Likeness from which they are, if the whole pictures are the same, too."""
FEW_BITS = 6
"""Of 63, by which pictures that are the same as a whole may differ."""

MOST_PAIRS = 1_000_000
_BLOCK = 2048
_SHOWN_MEMBERS = 12  # of one group

Integers = NDArray[np.int64]
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Positions of pictures that look the same.

    Attributes
    ----------
    pairs : int array of shape (K, 2)
        First less than second, sorted.
    likeness : float array of shape (K,)
    complete : bool
        False if there are more than were asked for.
    """

    pairs: Integers
    likeness: NDArray[np.float32]
    complete: bool


def near_pairs(looks: Sequence[str], *, most: int = MOST_PAIRS) -> Pairs:
    """Pairs of pictures of one cell; empty looks are like nothing.

    Every look is compared with every other, in blocks that fit the processor's cache: memory
    does not grow with the number of pictures but for the pairs found. How well the limits tell
    copies from others: ``python -m bench.alike ../shared/data`` and ``docs/datasets.md``.

    Parameters
    ----------
    looks : sequence of str
        From `look.look_of`.
    most : int
        Pairs after which the search ends.
    """
    places = np.array([at for at, look in enumerate(looks) if look], np.int64)
    if len(places) < 2:
        return Pairs(np.empty((0, 2), np.int64), np.empty(0, np.float32), True)
    compared = Looks([looks[at] for at in places])
    found: list[Integers] = []
    likeness: list[NDArray[np.float32]] = []
    count = 0
    for top, left in _blocks(len(places)):
        alike = compared.rings[top : top + _BLOCK] @ compared.rings[left : left + _BLOCK].T
        row, column = np.nonzero(alike >= PLAUSIBLE)
        values = alike[row, column]
        row, column = row + top, column + left
        same = (row < column) & ((values >= NEAR) | (compared.apart(row, column) <= FEW_BITS))
        found.append(np.stack([places[row[same]], places[column[same]]], axis=1))
        likeness.append(values[same])
        count += len(found[-1])
        if count > most:
            break
    pairs, values = np.concatenate(found)[:most], np.concatenate(likeness)[:most]
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    return Pairs(pairs[order], values[order], count <= most)


def _blocks(count: int) -> Iterator[tuple[int, int]]:
    """Corners of the blocks on and above the diagonal."""
    starts = range(0, count, _BLOCK)
    return ((top, left) for top in starts for left in starts if left >= top)


@dataclass(frozen=True, slots=True)
class Findings:
    """Duplicates of a dataset. Lists are bounded; the counts are of all.

    Attributes
    ----------
    identical, near : dict
        ``{"groups": int, "files": int, "shown": [[position, ...], ...]}``, largest groups first,
        at most twelve of each shown.
        Near ones are of different files, and leave out pairs whose photographs are known: those
        of one are copies that everybody knows of, and of two see `photographs`.
    two_labels, across : dict
        ``{"identical": int, "near": int, "shown": [{"pair": [a, b], "identical": bool}, ...]}``:
        pairs under two labels, and pairs of train and test, known photograph or not.
    photographs : dict
        ``{"count": int, "shown": [{"pair": [name, name], "pictures": int}, ...]}``: known source
        photographs of which so many pictures look like one of the other.
    copied : list of bool
        For each picture whether it has a near or identical duplicate, known photograph or not.
    complete : bool
        False if there were too many near duplicates to find all.
    sentences : list of dict
        ``{"kind": "bad" | "warn", "text": str}``: what a person should know and do.
    """

    identical: dict[str, Any]
    near: dict[str, Any]
    two_labels: dict[str, Any]
    across: dict[str, Any]
    photographs: dict[str, Any]
    copied: list[bool]
    complete: bool
    sentences: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON, without `copied`."""
        row = asdict(self)
        del row["copied"]
        return row


def findings(
    entries: Sequence[Entry], facts: Sequence[PictureFacts], *, shown: int = 200
) -> Findings:
    """Find the duplicates of a dataset.

    Parameters
    ----------
    entries, facts : sequences of the same length
    shown : int
        Most that each list holds.
    """
    identical = [places for places in _by_content(entries).values() if len(places) > 1]
    # Of files that are the same one stands for all: else a thousand copies were a million pairs.
    # And of a file with several cells one: they lie side by side and share what is around them.
    first = sorted({entry.sha256: at for at, entry in reversed([*enumerate(entries)])}.values())
    near = near_pairs([facts[at].look for at in first])
    pairs = np.array(first, np.int64)[near.pairs] if len(near.pairs) else near.pairs

    copied = np.zeros(len(entries), bool)
    copied[pairs.ravel()] = True
    for places in identical:
        copied[places] = True
    same = [(a, b) for places in identical for a, b in _chained(places, entries)]
    two_labels, across = _Pairs(shown), _Pairs(shown)
    unknown: list[tuple[int, int]] = []
    known: dict[tuple[str, str], set[int]] = defaultdict(set)
    for is_identical, rows in ((True, same), (False, pairs.tolist())):
        for a, b in rows:
            one, other = entries[a], entries[b]
            # A label with a box may be of another cell than the one that looks alike.
            if one.label != other.label and (is_identical or not (one.box or other.box)):
                two_labels.add(a, b, is_identical)
            if {one.part, other.part} == {"train", "test"}:
                across.add(a, b, is_identical)
            if one.group and other.group and one.group != other.group:
                first_name, second_name = sorted((one.group, other.group))
                known[first_name, second_name] |= {a, b}
            elif not is_identical and not one.group == other.group != "":
                unknown.append((a, b))
    groups = _joined(unknown)
    return Findings(
        identical=_groups(identical, shown),
        near=_groups(groups, shown),
        two_labels=two_labels.to_dict(),
        across=across.to_dict(),
        photographs=_photographs(known, shown),
        copied=copied.tolist(),
        complete=near.complete,
        sentences=list(_sentences(identical, groups, known, two_labels, across, near.complete)),
    )


class _Pairs:
    """Counts pairs and keeps the first of them."""

    def __init__(self, shown: int) -> None:
        self.counts = {True: 0, False: 0}
        self._shown = shown
        self._rows: list[dict[str, Any]] = []

    def add(self, a: int, b: int, identical: bool) -> None:
        self.counts[identical] += 1
        if len(self._rows) < self._shown:
            self._rows.append({"pair": [a, b], "identical": identical})

    def to_dict(self) -> dict[str, Any]:
        return {"identical": self.counts[True], "near": self.counts[False], "shown": self._rows}


def _by_content(entries: Sequence[Entry]) -> dict[tuple[str, Box | None], list[int]]:
    """Positions by file, and by cell where a file has several."""
    places: dict[tuple[str, Box | None], list[int]] = defaultdict(list)
    for at, entry in enumerate(entries):
        places[entry.sha256, entry.box].append(at)
    return places


def _chained(places: Sequence[int], entries: Sequence[Entry]) -> Iterator[tuple[int, int]]:
    """Pairs of the same file: one for every two kinds (label and part) that it stands under."""
    first: dict[tuple[str, str], int] = {}
    for at in places:
        first.setdefault((entries[at].label, entries[at].part), at)
    kinds = sorted(first.values())
    yield from ((a, b) for number, a in enumerate(kinds) for b in kinds[number + 1 :])


def _joined(pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Groups of positions that pairs connect."""
    parent: dict[int, int] = {}

    def root(at: int) -> int:
        while (above := parent.setdefault(at, at)) != at:
            parent[at] = parent[above]
            at = above
        return at

    for a, b in pairs:
        one, other = sorted((root(a), root(b)))
        parent[other] = one
    groups: dict[int, list[int]] = defaultdict(list)
    for at in sorted(parent):
        groups[root(at)].append(at)
    return list(groups.values())


def _groups(groups: Sequence[Sequence[int]], shown: int) -> dict[str, Any]:
    largest = sorted(groups, key=lambda group: (-len(group), group[0]))
    return {
        "groups": len(groups),
        "files": sum(map(len, groups)),
        "shown": [list(group[:_SHOWN_MEMBERS]) for group in largest[:shown]],
    }


def _photographs(known: Mapping[tuple[str, str], set[int]], shown: int) -> dict[str, Any]:
    largest = sorted(known.items(), key=lambda row: (-len(row[1]), row[0]))
    rows = [{"pair": list(names), "pictures": len(places)} for names, places in largest[:shown]]
    return {"count": len(known), "shown": rows}


def _sentences(
    identical: Sequence[Sequence[int]],
    near: Sequence[Sequence[int]],
    known: Mapping[tuple[str, str], set[int]],
    two_labels: _Pairs,
    across: _Pairs,
    complete: bool,
) -> Iterator[dict[str, str]]:
    def told(pairs: _Pairs) -> str:
        kinds = {"of the same file": pairs.counts[True], "that look alike": pairs.counts[False]}
        return " and ".join(
            f"{count:,} {'pair' if count == 1 else 'pairs'} {what}"
            for what, count in kinds.items()
            if count
        )

    if any(two_labels.counts.values()):
        text = (
            f"Pictures of one cell stand under two classes: {told(two_labels)}. "
            "Look at them and keep the right class of each."
        )
        yield {"kind": "bad", "text": text}
    if any(across.counts.values()):
        text = (
            f"Pictures of one cell are in train and in test: {told(across)}. "
            "Figures on this test part flatter; give both one source photograph."
        )
        yield {"kind": "bad", "text": text}
    if identical:
        extra = sum(map(len, identical)) - len(identical)
        files = "file is a copy of another" if extra == 1 else "files are copies of others"
        text = f"{extra:,} {files}, byte by byte: nothing new is learnt from copies."
        yield {"kind": "warn", "text": text}
    if near:
        text = (
            f"{sum(map(len, near)):,} pictures look like others of no known common photograph, "
            f"in {len(near):,} {'group' if len(near) == 1 else 'groups'}. If they show the same "
            "cells, name their photographs in a table, so that copies stay on one side of a split."
        )
        yield {"kind": "warn", "text": text}
    if known:
        (one, other), _ = max(known.items(), key=lambda row: len(row[1]))
        text = (
            f"{len(known):,} pairs of source photographs look like one, for example {one} and "
            f"{other}. If they show the same cell, give them one name in the table."
        )
        yield {"kind": "warn", "text": text}
    if not complete:
        text = f"There are over {MOST_PAIRS:,} pairs that look alike; the search ended there."
        yield {"kind": "warn", "text": text}
