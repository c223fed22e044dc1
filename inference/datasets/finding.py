"""What a version is made from: an archive, a folder, an earlier version or people's cells."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from hematovision.files import gate, store
from hematovision.files.gate import MINIMUM_SIDE
from hematovision.files.models import StoredImage
from inference.cells import CLASSES
from inference.datasets.looking import look_at
from inference.datasets.photographs import known_photographs
from inference.datasets.records import Found, Journal, Record, box_of, record_of
from inference.jobs.kinds import JobError
from inference.ml.data import Decode
from inference.ml.datasets.archive import Archive, Folder, LeftOut, Limits, Source
from inference.ml.datasets.facts import measure
from inference.ml.datasets.gather import Gathered, gathered
from inference.ml.datasets.layout import Layout, understand
from inference.ml.datasets.manifest import Entry
from inference.ml.datasets.tables import read_table, tables_in
from inference.models import DatasetVersion
from inference.registry.selectors import active_model_version

if TYPE_CHECKING:
    from inference.jobs.child import Running

T = TypeVar("T")

AT_ONCE = 50  # pictures between two flushes of the disk


def find(
    running: Running, version: DatasetVersion, staging: store.Staging, journal: Journal
) -> Found:
    """Read and measure the pictures of a version that is to be made.

    Raises:
        JobError, ArchiveError, LayoutError, TableError, StoreError: it cannot be made.
    """
    match version.source:
        case DatasetVersion.Source.ZIP:
            return _of_archive(running, version, staging, journal)
        case DatasetVersion.Source.FOLDER:
            return _of_folder(running, version, staging, journal)
        case DatasetVersion.Source.EDIT:
            return _of_version(version)
        case DatasetVersion.Source.CORRECTIONS:
            return _of_cells(running, version)
    raise ValueError(version.source)


# --- An archive or a folder ------------------------------------------------------------------
def _of_archive(
    running: Running, version: DatasetVersion, staging: store.Staging, journal: Journal
) -> Found:
    archive, table = _places(version)
    if not archive.is_file():
        raise JobError("The archive is no longer on the server. Upload it once more.")
    _check_room(archive.stat().st_size)
    sha256 = _sha256_of(running, archive)
    with Archive(archive, _limits()) as source:
        found = _of_source(running, version, source, table, staging, journal)
    found.origin = {**version.origin, "sha256": sha256, "size": archive.stat().st_size}
    return found


def _of_folder(
    running: Running, version: DatasetVersion, staging: store.Staging, journal: Journal
) -> Found:
    folder, table = _places(version)
    with Folder(folder, _limits()) as source:
        found = _of_source(running, version, source, table, staging, journal)
    found.origin = version.origin
    return found


def _places(version: DatasetVersion) -> tuple[Path, Path | None]:
    """Where the pictures lie, and the table beside them: uploaded, or named on the server."""
    if "path" in version.origin:
        table = version.origin.get("table")
        return Path(version.origin["path"]), Path(table) if table else None
    upload = version.upload
    return upload.path, upload.table_path if "table" in version.origin else None


def _limits() -> Limits:
    return Limits(total_bytes=settings.DATASET_MAX_BYTES, member_bytes=settings.UPLOAD_MAX_BYTES)


def _check_room(needed: int) -> None:
    free = shutil.disk_usage(settings.MEDIA_ROOT).free - settings.JOB_FREE_DISK_MB * 2**20
    if free < needed:
        raise JobError(
            f"The pictures need about {needed / 2**30:.1f} GB, and the disk has room for "
            f"{max(free, 0) / 2**30:.1f} GB. Make room, then try again."
        )


def _sha256_of(running: Running, path: Path) -> str:
    digest = hashlib.sha256()
    total = path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(4 * 2**20):
            digest.update(chunk)
            running.report("Checking the archive", file.tell() // 2**20, total // 2**20)
            running.check_stop()
    return digest.hexdigest()


def _of_source(
    running: Running,
    version: DatasetVersion,
    source: Source,
    table: Path | None,
    staging: store.Staging,
    journal: Journal,
) -> Found:
    layout, notes = _layout_of(version, source, table)
    for note in notes:
        running.log(note)
    read = list(journal.read())
    names = {one.entry.name if isinstance(one, Record) else one.name for one in read}
    wanted = {name: placed for name, placed in layout.pictures.items() if name not in names}
    total = len(layout.pictures)
    if read:
        running.log(f"Goes on after {len(read):,} of {total:,} pictures.")
    running.report("Reading pictures", len(read), total, f"{total:,} pictures to read.")
    passed: dict[str, gate.Inspected] = {}
    pictures = gathered(source.read(wanted.keys()), wanted, decode=_gate_that_notes(passed))
    for batch in _batches(pictures, AT_ONCE):
        for one in batch:
            if isinstance(one, LeftOut):
                read.append(one)
            else:
                staging.add(one.data, one.sha256)
                read.append(_record(one, layout, passed[one.sha256]))
        staging.flush()
        journal.append(read[-len(batch) :])
        running.got_further()
        running.report("Reading pictures", len(read), total)
        running.check_stop()
    records = [one for one in read if isinstance(one, Record)]
    left_out = [*source.left_out, *layout.left_out]
    left_out += [one for one in read if isinstance(one, LeftOut)]
    if not records:
        why = f" {left_out[0].name}: {left_out[0].reason}" if left_out else ""
        raise JobError(f"None of the {total:,} pictures can be used.{why}")
    order = {name: at for at, name in enumerate(layout.pictures)}
    records.sort(key=lambda record: order[record.entry.name])
    records, sentences = _with_photographs(records)
    return Found(records, left_out, [*notes, *sentences])


def _layout_of(
    version: DatasetVersion, source: Source, table: Path | None
) -> tuple[Layout, list[str]]:
    given = None
    if table is not None:
        given = read_table(Path(version.origin["table"]).name, table.read_bytes())
    tables, notes = tables_in(source)
    active = active_model_version()
    known = {*CLASSES, *(active.classes if active else ())}
    layout = understand(source.names, given=given, found=tables, known=known)
    return layout, [*notes, *layout.notes]


def _gate_that_notes(passed: dict[str, gate.Inspected]) -> Decode:
    """The gate of every upload; what it finds is kept by SHA-256."""

    def decode(data: bytes) -> NDArray[np.uint8]:
        inspected, image = gate.inspect_and_decode(
            data, max_bytes=settings.UPLOAD_MAX_BYTES, max_pixels=settings.UPLOAD_MAX_PIXELS
        )
        passed[inspected.sha256] = inspected
        return image

    return decode


def _record(picture: Gathered, layout: Layout, inspected: gate.Inspected) -> Record:
    placed = layout.pictures[picture.name]
    entry = Entry(picture.sha256, placed.label, placed.group, placed.part, None, picture.name)
    return Record(entry, picture.facts, inspected.format, inspected.size)


def _batches(values: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(values)
    while batch := list(islice(iterator, size)):
        yield batch


def _with_photographs(records: list[Record]) -> tuple[list[Record], list[str]]:
    """Records with the source photographs that a registered model knew, where nobody told them."""
    untold = [record.entry.sha256 for record in records if not record.entry.group]
    photograph_of, sentences = known_photographs(untold) if untold else ({}, [])
    return [
        record
        if record.entry.group
        else replace(
            record,
            entry=replace(record.entry, group=photograph_of.get(record.entry.sha256, "")),
        )
        for record in records
    ], sentences


# --- An earlier version ----------------------------------------------------------------------
def _of_version(version: DatasetVersion) -> Found:
    parent = version.parent
    assert parent is not None, "an edit has a parent"
    labels: dict[str, str] = version.origin["labels"]
    left_out = set(version.origin["left_out"])
    rows = parent.images.select_related("stored_image").order_by("pk")
    records = []
    for row in rows.iterator(chunk_size=2000):
        row.label = labels.get(row.label, row.label)
        if row.label and row.pk not in left_out:
            records.append(record_of(row))
    look = look_at(parent)
    return Found(records, notes=look.figures["notes"] if look else [], origin=version.origin)


# --- People's cells --------------------------------------------------------------------------
def _of_cells(running: Running, version: DatasetVersion) -> Found:
    """The cells that the version's row lists; of each its surroundings are measured."""
    cells = version.origin["cells"]
    stored_images = StoredImage.objects.in_bulk({cell["stored_image"] for cell in cells})
    records = []
    decoded: tuple[int, NDArray[np.uint8]] | None = None  # cells of a picture come together
    for number, cell in enumerate(cells):
        running.report("Measuring cells", number, len(cells))
        running.check_stop()
        stored = stored_images[cell["stored_image"]]
        if decoded is None or decoded[0] != stored.pk:
            decoded = stored.pk, gate.decode(store.read(stored.sha256))
        box = box_of(cell["box"])
        facts = measure(_around(decoded[1], box), cell["label"])
        entry = Entry(
            sha256=stored.sha256,
            label=cell["label"],
            group=cell["group"],
            part="",
            box=box,
            name=cell["file_name"],
        )
        records.append(Record(entry, facts, stored.format, stored.size))
    return Found(records, origin={"cells": len(cells)})


def _around(image: NDArray[np.uint8], box: tuple[int, int, int, int] | None) -> NDArray[np.uint8]:
    """The square around a cell, three times its size, as far as the picture goes."""
    if box is None:
        return image
    x, y, width, height = box
    half = max(3 * max(width, height) // 2, MINIMUM_SIDE)
    left, top = max(0, x + width // 2 - half), max(0, y + height // 2 - half)
    square = image[top : y + height // 2 + half, left : x + width // 2 + half]
    return np.ascontiguousarray(square)
