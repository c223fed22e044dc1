"""The store keeps each file once, whole, under its own hash."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hematovision.files import store

pytestmark = pytest.mark.unit


def kept(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_comes_back_as_it_was(files_folder: Path) -> None:
    sha256 = store.write(b"some bytes")
    assert sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert store.read(sha256) == b"some bytes"
    assert kept(files_folder) == [files_folder / "sha256" / sha256[:2] / sha256[2:4] / sha256]


def test_the_same_bytes_at_the_same_moment_are_kept_once(files_folder: Path) -> None:
    data = os.urandom(200_000)
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: store.write(data), range(32)))
    assert len(names) == 1
    assert len(kept(files_folder)) == 1  # and no temporary file is left
    assert store.read(names.pop()) == data


def test_a_changed_file_is_not_served(files_folder: Path) -> None:
    sha256 = store.write(b"some bytes")
    kept(files_folder)[0].write_bytes(b"other bytes")
    with pytest.raises(store.StoreError, match="damaged"):
        store.read(sha256)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(store.StoreError, match="0000"):
        store.read("0" * 64)


def test_a_failed_write_leaves_nothing(files_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        store.write(b"some bytes")
    assert kept(files_folder) == []


def test_derived_files_are_made_once_and_again_when_gone(files_folder: Path) -> None:
    made = []

    def make() -> bytes:
        made.append(1)
        return b"thumbnail"

    sha256 = store.write(b"original")
    for _ in range(2):
        assert store.derived(sha256, "thumbnail.jpg", make) == b"thumbnail"
    assert len(made) == 1
    next(files_folder.glob("derived/*/*/thumbnail.jpg")).unlink()
    assert store.derived(sha256, "thumbnail.jpg", make) == b"thumbnail"
    assert len(made) == 2


def test_what_broke_off_is_removed_and_nothing_else(files_folder: Path) -> None:
    sha256 = store.write(b"some bytes")
    left = [
        files_folder / "incoming" / "tmp123.upload",
        files_folder / "sha256" / sha256[:2] / sha256[2:4] / ".incoming-abc",
    ]
    for path in left:
        path.write_bytes(b"half of")
    assert store.remove_broken_uploads() == 0  # it may still be arriving
    assert store.remove_broken_uploads(older_than=-1) == 2
    assert store.read(sha256) == b"some bytes"
