"""Archives on their way in: sent in pieces, so that a broken connection costs one piece at most.

The row says how many bytes are safely on the disk; the file may hold more of a piece that broke
off, which the next piece writes over.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO, FileIO
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import UnreadablePostError
from django.utils import timezone

from accounts import audit
from accounts.models import Site, User
from inference.datasets.services import dataset_create, version_begin
from inference.models import Dataset, DatasetUpload, DatasetVersion, Job

PIECE_BYTES = 8 * 2**20  # that the page sends at a time
MOST_PIECE_BYTES = 2 * PIECE_BYTES  # that are taken
READ_BYTES = 256 * 2**10
REMOVED = "This upload was removed. Choose the archive again."
ABANDONED_AFTER = timedelta(hours=24)


class OffsetError(Exception):
    """The piece does not begin where the file ends; ``received`` says where to go on."""

    def __init__(self, received: int) -> None:
        super().__init__(received)
        self.received = received


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class NewDataset:
    """What the first version of a dataset brings along."""

    name: str
    description: str = ""
    licence: str = ""
    site: Site | None = None


@dataclass(frozen=True)
class SentTable:
    """A CSV table of labels or source photographs that came with an archive."""

    name: str
    data: bytes


def upload_begin(*, file_name: str, size: int, last_modified: int, by: User) -> DatasetUpload:
    """Announce an archive, or find the upload of the same file that was broken off.

    Args:
        size: bytes.
        last_modified: milliseconds, as the browser tells; with name and size it tells the file.

    Raises:
        ValidationError: it is too large, for the settings or for the disk.
    """
    if size <= 0:
        raise ValidationError("The file is empty (0 bytes). Choose the archive again.")
    if size > settings.DATASET_MAX_BYTES:
        raise ValidationError(
            f"The archive has {_size(size)}; at most {_size(settings.DATASET_MAX_BYTES)} are "
            "allowed (DATASET_MAX_MB). Split it into several versions, or raise the limit."
        )
    same = DatasetUpload.objects.filter(
        version=None,
        created_by=by,
        file_name=file_name,
        size=size,
        last_modified=last_modified,
    ).first()
    _check_room(size, received=same.received if same else 0)
    if same and same.path.exists():
        return same
    if same:
        same.delete()
    upload = DatasetUpload(
        file_name=file_name, size=size, last_modified=last_modified, created_by=by
    )
    upload.path.parent.mkdir(parents=True, exist_ok=True)
    upload.path.touch()
    upload.save()
    return upload


def _check_room(size: int, *, received: int) -> None:
    """The archive is needed until its pictures, which take as much again, are in the store."""
    needed = 2 * size - received
    free = shutil.disk_usage(settings.MEDIA_ROOT).free - settings.JOB_FREE_DISK_MB * 2**20
    if needed > free:
        raise ValidationError(
            f"The server's disk has room for {_size(max(free, 0))}, but this archive and its "
            f"pictures need {_size(needed)}. Make room first."
        )


def piece_append(*, upload: DatasetUpload, offset: int, piece: Readable, length: int) -> int:
    """Add a piece to the end of the file, flushed; return how many bytes there are now.

    What arrives of a piece whose connection breaks is kept.

    Args:
        offset: where in the file the piece begins.
        length: bytes of the piece.

    Raises:
        OffsetError: the file goes on elsewhere, or another piece is just being written.
        ValidationError: the piece is too large, goes beyond the end, or the disk is full.
    """
    if not 0 < length <= MOST_PIECE_BYTES or offset + length > upload.size:
        raise ValidationError("The piece does not fit into the file. Choose the archive again.")
    with _locked(upload) as file:
        upload = _still_there(upload)
        if upload.version_id is not None or offset != upload.received:
            raise OffsetError(upload.received)
        file.truncate(offset)
        file.seek(offset)
        try:
            written = _copy(piece, file, length)
        except OSError as error:
            raise ValidationError(
                f"The server cannot write the file ({error.strerror}). Make room on its disk; "
                "what was sent so far is kept, and sending goes on there."
            ) from error
        received = offset + written
        DatasetUpload.objects.filter(pk=upload.pk).update(
            received=received, touched_at=timezone.now()
        )
    return received


@contextmanager
def _locked(upload: DatasetUpload) -> Iterator[FileIO]:
    """One piece at a time: two tabs, or a piece that the browser gave up, must not mix."""
    try:
        file = upload.path.open("r+b", buffering=0)
    except FileNotFoundError as error:
        raise ValidationError(REMOVED) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OffsetError(upload.received) from None
        yield file


def _still_there(upload: DatasetUpload) -> DatasetUpload:
    """The row of today; another person may have thrown the upload away."""
    row = DatasetUpload.objects.filter(pk=upload.pk).first()
    if row is None:
        raise ValidationError(REMOVED)
    return row


def _copy(piece: Readable, file: FileIO, length: int) -> int:
    """Write a piece to the disk; return how many bytes of it came."""
    came = 0
    while came < length and (data := _read(piece, min(READ_BYTES, length - came))):
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        came += len(data)
    os.fsync(file.fileno())
    return came


def _read(piece: Readable, size: int) -> bytes:
    try:
        return piece.read(size)
    except UnreadablePostError:  # the connection broke; the sender asks where to go on
        return b""


def upload_finish(
    *,
    upload: DatasetUpload,
    target: Dataset | NewDataset,
    table: SentTable | None = None,
    by: User,
) -> DatasetVersion:
    """Make a version of a whole archive and queue its import. Idempotent.

    Args:
        target: the dataset that gets a version; a new one is made.

    Raises:
        ValidationError: the archive is not whole, or the new dataset's name is taken.
    """
    with transaction.atomic():
        upload = DatasetUpload.objects.select_for_update().get(pk=upload.pk)
        if upload.version is not None:
            return upload.version
        if upload.received != upload.size or _length(upload.path) != upload.size:
            raise ValidationError(
                f"Only {_size(upload.received)} of {_size(upload.size)} have arrived. "
                "Choose the archive again: sending goes on where it stopped."
            )
        if isinstance(target, NewDataset):
            target = dataset_create(
                name=target.name,
                description=target.description,
                licence=target.licence,
                site=target.site,
                by=by,
            )
        if table is not None:
            upload.table_path.write_bytes(table.data)
        upload.version = version_begin(
            dataset=target,
            source=DatasetVersion.Source.ZIP,
            origin={
                "name": upload.file_name,
                "size": upload.size,
                **({"table": table.name} if table is not None else {}),
            },
            by=by,
        )
        upload.save(update_fields=["version"])
        return upload.version


def archive_upload(
    *,
    file_name: str,
    size: int,
    chunks: Iterable[bytes],
    target: Dataset | NewDataset,
    table: SentTable | None = None,
    by: User,
) -> DatasetVersion:
    """A whole archive that came with one request. Raises as the steps of which it is made."""
    upload = upload_begin(file_name=file_name[:300], size=size, last_modified=0, by=by)
    offset = 0
    for chunk in chunks:
        if offset >= upload.received:
            piece_append(upload=upload, offset=offset, piece=BytesIO(chunk), length=len(chunk))
        offset += len(chunk)
    return upload_finish(upload=upload, target=target, table=table, by=by)


@transaction.atomic
def upload_discard(*, upload: DatasetUpload, by: User | None) -> None:
    """Throw away an upload that nobody goes on with; one that became a version stays."""
    row = DatasetUpload.objects.select_for_update().filter(pk=upload.pk, version=None).first()
    if row is None:
        return
    audit.record(
        audit.Action.DATASET_UPLOAD_DISCARDED,
        actor=by,
        subject=row,
        begun_by=str(row.created_by),
        begun_at=row.created_at.isoformat(),
    )
    transaction.on_commit(lambda: files_remove(row))
    row.delete()


def files_remove(upload: DatasetUpload) -> None:
    for path in (upload.path, upload.table_path):
        path.unlink(missing_ok=True)


def remove_abandoned() -> int:
    """Remove what nobody needs any more; return the number of files. Part of the daily care.

    Uploads that got no piece for a day; archives whose import is over (kept for a day after a
    failure, so that it can be tried again); files without a row.
    """
    limit = timezone.now() - ABANDONED_AFTER
    for upload in DatasetUpload.objects.filter(version=None, touched_at__lt=limit):
        upload_discard(upload=upload, by=None)
    needed = set()
    for upload in DatasetUpload.objects.select_related("version__job"):
        job = upload.version.job if upload.version else None
        if (
            job is None
            or not job.is_over
            or (job.status == Job.Status.FAILED and job.finished_at and job.finished_at > limit)
        ):
            needed |= {upload.path, upload.table_path}
    folder = Path(settings.MEDIA_ROOT) / "incoming" / "datasets"
    superfluous = [
        path
        for path in folder.glob("*")
        if path not in needed and path.stat().st_mtime < limit.timestamp()
    ]
    for path in superfluous:
        path.unlink(missing_ok=True)
    return len(superfluous)


def _length(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.1f} MB"
