"""Cut the crops of a training once, into files, so that memory does not grow with the pictures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from inference.ml.augment import WIDER
from inference.ml.data import DataError, Decode, Item, Listing, each_crop
from inference.ml.disk import whole_file
from inference.ml.fit import Part
from inference.ml.preprocess import Preprocessing
from inference.ml.progress import Progress, Report
from inference.ml.sides import Dealt
from inference.ml.split import SIDES, Side


def parameters_of(side: Side, preprocessing: Preprocessing) -> Preprocessing:
    """How the crops of a side are cut: those of training wider, see `inference.ml.augment`."""
    if side != "train":
        return preprocessing
    return replace(
        preprocessing,
        size=round(preprocessing.size * WIDER),
        context=preprocessing.context * WIDER,
    )


def bytes_of(dealt: Dealt, preprocessing: Preprocessing) -> int:
    """What the crops take on the disk, at most."""
    return sum(
        len(dealt.of(side)) * parameters_of(side, preprocessing).size ** 2 * 3 for side in SIDES
    )


def cut_parts(
    dealt: Dealt,
    listing: Listing,
    preprocessing: Preprocessing,
    folder: Path,
    *,
    decode: Decode,
    report: Report,
    check: Callable[[], None],
) -> tuple[dict[Side, Part], list[Item]]:
    """Cut the crops of every side, but those that are there already.

    Parameters
    ----------
    dealt : Dealt
    listing : Listing
        Of the same items.
    preprocessing : Preprocessing
    folder : Path
        Where the crops go; a side has ``<side>.npy`` and, last, ``<side>.json``, which says
        which items they are of.
    decode, report : callable
    check : callable
        Called for every picture; ends the cutting by raising `Cancelled`.

    Returns
    -------
    parts : dict
        The sides, with crops that are read from the disk as they are needed.
    without_cell : list of Item
        Left out, since the finder found nothing in them.

    Raises
    ------
    DataError
        If a picture cannot be read, or no cell is left where there must be one.
    Cancelled
    """
    total, done = len(dealt.items), 0

    def advance(by: int = 1) -> None:
        nonlocal done
        done += by
        report(Progress("cut", done, total))
        check()

    parts: dict[Side, Part] = {}
    without_cell: list[Item] = []
    for side in SIDES:
        items = dealt.of(side)
        told = folder / f"{side}.json"
        if not told.exists():
            parameters = parameters_of(side, preprocessing)
            kept = _cut(items, parameters, folder / f"{side}.npy", decode=decode, advance=advance)
            with whole_file(told) as file:
                file.write(json.dumps(kept).encode())
        else:
            kept = json.loads(told.read_bytes())
            advance(len(items))
        if not kept:
            raise DataError(f"No cell is left for the {side} side. Give more pictures.")
        found = [items[position] for position in kept]
        labels = np.array([listing.classes.index(item.label) for item in found])
        parts[side] = Part(np.load(folder / f"{side}.npy", mmap_mode="r"), labels, found)
        without_cell += [items[at] for at in sorted(set(range(len(items))) - set(kept))]
    _tell(parts, listing, without_cell, lambda line: report(Progress("cut", total, total, line)))
    return parts, without_cell


def _tell(
    parts: dict[Side, Part],
    listing: Listing,
    without_cell: Sequence[Item],
    tell: Callable[[str], None],
) -> None:
    """Refuse a class that cannot be trained, and warn of one that cannot be measured."""
    gone = set(listing.classes) - {item.label for item in parts["train"].items}
    if gone:
        raise DataError(f"The training side has no cell of {', '.join(sorted(gone))}.")
    for side in ("validation", "test"):
        untested = set(listing.classes) - {item.label for item in parts[side].items}
        if untested:
            tell(f"WARNING: the {side} side has no cell of {', '.join(sorted(untested))}.")
    if without_cell:
        told = (
            f"No cell was found in {len(without_cell)} of {len(listing.items)} pictures; they are"
        )
        tell("\n".join([f"{told} left out.", *(f"  {item.shown}" for item in without_cell)]))


def _cut(
    items: Sequence[Item],
    parameters: Preprocessing,
    path: Path,
    *,
    decode: Decode,
    advance: Callable[[], None],
) -> list[int]:
    """Write the crops, one after the other, and give the positions of their items.

    Not through a memory map: on a disk that is full that would kill the process.
    """
    kept: list[int] = []
    with whole_file(path) as file:
        _write_heading(file, 0, parameters.size)
        with closing(each_crop(items, parameters, decode=decode)) as crops:
            for position, crop in enumerate(crops):
                if crop is not None:
                    file.write(crop.tobytes())
                    kept.append(position)
                advance()
        file.seek(0)
        _write_heading(file, len(kept), parameters.size)
    return kept


def _write_heading(file: BinaryIO, crops: int, size: int) -> None:
    """NumPy leaves room in it for the number of rows to grow."""
    shape = (crops, size, size, 3)
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
