"""The pictures of a version while its job is at work: in memory, and in a journal on the disk."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry
from inference.models import DatasetImage


@dataclass(frozen=True, slots=True)
class Record:
    """A picture, and what its rows will say. ``size`` is in bytes."""

    entry: Entry
    facts: PictureFacts
    format: str
    size: int


@dataclass(slots=True)
class Found:
    """All that a version is made from.

    ``notes`` are sentences for people; ``origin`` is what its row says of where it came from.
    """

    records: list[Record]
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    origin: dict[str, Any] = field(default_factory=dict)


class Journal:
    """What has been read so far: an import goes on from here after its process was killed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, read: Iterable[Record | LeftOut]) -> None:
        """Add to the end, flushed. The records' pictures have to be on the disk already."""
        text = "".join(f"{json.dumps(asdict(one))}\n" for one in read)
        with self._path.open("a", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[Record | LeftOut]:
        """What was added. A last line that a kill has cut off is dropped, from the file, too."""
        if not self._path.exists():
            return
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                yield _from_json(json.loads(line))
        os.truncate(self._path, whole)

    def discard(self) -> None:
        self._path.unlink(missing_ok=True)


def _from_json(row: dict[str, Any]) -> Record | LeftOut:
    if "reason" in row:
        return LeftOut(**row)
    return Record(
        entry=_entry(row["entry"]),
        facts=PictureFacts.from_dict(row["facts"]),
        format=row["format"],
        size=row["size"],
    )


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(**{**row, "box": box_of(row["box"])})


def box_of(values: list[int] | None) -> tuple[int, int, int, int] | None:
    if values is None:
        return None
    x, y, width, height = values
    return x, y, width, height


def record_of(row: DatasetImage) -> Record:
    """A picture of a ready version."""
    stored = row.stored_image
    entry = Entry(
        sha256=stored.sha256,
        label=row.label,
        group=row.group,
        part=row.part,  # type: ignore[arg-type]  # written from an entry
        box=box_of(row.box),
        name=row.file_name,
    )
    return Record(entry, PictureFacts.from_dict(row.facts), stored.format, stored.size)
