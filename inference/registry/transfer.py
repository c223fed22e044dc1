"""Bundles out of the installation and into it, as ZIP archives of their files."""

import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from django.conf import settings

from accounts import audit
from accounts.models import User
from inference.ml.bundle import (
    CARD_NAME,
    FEATURES_NAME,
    HEAD_NAME,
    KERAS_NAME,
    MANIFEST_NAME,
    TFLITE_NAME,
    BundleError,
    Card,
    SchemaError,
    load_bundle,
)
from inference.ml.datasets.contents import check_contents
from inference.ml.trial import try_bundle
from inference.models import ModelVersion
from inference.registry.selectors import bundle_folder
from inference.registry.services import bundle_register

FILES = frozenset({CARD_NAME, TFLITE_NAME, HEAD_NAME, FEATURES_NAME, MANIFEST_NAME, KERAS_NAME})
CARD_BYTES = 5 * 2**20
RATIO = 100  # of a file that is unpacked to its size in the archive
SMALL = 2**20  # files of this size may be packed as tightly as they will
ENTRIES = 100  # of an archive whose table of contents is read at all
CHUNK = 2**20
EPOCH = (1980, 1, 1, 0, 0, 0)  # the same files give the same archive


# --- Out -------------------------------------------------------------------------------------
def file_names(model_version: ModelVersion) -> list[str]:
    """The files of a version that can be downloaded one by one."""
    return [CARD_NAME, *sorted(model_version.card.get("files", {}))]


def bundle_export(*, model_version: ModelVersion, by: User) -> Iterator[bytes]:
    """Record a download, and give the archive piece by piece.

    Raises:
        inference.ml.bundle.BundleError: the files are not whole.
    """
    bundle = load_bundle(bundle_folder(model_version))
    audit.record(audit.Action.MODEL_EXPORTED, actor=by, subject=model_version, file="bundle")
    return _packed(bundle.path, [CARD_NAME, *sorted(bundle.card.files)])


class _Pipe:
    """What an archive is written to, and taken from before it is whole."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


def _packed(folder: Path, names: list[str]) -> Iterator[bytes]:
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:  # type: ignore[call-overload]
        for name in names:
            member = ZipInfo(name, EPOCH)
            member.external_attr = 0o644 << 16
            with archive.open(member, "w") as target, (folder / name).open("rb") as source:
                while chunk := source.read(CHUNK):
                    target.write(chunk)
                    yield pipe.take()
            yield pipe.take()
    yield pipe.take()


# --- In --------------------------------------------------------------------------------------
def bundle_import(*, file: BinaryIO, by: User) -> ModelVersion:
    """Check an archive that came from outside, try its model, and register it as a candidate.

    Nothing is taken from the archive but files of a bundle's names, one level deep. The network
    is loaded in a process of its own.

    Raises:
        inference.ml.bundle.BundleError: it is no bundle, harms, does not answer, or another one is
            registered under its version.
    """
    incoming = Path(settings.MEDIA_ROOT) / "incoming"
    incoming.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=incoming, prefix="bundle-") as temporary:
        folder = Path(temporary)
        try:
            check_contents(file, most=ENTRIES)
            with ZipFile(file) as archive:
                _unpack(archive, folder)
        except (BundleError, OSError):
            raise
        except Exception as error:  # zipfile lets through whatever a broken archive leads it to
            raise BundleError(
                "This is no whole ZIP archive of a bundle. Download it again and send that file."
            ) from error
        try_bundle(folder)
        return bundle_register(folder=folder, by=by)


def _unpack(archive: ZipFile, folder: Path) -> None:
    members = archive.infolist()
    if len(members) > len(FILES):
        raise BundleError(f"The archive holds {len(members)} files, a bundle {len(FILES)} at most.")
    for member in members:
        _check_member(member)
    by_name = {member.filename: member for member in members}
    if len(by_name) < len(members):
        raise BundleError("The archive holds a file twice. Export the bundle again.")
    if CARD_NAME not in by_name:
        raise BundleError(
            f"The archive holds no {CARD_NAME}: it is no bundle. Its files must lie at the top, "
            "in no folder."
        )
    total = sum(member.file_size for member in members)
    if total > settings.MODEL_UPLOAD_MAX_BYTES:
        raise BundleError(
            f"The bundle is larger than {settings.MODEL_UPLOAD_MAX_BYTES // 2**20} MB "
            "(MODEL_UPLOAD_MAX_MB)."
        )
    described = {CARD_NAME, *_read_card(archive, by_name[CARD_NAME]).files}
    if described != set(by_name):
        odd = ", ".join(sorted(described ^ set(by_name)))
        raise BundleError(f"The archive and its card do not name the same files: {odd}.")
    for name, member in by_name.items():
        with archive.open(member) as source, (folder / name).open("wb") as target:
            left = member.file_size  # zipfile gives no more than this, and checks the sum
            while left > 0 and (chunk := source.read(min(CHUNK, left))):
                target.write(chunk)
                left -= len(chunk)


def _check_member(member: ZipInfo) -> None:
    name = member.filename
    if name not in FILES:
        raise BundleError(
            f"The archive holds {name[:80]!r}, which is no file of a bundle. Send the archive as "
            "it was exported."
        )
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG) or member.flag_bits & 1:
        raise BundleError(f"{name} in the archive is a link, or encrypted. Export it again.")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BundleError(f"{name} is packed in a way that is not read. Export the bundle again.")
    if member.file_size > max(SMALL, RATIO * member.compress_size):
        raise BundleError(f"{name} would unpack to more than {RATIO} times its size: refused.")
    if name == CARD_NAME and member.file_size > CARD_BYTES:
        raise BundleError(f"{CARD_NAME} is larger than {CARD_BYTES // 2**20} MB.")


def _read_card(archive: ZipFile, member: ZipInfo) -> Card:
    try:
        return Card.from_json(archive.read(member).decode())
    except SchemaError as error:
        raise SchemaError(
            f"The bundle was made by another version of the program: {error}. Export it from an "
            "installation of this version."
        ) from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"The card of the bundle cannot be used: {error}.") from error
