"""The gate for whole archives and folders: what is in them, read one file at a time.

Nothing is ever extracted: the members of a ZIP archive are decompressed into memory one by one, and
no name from outside becomes a path of ours. The table of contents is counted before Python's
``zipfile`` reads it, which would take all of it into memory whatever its size (``contents.py``).
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Generic, Protocol, Self, TypeVar

from inference.ml.datasets.contents import MALFORMED, ArchiveError, check_contents

_Place = TypeVar("_Place")
_CHUNK = 256 * 2**10
_RATIO_FROM = 2**20  # bytes: a small white picture may well shrink a thousandfold
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: the file, strongly, and the table of contents
_UTF8 = 0x800
_FILE_HEADER = 30  # bytes before a file's name
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst")
_RUBBISH = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin"})
_NOT_ALLOWED = "The path leads outside, or not plainly to a file. Pack the folder anew."


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
        Decompressed over compressed bytes, of the whole and of each file over a megabyte.
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
            If all that was really decompressed passes a limit, whatever the headers say.
        """

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


@dataclass(slots=True)
class _Listing(Generic[_Place]):
    """Sorts paths into those that can be read, those that are refused, and rubbish."""

    limits: Limits
    readable: dict[str, _Place] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)
    skipped: int = 0

    def add(self, path: str, place: _Place, refused: str = "") -> None:
        """Take a path as it is written; `refused` says what else is wrong with the file."""
        name = unicodedata.normalize("NFC", path.removeprefix("./"))
        reason = _reason_against(name, self.limits) or refused
        if not reason and _is_rubbish(name):
            self.skipped += 1
        elif reason:
            self.left_out.append(LeftOut(_shown(name), reason))
        elif name in self.readable:
            self.left_out.append(LeftOut(name, "There are two files of this name: only the first."))
        else:
            self.readable[name] = place


class Archive:
    """A ZIP archive, as a `Source`.

    Parameters
    ----------
    path : Path
    limits : Limits

    Raises
    ------
    ArchiveError
        If it is no archive, ends too early, or is made to harm: too many entries, entries
        that overlap, a ratio or a size over the limits.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise ArchiveError(f"The archive cannot be opened ({error.strerror}).") from error
        try:
            check_contents(self._file, most=limits.members)
            self._zip = zipfile.ZipFile(self._file)
            self._size = os.fstat(self._file.fileno()).st_size
            entries = self._zip.infolist()
            _check_sizes(entries, limits)
            _check_overlaps(entries, self._zip.start_dir)
        except ArchiveError:
            self._file.close()
            raise
        except Exception as error:  # zipfile lets through whatever a broken header leads it to
            self._file.close()
            raise ArchiveError(MALFORMED) from error
        listing: _Listing[zipfile.ZipInfo] = _Listing(limits)
        for entry in entries:
            if entry.orig_filename.endswith("/"):
                listing.skipped += 1
            else:
                listing.add(_path_of(entry), entry, _entry_refused(entry, limits))
        self._entries = listing.readable
        self.names = tuple(self._entries)
        self.left_out = tuple(listing.left_out)
        self.skipped = listing.skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()
        self._file.close()

    def read(self, wanted: Container[str] | None = None) -> Iterator[Member | LeftOut]:
        """See `Source.read`."""
        total = 0
        for name, entry in self._entries.items():
            if wanted is not None and name not in wanted:
                continue
            data = bytearray()
            reason = ""
            try:
                with self._zip.open(entry) as file:
                    while not reason and (chunk := file.read(_CHUNK)):
                        total += len(chunk)
                        self._check_total(total)
                        data += chunk
                        reason = self._too_large(len(data), entry)
            except ArchiveError:
                raise
            except Exception:  # noqa: BLE001  as above: one damaged file must not end the import
                reason = "The file is damaged inside the archive. Pack it anew."
            yield LeftOut(name, reason) if reason else Member(name, bytes(data))

    def _check_total(self, total: int) -> None:
        if total > self._limits.total_bytes:
            raise ArchiveError(_too_many_bytes(self._limits))
        if total > _RATIO_FROM and total > self._limits.ratio * self._size:
            raise ArchiveError(_BOMB)

    def _too_large(self, size: int, entry: zipfile.ZipInfo) -> str:
        if size > self._limits.member_bytes:
            return _too_large(self._limits)
        if size > _RATIO_FROM and size > self._limits.ratio * entry.compress_size:
            return _PACKED_TOO_WELL
        return ""


class Folder:
    """A folder on this machine, as a `Source`; links are not followed.

    Parameters
    ----------
    path : Path
    limits : Limits

    Raises
    ------
    ArchiveError
        If there is no such folder, it cannot be read, or it holds more than the limits allow.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._root = path
        if not path.is_dir():
            raise ArchiveError(f"There is no folder {path}.")
        listing: _Listing[Path] = _Listing(limits)
        found = 0
        for here, folders, files in os.walk(path, onerror=_unreadable, followlinks=False):
            below = Path(here)
            hidden = [name for name in folders if _is_rubbish(name)]
            links = [name for name in folders if (below / name).is_symlink()]
            folders[:] = sorted(set(folders) - set(hidden))
            listing.skipped += len(folders) + len(hidden) - len(links)
            found += len(folders) + len(hidden) + len(files)
            if found > limits.members:
                raise ArchiveError(_too_many(limits))
            for name in sorted([*files, *links]):
                file = below / name
                listing.add(file.relative_to(path).as_posix(), file, _file_refused(file, limits))
        self._files = listing.readable
        self.names = tuple(self._files)
        self.left_out = tuple(listing.left_out)
        self.skipped = listing.skipped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is kept open."""

    def read(self, wanted: Container[str] | None = None) -> Iterator[Member | LeftOut]:
        """See `Source.read`."""
        total = 0
        for name, path in self._files.items():
            if wanted is not None and name not in wanted:
                continue
            try:
                handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                with open(handle, "rb") as file:  # noqa: PTH123  of the handle, not of a path
                    data = file.read(self._limits.member_bytes + 1)
            except OSError as error:
                yield LeftOut(name, f"The file cannot be read ({error.strerror}).")
                continue
            total += len(data)
            if total > self._limits.total_bytes:
                raise ArchiveError(_too_many_bytes(self._limits))
            if len(data) > self._limits.member_bytes:
                yield LeftOut(name, _too_large(self._limits))
            else:
                yield Member(name, data)


_BOMB = (
    "The archive would unpack to far more than pictures do: it looks like a ZIP bomb. "
    "Pack the pictures anew."
)
_PACKED_TOO_WELL = "The file is packed far better than a picture can be: it may be a ZIP bomb."
_OVERLAP = "Files overlap inside the archive, as in a ZIP bomb. Pack the pictures anew."


def _too_many(limits: Limits) -> str:
    return f"There are more than {limits.members:,} files. Make several datasets of it."


def _too_many_bytes(limits: Limits) -> str:
    return (
        f"Unpacked, the files are larger than {_size(limits.total_bytes)} in all. "
        "Make several datasets of them."
    )


def _too_large(limits: Limits) -> str:
    return f"The file is larger than {_size(limits.member_bytes)}."


def _size(count: int) -> str:
    return f"{count / 2**30:.0f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB"


def _path_of(entry: zipfile.ZipInfo) -> str:
    """The path as it was meant: older programs write UTF-8 without saying so."""
    written = entry.orig_filename
    if not entry.flag_bits & _UTF8:
        try:
            return written.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return written


def _reason_against(name: str, limits: Limits) -> str:
    """Why a path is refused; "" if it is not."""
    if len(name) > limits.path_length:
        return f"The path is longer than {limits.path_length} characters."
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):
        return "The path holds characters that are no text."
    parts = name.split("/")
    if "\\" in name or any(part in ("", ".", "..") for part in parts):
        return _NOT_ALLOWED
    if parts[0][1:2] == ":":  # a drive of Windows
        return _NOT_ALLOWED
    if name.lower().endswith(_ARCHIVES):
        return "An archive inside the archive is not opened. Unpack it first."
    return ""


def _is_rubbish(name: str) -> bool:
    return any(part.startswith(".") or part.lower() in _RUBBISH for part in name.split("/"))


def _shown(name: str) -> str:
    """A refused path, to show to a person and to store: short, and text."""
    text = "".join(
        "�" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in name[:400]
    )
    return text or "(no name)"


def _entry_refused(entry: zipfile.ZipInfo, limits: Limits) -> str:
    """Why an entry is refused for what its header says; "" if it is not."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        return "This is a link or another special file, which is not followed."
    if entry.flag_bits & _ENCRYPTED:
        return "The file is locked with a password. Pack it without one."
    if entry.compress_type not in _COMPRESSIONS:
        return "The file is packed by a method other than Deflate. Pack it as an ordinary ZIP."
    if entry.file_size > limits.member_bytes:
        return _too_large(limits)
    if entry.file_size > max(_RATIO_FROM, limits.ratio * entry.compress_size):
        return _PACKED_TOO_WELL
    return ""


def _check_sizes(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    """Refuse by what the headers say; `Archive.read` counts what is really there."""
    size = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if size > limits.total_bytes:
        raise ArchiveError(_too_many_bytes(limits))
    if size > max(_RATIO_FROM, limits.ratio * packed):
        raise ArchiveError(_BOMB)


def _check_overlaps(entries: list[zipfile.ZipInfo], end: int) -> None:
    """Each entry has bytes of its own: a "better ZIP bomb" lets many share the same.

    D. Fifield: A better zip bomb. 13th USENIX Workshop on Offensive Technologies, 2019.
    """
    nearest = end
    for entry in sorted(entries, key=lambda entry: entry.header_offset, reverse=True):
        least = _FILE_HEADER + len(entry.orig_filename) + entry.compress_size
        if entry.header_offset < 0 or entry.header_offset + least > nearest:
            raise ArchiveError(_OVERLAP)
        nearest = entry.header_offset


def _file_refused(path: Path, limits: Limits) -> str:
    try:
        status = path.lstat()
    except OSError as error:
        return f"The file cannot be read ({error.strerror})."
    if not stat.S_ISREG(status.st_mode):
        return "This is a link or another special file, which is not followed."
    return _too_large(limits) if status.st_size > limits.member_bytes else ""


def _unreadable(error: OSError) -> None:
    raise ArchiveError(f"{error.filename} cannot be read ({error.strerror}).") from error
