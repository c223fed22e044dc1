"""What a version of a dataset holds: a canonical list of its pictures, and its hash."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from inference.ml.datasets.tables import Part

_SHA256 = re.compile(r"[0-9a-f]{64}")


class ManifestError(Exception):
    """A manifest cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
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
    """JSON lines in ASCII, sorted: the same entries give the same bytes in whatever order."""
    lines = sorted(
        json.dumps(asdict(entry), separators=(",", ":"), ensure_ascii=True) for entry in entries
    )
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def from_bytes(data: bytes) -> list[Entry]:
    """The entries, in the manifest's order.

    Raises
    ------
    ManifestError
        If the bytes are not what `to_bytes` writes.
    """
    try:
        entries = [_entry(line) for line in data.decode("ascii").splitlines()]
    except (ValueError, TypeError, KeyError) as error:
        raise ManifestError(f"The manifest is damaged ({error}).") from error
    if to_bytes(entries) != data:
        raise ManifestError("The manifest was changed: it is not written as it would be.")
    return entries


def _entry(line: str) -> Entry:
    row = json.loads(line)
    if row["box"] is not None:
        x, y, width, height = map(int, row["box"])
        row["box"] = x, y, width, height
    entry = Entry(**row)
    if not _SHA256.fullmatch(entry.sha256) or entry.part not in ("train", "test", ""):
        raise ValueError(f"no such picture: {line[:80]}")
    return entry
