"""A ZIP archive's table of contents, counted before anything reads it into memory.

The record at a ZIP archive's end says how many entries there are and how long their table is;
either may lie. So the table is walked in small steps, over the same bytes that Python's ``zipfile``
will take (PKWARE's APPNOTE.TXT, 4.3.12 to 4.3.16), and is refused where ``zipfile`` would guess.
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

MALFORMED = (
    "This is no ZIP archive, or it is damaged or ends too early. "
    "Pack it anew, or send it once more."
)

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LONGEST_COMMENT = 2**16 - 1


class ArchiveError(Exception):
    """The archive or folder is refused as a whole; the message says why and what to do."""


def check_contents(file: BinaryIO, *, most: int) -> None:
    """Walk the table of contents.

    Parameters
    ----------
    file : binary file
        Its position is moved.
    most : int
        Entries that are allowed.

    Raises
    ------
    ArchiveError
        If there are more, or the table is not what the archive's end says.
    """
    start, end, stated = _place(file)
    file.seek(start)
    at, count = start, 0
    while at < end:
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or head[:4] != b"PK\x01\x02":
            raise ArchiveError(MALFORMED)
        fields = _ENTRY.unpack(head)
        rest = sum(fields[10:13])  # name, extra fields and comment
        file.seek(rest, os.SEEK_CUR)
        at += _ENTRY.size + rest
        count += 1
        if count > most:
            raise ArchiveError(
                f"The archive holds more than {most:,} files. Make several datasets of it."
            )
    if at != end or count != stated:
        raise ArchiveError(MALFORMED)


def _place(file: BinaryIO) -> tuple[int, int, int]:
    """Where the table of contents starts and ends, and how many entries it is said to have."""
    size = file.seek(0, os.SEEK_END)
    tail_start = max(0, size - _LONGEST_COMMENT - _END.size)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    found = tail.rfind(b"PK\x05\x06")
    if len(tail) >= _END.size and tail[-_END.size :][:4] == b"PK\x05\x06" and tail[-2:] == b"\0\0":
        found = len(tail) - _END.size
    if found < 0 or len(tail) - found < _END.size:
        raise ArchiveError(MALFORMED)
    _, disk, first_disk, here, entries, length, _, comment = _END.unpack_from(tail, found)
    end = tail_start + found
    if comment != len(tail) - found - _END.size:
        raise ArchiveError(MALFORMED)
    long_end = _long_end(file, end)
    if long_end is not None:
        end -= _LOCATOR.size + _END64.size
        disk, first_disk, here, entries, length = long_end
    if disk or first_disk or here != entries:
        raise ArchiveError("The archive is one of several parts. Pack it as one file.")
    if length > end:
        raise ArchiveError(MALFORMED)
    return end - length, end, entries


def _long_end(file: BinaryIO, end: int) -> tuple[int, int, int, int, int] | None:
    """Of an archive with 64-bit sizes: disk, first disk, entries here and in all, length."""
    if end < _LOCATOR.size + _END64.size:
        return None
    file.seek(end - _LOCATOR.size - _END64.size)
    record = _END64.unpack(file.read(_END64.size))
    locator = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if locator[0] != b"PK\x06\x07":
        return None
    if record[0] != b"PK\x06\x06" or locator[1] != 0 or locator[3] > 1:
        raise ArchiveError(MALFORMED)
    disk, first_disk, here, entries, length = record[4:9]
    return disk, first_disk, here, entries, length
