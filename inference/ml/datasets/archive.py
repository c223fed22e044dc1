"""The gate for whole archives and folders: what is in them, read one file at a time.

Nothing is ever extracted: the members of a ZIP archive are decompressed into memory one by one, and
no name from outside becomes a path of ours.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self


class ArchiveError(Exception):
    """The archive or folder is refused as a whole; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold.

    Attributes
    ----------
    members : int
        Entries, directories and rubbish included.
    total_bytes : int
        Of all files, decompressed.
    member_bytes : int
        Of one file, decompressed; also what is held in memory at a time.
    ratio : float
        Decompressed over compressed bytes, of the whole and of each larger file.
    path_length : int
        Characters of a member's path.
    """

    members: int = 200_000
    total_bytes: int = 20 * 2**30
    member_bytes: int = 40 * 2**20
    ratio: float = 100.0
    path_length: int = 400


@dataclass(frozen=True, slots=True)
class Member:
    """A file: its path inside, with ``/`` between the parts, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is not taken, and a sentence that says why."""

    name: str
    reason: str


class Source(Protocol):
    """An archive or a folder that has been opened.

    Attributes
    ----------
    names : tuple of str
        Paths of the files that can be read, in the order in which they will be.
    left_out : tuple of LeftOut
        Files that are refused for what they are, without reading them.
    skipped : int
        Directories and what systems leave behind (``__MACOSX``, ``.DS_Store``, hidden files).
    """

    names: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    skipped: int

    def read(self, wanted: Container[str] | None = None) -> Iterator[Member | LeftOut]:
        """Read the files one by one, or the wanted ones of them.

        Yields
        ------
        Member or LeftOut
            One for each, in the order of `names`. LeftOut if it is damaged or too large.

        Raises
        ------
        ArchiveError
            If all that was decompressed passes a limit, whatever the headers say.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


def open_archive(path: Path, limits: Limits) -> Source:
    """Open a ZIP archive, having checked its table of contents.

    Raises
    ------
    ArchiveError
        If it is no archive, ends too early, or is made to harm: too many entries, entries
        that overlap, a ratio or a size over the limits.
    """
    raise NotImplementedError


def open_folder(path: Path, limits: Limits) -> Source:
    """Open a folder on this machine; links are not followed.

    Raises
    ------
    ArchiveError
        If there is no such folder, it cannot be read, or it holds more than the limits allow.
    """
    raise NotImplementedError
