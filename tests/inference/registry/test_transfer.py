"""Bundles out of the installation and into it."""

import json
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEvent
from accounts.permissions import Role
from inference.ml.bundle import (
    CARD_NAME,
    FEATURES_NAME,
    HEAD_NAME,
    KERAS_NAME,
    TFLITE_NAME,
)
from inference.ml.sidecar import Head
from inference.models import ModelVersion
from inference.registry.selectors import bundle_folder
from inference.registry.services import bundle_register
from tests.bundles import make_bundle, with_hashes_of_today
from tests.factories import UserFactory, activate

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

Change = Callable[[Path], object]


@pytest.fixture
def web(client: Client) -> Client:
    client.force_login(UserFactory.create(role=Role.ADMIN))
    return client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", "theirs")


def packed(folder: Path, *, method: int = zipfile.ZIP_STORED) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for path in sorted(folder.iterdir()):
            archive.write(path, path.name)
    return target.getvalue()


def send(web: Client, data: bytes) -> tuple[int, str]:
    file = SimpleUploadedFile("bundle.zip", data)
    response = web.post("/models/import/", {"bundle": file})
    return response.status_code, " ".join(response.content.decode().split())


def test_a_bundle_goes_out_and_comes_in(web: Client, folder: Path) -> None:
    version = bundle_register(folder=folder, by=None)
    response = web.get(f"/models/{version.pk}/export/")
    data = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    assert 'filename="theirs.zip"' in response["Content-Disposition"]
    assert AuditEvent.objects.get(action="model_exported").details == {"file": "bundle"}
    before = {path.name: path.read_bytes() for path in bundle_folder(version).iterdir()}
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == before

    for path in bundle_folder(version).iterdir():
        path.unlink()
    bundle_folder(version).rmdir()
    version.delete()
    status, _ = send(web, data)
    assert status == 302
    again = ModelVersion.objects.get()
    assert (again.version, again.origin) == ("theirs", ModelVersion.Origin.IMPORTED)
    assert {path.name: path.read_bytes() for path in bundle_folder(again).iterdir()} == before
    assert AuditEvent.objects.filter(action="model_registered").count() == 2
    assert send(web, data)[0] == 302  # the same once more is the same
    assert ModelVersion.objects.count() == 1


def test_a_damaged_bundle_does_not_go_out(web: Client, folder: Path) -> None:
    version = bundle_register(folder=folder, by=None)
    (bundle_folder(version) / HEAD_NAME).write_bytes(b"damaged")
    response = web.get(f"/models/{version.pk}/export/")
    assert response.status_code == 503
    assert not AuditEvent.objects.filter(action="model_exported").exists()


def write_head(folder: Path, kernel: np.ndarray) -> None:
    Head(kernel.astype(np.float32), np.zeros(kernel.shape[1], np.float32)).save(folder / HEAD_NAME)
    with_hashes_of_today(folder)


def change_card(folder: Path, name: str, value: object) -> None:
    card = json.loads((folder / CARD_NAME).read_text())
    card[name] = value
    (folder / CARD_NAME).write_text(json.dumps(card))


def write_bomb(folder: Path) -> None:
    with zipfile.ZipFile(folder / FEATURES_NAME, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("features.npy", b"\0" * (300 * 2**20))
    with_hashes_of_today(folder)


def write_no_network(folder: Path) -> None:
    (folder / TFLITE_NAME).write_bytes(b"no network at all")
    with_hashes_of_today(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda f: (f / TFLITE_NAME).write_bytes(b"x"), "SHA-256 differs"),
        (lambda f: (f / HEAD_NAME).unlink(), "do not name the same files: head.npz"),
        (lambda f: (f / CARD_NAME).unlink(), "holds no card.json"),
        (lambda f: (f / CARD_NAME).write_text("{"), "card of the bundle cannot be used"),
        (lambda f: (f / CARD_NAME).write_text("[" * 100_000), "card of the bundle cannot be used"),
        (lambda f: change_card(f, "schema", 1), "made by another version of the program"),
        (lambda f: change_card(f, "version", "../../etc"), "its version is no plain name"),
        (lambda f: change_card(f, "metrics", {"a": float("nan")}), "figures that are no numbers"),
        (lambda f: change_card(f, "dataset", {"a": "\0"}), "the character NUL"),
        (lambda f: change_card(f, "classes", ["b", "b"]), "not distinct"),
        (lambda f: write_head(f, np.ones((3, 3))), "does not have the shapes"),
        (lambda f: write_head(f, np.full((3, 2), np.nan)), "not all numbers (NaN"),
        (write_no_network, "cannot be loaded"),
        (write_bomb, "would unpack to more than"),
        (lambda f: (f / "run.py").write_text("print()"), "no file of a bundle"),
        (lambda f: (f / KERAS_NAME).write_bytes(b"x"), "do not name the same files: model.keras"),
    ],
)
def test_what_is_no_sound_bundle_is_refused(
    change: Change, sentence: str, web: Client, folder: Path
) -> None:
    change(folder)
    status, page = send(web, packed(folder))
    assert status == 422
    assert sentence in page.replace("&#x27;", "'")
    assert not ModelVersion.objects.exists()
    assert not list(bundle_folder(ModelVersion(version="x")).parent.glob("*"))


def with_member(data: bytes, name: str, content: bytes, *, mode: int = 0o644) -> bytes:
    target = BytesIO(data)
    with zipfile.ZipFile(target, "a", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.external_attr = mode << 16
        archive.writestr(member, content, compress_type=zipfile.ZIP_DEFLATED)
    return target.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_made_to_harm(web: Client, folder: Path) -> None:
    data = packed(folder)
    (folder / HEAD_NAME).unlink()
    (folder / TFLITE_NAME).unlink()
    less = packed(folder)
    for archive, sentence in (
        (b"MZ no archive", "no whole ZIP archive"),
        (data[: len(data) // 2], "no whole ZIP archive"),
        (b"", "empty"),
        (with_member(data, "../evil", b"x"), "no file of a bundle"),
        (with_member(data, "/etc/passwd", b"x"), "no file of a bundle"),
        (with_member(data, "bundle/card.json", b"x"), "no file of a bundle"),
        (with_member(data, HEAD_NAME, b"x"), "holds a file twice"),
        (with_member(less, HEAD_NAME, b"/etc/passwd", mode=0o120777), "a link, or encrypted"),
        (with_member(less, HEAD_NAME, b"\0" * 20_000_000), "more than 100 times its size"),
    ):
        status, page = send(web, archive)
        assert (status, sentence in page) == (422, True), sentence
    many = data
    for number in range(4):
        many = with_member(many, f"{number}.txt", b"x")
    assert "holds 9 files" in send(web, many)[1]
    assert not ModelVersion.objects.exists()


def test_a_bundle_may_be_larger_than_a_picture_but_not_than_its_own_limit(
    web: Client, folder: Path, settings: Settings
) -> None:
    settings.UPLOAD_MAX_BYTES = 1000
    assert send(web, packed(folder))[0] == 302
    settings.MODEL_UPLOAD_MAX_BYTES = 2000
    status, page = send(web, packed(folder))
    assert status == 422
    assert "larger than 0 MB (MODEL_UPLOAD_MAX_MB)" in page


def test_another_bundle_of_a_known_version_is_refused_and_harms_nothing(
    web: Client, folder: Path, tmp_path: Path
) -> None:
    ours = activate(bundle_register(folder=make_bundle(tmp_path / "ours", "theirs"), by=None))
    before = (bundle_folder(ours) / HEAD_NAME).read_bytes()
    write_head(folder, np.ones((3, 2)))
    status, page = send(web, packed(folder))
    assert status == 422
    assert "Another bundle is registered as theirs" in page
    assert (bundle_folder(ours) / HEAD_NAME).read_bytes() == before


def test_a_full_disk_is_said_and_leaves_nothing(
    web: Client, folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inference.registry.services.shutil.copytree", full)
    status, page = send(web, packed(folder))
    assert status == 422
    assert "The server cannot keep it: No space left on device." in page
    assert not ModelVersion.objects.exists()
    left = [path for path in Path(settings.MEDIA_ROOT).rglob("*") if path.is_file()]
    assert left == []
