"""Files that are whole or not there, and disks that are full."""

from __future__ import annotations

import errno
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from inference.ml.data import DataError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which gets its name when it is whole and on the disk.

    What an end in the middle leaves behind, the next attempt overwrites.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextmanager
def full_disk_told() -> Iterator[None]:
    """Turn the error of a full disk into a sentence.

    Raises
    ------
    DataError
    """
    try:
        yield
    except OSError as error:
        # HDF5 tells the number in words only.
        if error.errno not in _FULL and os.strerror(errno.ENOSPC) not in str(error):
            raise
        where = f" of {error.filename}" if error.filename else ""
        raise DataError(
            f"The disk{where} is full. Make room and start the training again; one with a folder "
            "of its own goes on after its last whole epoch."
        ) from error


def check_room(needs: Mapping[Path, int]) -> None:
    """Make sure that folders can take so many bytes.

    Parameters
    ----------
    needs : mapping of Path to int
        Existing folders; those on one disk are taken together.

    Raises
    ------
    DataError
        If a disk has too little room.
    """
    of_disk: dict[int, int] = defaultdict(int)
    folder_of: dict[int, Path] = {}
    for folder, size in needs.items():
        disk = folder.stat().st_dev
        of_disk[disk] += size
        folder_of.setdefault(disk, folder)
    for disk, size in of_disk.items():
        free = shutil.disk_usage(folder_of[disk]).free
        if size > free:
            raise DataError(
                f"The training needs about {_told(size)} on the disk of {folder_of[disk]}, where "
                f"{_told(free)} are free. Make room there, or train with fewer pictures or "
                "smaller crops."
            )


def _told(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
