"""CSV tables that tell the label, source photograph or part of files."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from inference.ml.datasets.archive import LeftOut, Source

Part = Literal["train", "test", ""]

MOST_BYTES = 64 * 2**20
_MOST_TABLES = 20  # that are looked at in one archive
_LONGEST_CELL = 400  # characters
_COLUMNS = {
    "file": ("file", "filename", "file name", "path", "image"),
    "label": ("label", "class"),
    "group": ("group", "photograph", "source", "source photograph", "patient"),
    "part": ("part", "side", "split"),
}
_PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "train",
    "valid": "train",
    "validation": "train",
    "test": "test",
    "testing": "test",
    "test_simple": "test",
}


class TableError(Exception):
    """A table cannot be read; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a table tells of a file; None where it has no such column."""

    label: str | None
    group: str | None
    part: Part | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table by the paths it names, as their parts, from any folder above the file."""

    name: str
    rows: Mapping[tuple[str, ...], Row]

    def row_of(self, path: str) -> tuple[str, ...] | None:
        """The entry that agrees with most of a file's path."""
        parts = tuple(path.split("/"))
        tails = (parts[at:] for at in range(len(parts)))
        return next((tail for tail in tails if tail in self.rows), None)


def part_of(word: str) -> Part | None:
    """Which part a folder or a table's cell names; None if none. Validation counts as train."""
    return _PARTS.get(word.strip().lower())


def tidy_label(text: str) -> str:
    """A class's name as it is kept: lower case, an underscore for each gap.

    So "Band Neutrophil" of a folder and ``band_neutrophil`` of a person are one class.
    """
    return "_".join(text.split()).lower()


def tables_in(source: Source) -> tuple[list[Table], list[str]]:
    """The tables inside an archive or folder, and a sentence for each CSV file that is none."""
    names = [name for name in source.names if name.lower().endswith(".csv")]
    tables, notes = [], []
    for file in source.read(frozenset(names[:_MOST_TABLES])):
        if isinstance(file, LeftOut):
            notes.append(f"The table {file.name} was left aside. {file.reason}")
            continue
        try:
            tables.append(read_table(file.name, file.data))
        except TableError as error:
            notes.append(f"A CSV file was left aside. {error}")
    if len(names) > _MOST_TABLES:
        notes.append(f"Only {_MOST_TABLES} of the {len(names):,} CSV files were looked at.")
    return tables, notes


def read_table(name: str, data: bytes) -> Table:
    """Read a CSV table: a heading and the columns ``file`` and any of ``label, group, part``.

    Headings in any case; ``class`` is read as label; ``photograph``, ``source`` and ``patient`` as
    group; other columns are passed over. UTF-8, with or without a byte-order mark; separated by
    commas, semicolons or tabs.

    Raises
    ------
    TableError
        If it is no such table, too large, or says two things of one file.
    """
    if len(data) > MOST_BYTES:
        raise TableError(f"The table {name} is larger than {MOST_BYTES // 2**20} MB.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"The table {name} is not in UTF-8. Save it as “CSV UTF-8”.") from error
    if "\0" in text:
        raise TableError(f"The table {name} is no plain text. Save it as “CSV UTF-8”.")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise TableError(f"The table {name} cannot be read ({error}).") from error
    columns = _columns(name, lines[0] if lines else [])
    rows: dict[tuple[str, ...], Row] = {}
    for number, line in enumerate(lines[1:], 2):
        if not any(line):
            continue
        try:
            cells = {column: line[at].strip() for column, at in columns.items()}
        except IndexError:
            raise TableError(f"Line {number} of the table {name} has too few columns.") from None
        if any(len(cell) > _LONGEST_CELL for cell in cells.values()):
            raise TableError(f"Line {number} of the table {name} is too long.")
        path, row = _row(name, number, cells)
        if rows.setdefault(path, row) != row:
            raise TableError(
                f"The table {name} says two things of {cells['file']} (line {number}). Mend it."
            )
    return Table(name, rows)


def _columns(name: str, heading: Sequence[str]) -> dict[str, int]:
    words = [" ".join(word.replace("_", " ").split()).lower() for word in heading]
    columns: dict[str, int] = {}
    for column, known in _COLUMNS.items():
        places = [at for at, word in enumerate(words) if word in known]
        if len(places) > 1:
            raise TableError(f"The table {name} has two columns for the {column}. Keep one.")
        if places:
            columns[column] = places[0]
    if "file" not in columns or len(columns) < 2:
        raise TableError(
            f"The table {name} needs a heading with the columns file and label, "
            "or file and group (or both, and part)."
        )
    return columns


def _row(name: str, number: int, cells: Mapping[str, str]) -> tuple[tuple[str, ...], Row]:
    path = tuple(part for part in PurePosixPath(cells["file"].replace("\\", "/")).parts)
    if not path:
        raise TableError(f"Line {number} of the table {name} names no file.")
    part = part_of(cells["part"]) if cells.get("part") else None
    if cells.get("part") and part is None:
        raise TableError(
            f"Line {number} of the table {name}: the part is {cells['part']!r}; "
            "it may be train, validation or test."
        )
    label = tidy_label(cells["label"]) if "label" in cells else None
    return path, Row(label, cells.get("group"), part)
