"""What leads outside, lies about its size or is damaged does not get through the archive's gate."""

import io
import os
import random
import stat
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.ml.datasets.archive import Archive, Folder, LeftOut, Limits, Member, Source
from inference.ml.datasets.contents import ArchiveError

LIMITS = Limits(
    members=100, total_bytes=20 * 2**20, member_bytes=4 * 2**20, ratio=50, path_length=80
)
pytestmark = pytest.mark.unit


def zipped(
    files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED, **attributes: int
) -> bytes:
    """A ZIP archive; `attributes` are set on every entry."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            entry.external_attr = 0o644 << 16
            for attribute, value in attributes.items():
                setattr(entry, attribute, value)
            archive.writestr(entry, data)
    return target.getvalue()


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Archive]:
    def open_it(data: bytes, limits: Limits = LIMITS) -> Archive:
        path = tmp_path / "archive.zip"
        path.write_bytes(data)
        return Archive(path, limits)

    return open_it


def reasons(source: Source) -> dict[str, str]:
    refused = [*source.left_out, *(file for file in source.read() if isinstance(file, LeftOut))]
    return {file.name: file.reason for file in refused}


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_are_read_in_order_and_only_the_wanted_ones(
    opened: Callable[..., Archive], method: int
) -> None:
    files = {f"set/A/{number}.png": noise(300_000, number) for number in range(3)}
    with opened(zipped(files, method=method)) as archive:
        assert archive.names == tuple(files)
        assert list(archive.read()) == [Member(name, data) for name, data in files.items()]
        assert list(archive.read({"set/A/1.png"})) == [Member("set/A/1.png", files["set/A/1.png"])]


def test_folders_and_what_systems_leave_are_skipped_and_counted(
    opened: Callable[..., Archive],
) -> None:
    rubbish = ["a/", "__MACOSX/a/._1.png", "a/.DS_Store", "a/Thumbs.db", ".git/config"]
    with opened(zipped({**dict.fromkeys(rubbish, b""), "a/1.png": b"1"})) as archive:
        assert archive.names == ("a/1.png",)
        assert archive.left_out == ()
        assert archive.skipped == len(rubbish)


@pytest.mark.parametrize(
    "name",
    [
        "../out.png",
        "a/../../out.png",
        "/etc/out.png",
        "C:/out.png",
        "c:out.png",
        "..\\out.png",
        "a\\b.png",
        "a//b.png",
        "a/./b.png",
        "a/b\n.png",
        "a/" + 100 * "x" + ".png",
    ],
)
def test_a_path_that_leads_outside_is_left_out(opened: Callable[..., Archive], name: str) -> None:
    with opened(zipped({name: b"1", "a/1.png": b"1"})) as archive:
        assert archive.names == ("a/1.png",)
        assert len(archive.left_out) == 1
        assert "\n" not in archive.left_out[0].name


def test_a_nul_in_a_name_hides_nothing(opened: Callable[..., Archive]) -> None:
    data = zipped({"a/1.pngX.exe": b"1"}).replace(b"1.pngX", b"1.png\0")
    with opened(data) as archive:
        assert archive.names == ()
        assert "no text" in archive.left_out[0].reason


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFDIR])
def test_links_and_devices_are_left_out(opened: Callable[..., Archive], kind: int) -> None:
    data = zipped({"a/1.png": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16)
    with opened(data) as archive:
        assert "link" in reasons(archive)["a/1.png"]


def test_what_cannot_be_unpacked_is_left_out(opened: Callable[..., Archive]) -> None:
    with opened(zipped({"a/1.png": b"1"}, method=zipfile.ZIP_BZIP2)) as archive:
        assert "Deflate" in reasons(archive)["a/1.png"]
    locked = bytearray(zipped({"a/1.png": b"1"}))
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    with opened(bytes(locked)) as archive:
        assert "password" in reasons(archive)["a/1.png"]
    with opened(zipped({"a/inner.zip": b"PK\x03\x04"})) as archive:
        assert "Unpack it first" in reasons(archive)["a/inner.zip"]


def test_a_damaged_file_is_left_out_and_the_rest_is_read(opened: Callable[..., Archive]) -> None:
    files = {"a/1.png": noise(1000, 1), "a/2.png": noise(1000, 2)}
    data = bytearray(zipped(files, method=zipfile.ZIP_STORED))
    data[data.index(files["a/1.png"]) + 500] ^= 1
    with opened(bytes(data)) as archive:
        first, second = archive.read()
    assert isinstance(first, LeftOut)
    assert "damaged" in first.reason
    assert second == Member("a/2.png", files["a/2.png"])


def test_of_two_files_of_one_name_the_first_is_taken(opened: Callable[..., Archive]) -> None:
    data = zipped({"a/1.png": b"first", "a/2.png": b"second"}).replace(b"a/2.png", b"a/1.png")
    with opened(data) as source:
        assert list(source.read()) == [Member("a/1.png", b"first")]
        assert "two files" in source.left_out[0].reason


def test_a_name_in_utf8_is_read_though_it_does_not_say_so(opened: Callable[..., Archive]) -> None:
    data = zipped({"Zellen-xx/1.png": b"1"}).replace(b"xx", "ä".encode())
    with opened(data) as archive:
        assert archive.names == ("Zellen-ä/1.png",)


def test_too_many_files_too_many_bytes(opened: Callable[..., Archive]) -> None:
    with pytest.raises(ArchiveError, match="more than 100 files"):
        opened(zipped({f"{number}.png": b"" for number in range(101)}))
    many = {f"a/{number}.png": noise(2**20, number) for number in range(21)}
    with pytest.raises(ArchiveError, match="larger than 20 MB"):
        opened(zipped(many, method=zipfile.ZIP_STORED))
    with opened(zipped({"a/1.bmp": noise(5 * 2**20)})) as archive:
        assert "larger than 4 MB" in reasons(archive)["a/1.bmp"]


def test_a_bomb_is_refused(opened: Callable[..., Archive]) -> None:
    with pytest.raises(ArchiveError, match="ZIP bomb"):
        opened(zipped({"a/1.bmp": bytes(4 * 2**20)}))
    among_others = {"a/1.bmp": bytes(3 * 2**20), "a/2.bmp": noise(10**6)}
    with opened(zipped(among_others)) as archive:
        assert "ZIP bomb" in reasons(archive)["a/1.bmp"]


def lying(data: bytes, size: int, packed: int | None = None) -> bytes:
    """The only entry's sizes in the table of contents, and in the file's own header, changed."""
    changed = bytearray(data)
    for signature, at in ((b"PK\x01\x02", 20), (b"PK\x03\x04", 18)):
        start = changed.index(signature) + at
        if packed is not None:
            struct.pack_into("<L", changed, start, packed)
        struct.pack_into("<L", changed, start + 4, size)
    return bytes(changed)


def test_a_bomb_that_lies_about_its_size_is_cut_short(opened: Callable[..., Archive]) -> None:
    bomb = lying(zipped({"a/1.bmp": bytes(200 * 2**20)}), 1000)
    tracemalloc.start()
    with opened(bomb) as archive:
        assert "damaged" in reasons(archive)["a/1.bmp"]
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()


def test_bytes_are_counted_as_they_come_whatever_the_headers_say(
    opened: Callable[..., Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the checks of the headers had a hole."""
    bomb = zipped({f"a/{number}.bmp": bytes(3 * 2**20) for number in range(8)})
    monkeypatch.setattr("inference.ml.datasets.archive._check_sizes", lambda *given: None)
    monkeypatch.setattr("inference.ml.datasets.archive._entry_refused", lambda *given: "")
    with opened(bomb) as archive, pytest.raises(ArchiveError, match="bomb"):
        list(archive.read())


def test_files_that_share_their_bytes_are_refused(opened: Callable[..., Archive]) -> None:
    """A “better ZIP bomb”: every entry of the table of contents points at one kernel."""
    kernel = zipped({"a/1.png": noise(1000)})
    start = kernel.index(b"PK\x01\x02")
    end = kernel.index(b"PK\x05\x06")
    table = kernel[start:end] * 50
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, len(table), start, 0)
    with pytest.raises(ArchiveError, match="overlap"):
        opened(kernel[:start] + table + closing)


def test_files_that_quote_each_others_headers_are_refused(opened: Callable[..., Archive]) -> None:
    first = zipped({"a/1.png": noise(1000, 1)}, method=zipfile.ZIP_STORED)
    inner = first[: first.index(b"PK\x01\x02")]
    outer = zipped({"a/0.png": inner}, method=zipfile.ZIP_STORED)
    start = outer.index(b"PK\x01\x02", len(inner))
    entry = bytearray(first[len(inner) : first.index(b"PK\x05\x06")])
    struct.pack_into("<L", entry, 42, outer.index(inner))
    table = outer[start : outer.rindex(b"PK\x05\x06")] + entry
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(table), start, 0)
    with pytest.raises(ArchiveError, match="overlap"):
        opened(outer[:start] + table + closing)


def with_long_end(data: bytes, *, entries: int, length: int | None = None) -> bytes:
    """An archive whose end is told in 64 bits, truly or not."""
    start, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    length = end - start if length is None else length
    record = struct.pack(
        "<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, length, start
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1)
    return data[:end] + record + locator + data[end:]


def test_an_end_in_64_bits_is_read_and_its_lies_are_refused(
    opened: Callable[..., Archive],
) -> None:
    data = zipped({"a/1.png": b"1", "a/2.png": b"2"})
    with opened(with_long_end(data, entries=2)) as archive:
        assert archive.names == ("a/1.png", "a/2.png")
    for entries, length in ((10**12, None), (1, None), (2, 2**62), (2, 10)):
        with pytest.raises(ArchiveError):
            opened(with_long_end(data, entries=entries, length=length))


def test_a_huge_table_of_contents_is_not_read_into_memory(opened: Callable[..., Archive]) -> None:
    entry = zipped({"a": b""})
    entry = entry[entry.index(b"PK\x01\x02") : entry.index(b"PK\x05\x06")]
    table = entry * 200_000
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(table), 0, 0)
    data = table + closing
    tracemalloc.start()
    with pytest.raises(ArchiveError, match="more than 100 files"):
        opened(data)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"no archive at all" * 10])
def test_what_is_no_archive_is_refused(opened: Callable[..., Archive], data: bytes) -> None:
    with pytest.raises(ArchiveError, match="no ZIP archive"):
        opened(data)


def test_an_archive_that_ends_too_early_is_refused(opened: Callable[..., Archive]) -> None:
    data = zipped({"a/1.png": noise(1000)})
    for end in (10, 500, len(data) - 30, len(data) - 1):
        with pytest.raises(ArchiveError, match="ends too early"):
            opened(data[:end])


names = st.text(
    st.one_of(st.sampled_from("./\\:ab\0\n~"), st.characters(exclude_categories=["Cs"])),
    min_size=1,
    max_size=30,
)


@pytest.mark.property
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(written=st.lists(names, min_size=1, max_size=5, unique=True))
def test_no_name_leads_outside(written: list[str], tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(zipped(dict.fromkeys(written, b"1")))
    root = Path("/somewhere/inside")
    with Archive(path, LIMITS) as archive:
        read = [file.name for file in archive.read()]
    for name in read:
        assert Path(os.path.normpath(root / name)).is_relative_to(root)
        assert len(Path(os.path.normpath(root / name)).parts) == 3 + len(name.split("/"))
    assert len(read) + len(archive.left_out) + archive.skipped == len(written)


@pytest.mark.property
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_mutated_archive_is_read_refused_or_left_out_but_never_breaks(
    data: st.DataObject, tmp_path: Path
) -> None:
    files = {"a/1.png": noise(200), "b/2.png": zlib.compress(noise(50)), "ü/": b""}
    whole = zipped(files)
    if data.draw(st.booleans()):
        whole = with_long_end(whole, entries=3)
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of the changes in headers, not in the pictures' bytes.
        starts = [at for at in range(len(changed) - 4) if changed[at : at + 2] == b"PK"] or [0]
        at = data.draw(st.sampled_from(starts)) + data.draw(st.integers(0, 60))
        if at < len(changed):
            changed[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del changed[data.draw(st.integers(0, len(changed))) :]
    path = tmp_path / "archive.zip"
    path.write_bytes(changed)
    try:
        with Archive(path, LIMITS) as archive:
            read = list(archive.read())
    except ArchiveError:
        return
    assert all(len(file.data) <= 10**6 for file in read if isinstance(file, Member))


def test_a_folder_is_read_like_an_archive_and_no_link_is_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    root = tmp_path / "set"
    (root / "A").mkdir(parents=True)
    (root / "A" / "1.png").write_bytes(b"1")
    (root / "A" / "2.png").symlink_to(secret)
    (root / "B").symlink_to(tmp_path)
    (root / ".hidden").mkdir()
    (root / ".hidden" / "3.png").write_bytes(b"3")
    (root / "A" / "large.bmp").write_bytes(bytes(LIMITS.member_bytes + 1))
    os.mkfifo(root / "A" / "fifo.png")
    with Folder(root, LIMITS) as folder:
        assert list(folder.read()) == [Member("A/1.png", b"1")]
        assert {file.name for file in folder.left_out} == {
            "A/2.png",
            "A/fifo.png",
            "A/large.bmp",
            "B",
        }
        assert folder.skipped == 2


def test_a_link_that_takes_a_files_place_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "A").mkdir(parents=True)
    file = root / "A" / "1.png"
    file.write_bytes(b"1")
    with Folder(root, LIMITS) as folder:
        file.unlink()
        file.symlink_to(tmp_path)
        (one,) = folder.read()
    assert isinstance(one, LeftOut)


def test_a_folder_is_bounded_too(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="no folder"):
        Folder(tmp_path / "nowhere", LIMITS)
    for number in range(3):
        (tmp_path / f"{number}.bmp").write_bytes(bytes(1000))
    with pytest.raises(ArchiveError, match="more than 2 files"):
        Folder(tmp_path, Limits(members=2))
    with Folder(tmp_path, Limits(total_bytes=2500)) as folder, pytest.raises(ArchiveError):
        list(folder.read())
