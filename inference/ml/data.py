"""Read labelled pictures from folders of classes and cut their main cells out."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import astuple, dataclass, replace
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
    name : str
        What people call the file, where its path does not say.
    """

    path: Path
    dataset: str
    label: str
    group: str
    sha256: str
    box: Box | None = None
    part: str = ""
    name: str = ""

    @property
    def shown(self) -> str:
        """The file as it is told to people, to whom a place on the server says nothing."""
        return self.name or "/".join(self.path.parts[-2:])

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
        """SHA-256 over every cell's class and content, whatever the order."""
        lines = sorted(_line(item) for item in self.items)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def unusable(item: Item, error: Exception) -> DataError:
    """What is said of a picture that cannot be read."""
    reason = (isinstance(error, OSError) and error.strerror) or error
    return DataError(f"{item.shown} cannot be used: {reason} Remove it, or bring it back.")


def make_listing(
    items: Iterable[Item],
    *,
    photographs: Sequence[Hashable | None] | None = None,
    groups_unknown: Sequence[str] = (),
) -> Listing:
    """A listing of items, wherever they come from.

    Parameters
    ----------
    items : iterable of Item
        Those that share their bytes become one group.
    photographs : sequence, optional
        What else makes two items one group, e.g. the photograph that a table names; one for
        each item, or None for no more than its group says.
    groups_unknown : sequence of str
        Data sets whose source photographs nobody has told.

    Raises
    ------
    DataError
        If a cell, which is a file and a box in it, is in two classes, or a class is called
        like a flag.
    """
    listed = list(items)
    for item in listed:
        if item.label.lower() in RESERVED:
            raise DataError(
                f"The class {item.label} is called like a mark that cells get, which no class may "
                "be. Rename it, or leave it out if its cells are of no class."
            )
    return Listing(
        _with_groups_merged(listed, photographs or [None] * len(listed)), tuple(groups_unknown)
    )


def relabelled(listing: Listing, class_map: Mapping[str, str]) -> Listing:
    """A listing with other classes.

    Parameters
    ----------
    listing : Listing
    class_map : mapping of str to str
        From label to class; an empty class leaves the label's items out. A label that is not
        in it stays.

    Raises
    ------
    DataError
        If it names a label that no item has, or a class is called like a flag.
    """
    strange = sorted(set(class_map) - set(listing.classes))
    if strange:
        raise DataError(
            f"The class map names {', '.join(strange)}, but the pictures are of "
            f"{', '.join(listing.classes)}. Correct it."
        )
    items = [
        replace(item, label=label)
        for item in listing.items
        if (label := class_map.get(item.label, item.label).strip().lower())
    ]
    left = {item.dataset for item in items}
    return make_listing(
        items, groups_unknown=[name for name in listing.groups_unknown if name in left]
    )


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
    return make_listing(items, photographs=named, groups_unknown=unknown)


def _with_groups_merged(
    items: Sequence[Item], photographs: Sequence[Hashable | None]
) -> list[Item]:
    """Put into one group what shares its bytes or its photograph, in whatever folder it lies."""
    cells: dict[Hashable, Item] = {}
    first: dict[Hashable, Item] = {}
    pairs = []
    for item, photograph in zip(items, photographs, strict=True):
        same = cells.setdefault(item.key, item)
        if same.label != item.label:
            where = f", in the same box {item.box}" if item.box else ""
            raise DataError(
                f"{same.shown} ({same.label}) and {item.shown} ({item.label}) are the same file in "
                f"two classes{where}. Remove one."
            )
        keys = [item.sha256, *([] if photograph is None else [photograph])]
        pairs += [(first.setdefault(key, item).group, item.group) for key in keys]
    return regrouped(items, pairs)


def _line(item: Item) -> str:
    box = "" if item.box is None else " {},{},{},{}".format(*astuple(item.box))
    return f"{item.label} {item.sha256}{box}"


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
    """Cut each item's cell out: that of its box, or the main cell, which is looked for.

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

    crops = np.empty((len(items), parameters.size, parameters.size, 3), np.uint8)
    kept: list[int] = []
    with closing(each_crop(items, parameters, decode=decode, workers=workers)) as cut:
        for position, crop in enumerate(cut):
            if crop is not None:
                crops[len(kept)] = crop
                kept.append(position)
            advance()
    return crops[: len(kept)], kept


def each_crop(
    items: Sequence[Item], parameters: Preprocessing, *, decode: Decode, workers: int = 2
) -> Generator[NDArray[np.uint8] | None, None, None]:
    """The crop of each item in turn, or None where no cell is found; see `cut_crops`.

    Close it to stop early: what is not yet cut then stays uncut.
    """

    def cut(item: Item) -> NDArray[np.uint8] | None:
        try:
            image = decode(item.path.read_bytes())
            if item.box is None:
                return main_cell_crop(image, item.label, parameters)
            return crop_cell(prepare(image, parameters), item.box, parameters)
        except (OSError, ValueError) as error:
            raise unusable(item, error) from error

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield from pool.map(cut, items)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


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
