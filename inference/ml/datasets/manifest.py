"""What a version of a dataset holds: a canonical list of its pictures, and its hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference.ml.datasets.tables import Part


class ManifestError(Exception):
    """A manifest cannot be read; the message says why."""


@dataclass(frozen=True, order=True, slots=True)
class Entry:
    """A picture of a dataset's version.

    Attributes
    ----------
    sha256 : str
        Of the file, 64 hexadecimal digits.
    label : str
    group : str
        Source photograph; "" if unknown.
    part : "train", "test" or ""
    box : tuple of 4 ints or None
        x, y, width and height of the labelled cell; None where the finder decides.
    name : str
        Path inside the archive it came from, to show to people.
    """

    sha256: str
    label: str
    group: str
    part: Part
    box: tuple[int, int, int, int] | None
    name: str


def to_bytes(entries: Iterable[Entry]) -> bytes:
    """JSON lines, sorted, in one way only: the same entries give the same bytes in any order."""
    raise NotImplementedError


def from_bytes(data: bytes) -> list[Entry]:
    """The entries, sorted.

    Raises
    ------
    ManifestError
    """
    raise NotImplementedError


def hash_of(entries: Iterable[Entry]) -> str:
    """SHA-256 of `to_bytes`."""
    raise NotImplementedError
