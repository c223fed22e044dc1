"""Read labelled pictures from folders of classes and cut their main cells out."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from inference.ml.engine import BORDER, NO_CELL, UNCERTAIN, UNFAMILIAR
from inference.ml.finder import SMALLEST_CELL, SMALLEST_PLATELET, Box, find_cells
from inference.ml.preprocess import Preprocessing, crop_cell, prepare

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})
PLATELET = "platelet"
RESERVED = frozenset({UNCERTAIN, UNFAMILIAR, BORDER, NO_CELL})
"""Flags, which no class may be called: a count of unfamiliar cells would be two things."""

Decode = Callable[[bytes], NDArray[np.uint8]]
"""From a file's bytes to RGB, uint8 (H, W, 3). Training is handed the one that serving uses, since
orientation, transparency and what is refused belong to the preprocessing as much as the crop."""


class DataError(Exception):
    """Training data cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Item:
    """A labelled cell: the main cell of a picture, or one of several with a box of its own.

    Attributes
    ----------
    path : Path
    dataset : str
        The last two parts of its folder's path, e.g. ``bccd/TRAIN``.
    label : str
        Its class, in lower case.
    group : str
        The source photograph, unique over all data sets.
    sha256 : str
        Of the file. Items of one file are of one photograph.
    box : Box or None
        Where the cell lies; None for the main cell, as the finder sees it.
    part : str
        Where the one who gave it had put it: ``train``, ``test`` or nowhere.
    """

    path: Path
    dataset: str
    label: str
    group: str
    sha256: str
    box: Box | None = None
    part: str = ""

    @property
    def key(self) -> tuple[str, Box | None]:
        """What is classified, whatever it is called."""
        return self.sha256, self.box

    @property
    def stratum(self) -> str:
        return f"{self.dataset}:{self.label}"


@dataclass(frozen=True, slots=True)
class Listing:
    """All items, and the data sets whose source photographs nobody has told."""

    items: list[Item]
    groups_unknown: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({item.label for item in self.items}))

    def fingerprint(self) -> str:
        """SHA-256 over every file's class and content, whatever the order."""
        lines = sorted(f"{item.label} {item.sha256}" for item in self.items)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def list_items(folders: Sequence[Path], group_tables: Sequence[Path] = ()) -> Listing:
    """List the pictures of folders that have one sub-folder for each class.

    Parameters
    ----------
    folders : sequence of Path
    group_tables : sequence of Path
        CSV files whose first column is a file, written from any folder above it, and
        whose second is its source photograph. Pictures of a data set that no table
        names are groups of their own (identical files together). A name stands for one
        photograph in all that a table names, and for another in another table, as
        laboratories may number alike: one table for each laboratory.

    Raises
    ------
    DataError
        If a folder has no pictures or a class is called like a flag, a table is
        unreadable or names only a part of a data set (the rest would leak), or one file
        is in two classes.
    """
    tables = [_read_groups(path) for path in group_tables]
    items: list[Item] = []
    named: list[tuple[int, str] | None] = []
    unknown: list[str] = []
    for folder in folders:
        dataset = "/".join(folder.resolve().parts[-2:])
        files = _class_files(folder)
        photographs = [_photograph(path, tables) for path in files]
        missing = sum(photograph is None for photograph in photographs)
        if 0 < missing < len(files):
            example = files[photographs.index(None)]
            raise DataError(
                f"The group tables name {len(files) - missing} of the {len(files)} pictures "
                f"of {folder}, but not {missing}, for example {example}. Complete them."
            )
        if missing:
            unknown.append(dataset)
        named += photographs
        with ThreadPoolExecutor() as pool:
            hashes = list(pool.map(_sha256, files))
        items += [
            Item(
                path,
                dataset,
                path.parent.name.lower(),
                f"{dataset}:{photograph[1] if photograph else sha[:12]}",
                sha,
            )
            for path, photograph, sha in zip(files, photographs, hashes, strict=True)
        ]
    return Listing(_with_groups_merged(items, named), tuple(unknown))


def _with_groups_merged(
    items: list[Item], photographs: Sequence[tuple[int, str] | None]
) -> list[Item]:
    """Put into one group what shares its bytes or its photograph, in whatever folder it lies."""
    first: dict[str | tuple[int, str], Item] = {}
    pairs = []
    for item, photograph in zip(items, photographs, strict=True):
        same = first.setdefault(item.sha256, item)
        if same.label != item.label:
            raise DataError(
                f"{same.path} and {item.path} are the same file in two classes. Remove one."
            )
        keys: list[str | tuple[int, str]] = [item.sha256, *([photograph] if photograph else [])]
        pairs += [(first.setdefault(key, item).group, item.group) for key in keys]
    return regrouped(items, pairs)


def regrouped(items: Sequence[Item], pairs: Iterable[tuple[str, str]]) -> list[Item]:
    """Items whose groups are joined where a pair says that two groups are one.

    Of the names that are joined the first in alphabetical order is kept.
    """
    parent: dict[str, str] = {}

    def root(group: str) -> str:
        while (above := parent.get(group, group)) != group:
            group = above
        return group

    for pair in pairs:
        one, other = sorted(map(root, pair))
        if one != other:
            parent[other] = one
    return [replace(item, group=root(item.group)) for item in items]


def main_cell_crop(
    image: NDArray[np.uint8], label: str, parameters: Preprocessing
) -> NDArray[np.uint8] | None:
    """The crop of a picture's main cell, uint8 (S, S, 3), or None if none is found.

    A picture that is labelled as a platelet is searched for smaller things, too.
    """
    box = main_cell_box(image, label)
    return None if box is None else crop_cell(prepare(image, parameters), box, parameters)


def main_cell_box(image: NDArray[np.uint8], label: str) -> Box | None:
    """Where a picture's main cell lies, or None if none is found; see `main_cell_crop`."""
    smallest = SMALLEST_PLATELET if label == PLATELET else SMALLEST_CELL
    cells = find_cells(image, smallest=smallest)
    return cells[0].box if cells else None


def cut_crops(
    items: Sequence[Item],
    parameters: Preprocessing,
    *,
    decode: Decode,
    advance: Callable[[], None] = lambda: None,
    workers: int = 2,
) -> tuple[NDArray[np.uint8], list[int]]:
    """Cut the main cell out of each picture.

    Parameters
    ----------
    items : sequence of Item
    parameters : Preprocessing
    decode : callable
        Raises ValueError for what it refuses.
    advance : callable
        Called once for each picture.

    Returns
    -------
    crops : uint8 array of shape (M, S, S, 3)
    kept : list of int
        For each crop the position of its item. Pictures without a cell are left out.

    Raises
    ------
    DataError
        If a picture cannot be read.
    """

    def cut(item: Item) -> NDArray[np.uint8] | None:
        try:
            return main_cell_crop(decode(item.path.read_bytes()), item.label, parameters)
        except (OSError, ValueError) as error:
            raise DataError(f"{item.path} cannot be used: {error} Remove or mend it.") from error

    crops = np.empty((len(items), parameters.size, parameters.size, 3), np.uint8)
    kept: list[int] = []
    with ThreadPoolExecutor(workers) as pool:
        for position, crop in enumerate(pool.map(cut, items)):
            if crop is not None:
                crops[len(kept)] = crop
                kept.append(position)
            advance()
    return crops[: len(kept)], kept


def _class_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    files = sorted(
        path
        for path in folder.glob("*/*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not path.parent.name.startswith((".", "__"))  # what editors and archivers leave
    )
    if not files:
        raise DataError(f"{folder} has no sub-folders with pictures, one for each class.")
    reserved = {path.parent for path in files if path.parent.name.lower() in RESERVED}
    if reserved:
        raise DataError(
            f"{min(reserved)} is called like a mark that cells get, which no class may be. "
            "Rename the folder, or move it elsewhere if its cells are of no class."
        )
    return files


def _read_groups(path: Path) -> dict[tuple[str, ...], str]:
    """From the last parts of a file's path, as the table writes it, to its photograph."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        return {PurePosixPath(row[0]).parts: row[1] for row in rows if row}
    except (OSError, UnicodeDecodeError, IndexError) as error:
        raise DataError(
            f"The group table {path} cannot be read ({error}). It needs a heading and two "
            "columns: file and source photograph."
        ) from error


def _photograph(path: Path, tables: Sequence[dict[tuple[str, ...], str]]) -> tuple[int, str] | None:
    """Table and photograph of a file: the entry that agrees with most of its path counts."""
    parts = path.resolve().parts
    for length in range(len(parts), 0, -1):
        tail = parts[-length:]
        entries = [(at, table[tail]) for at, table in enumerate(tables) if tail in table]
        names = sorted({name for _, name in entries})
        if len(names) > 1:
            raise DataError(f"The group tables name two photographs for {path}: {names}.")
        if entries:
            return entries[0]
    return None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def count_by(values: Sequence[str]) -> dict[str, int]:
    """How often each value occurs, in alphabetical order."""
    return dict(sorted(Counter(values).items()))
