"""CSV tables that tell the label, source photograph or part of files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Part = Literal["train", "test", ""]
MOST_BYTES = 64 * 2**20


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
    """A table by the paths it names, as tuples of their parts, from any folder above the file."""

    name: str
    rows: Mapping[tuple[str, ...], Row]


def read_table(name: str, data: bytes) -> Table:
    """Read a CSV table: a heading and the columns ``file`` and any of ``label, group, part``.

    Headings in any case; ``class`` is read as label; ``photograph``, ``source`` and ``patient`` as
    group. UTF-8, with or without a byte-order mark; separated by comma, semicolon or tab.

    Raises
    ------
    TableError
    """
    raise NotImplementedError
