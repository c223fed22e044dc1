"""The wizard for plain Keras files: from the upload to a candidate, or to a sentence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from accounts.models import AuditEvent, User
from inference.engines import engine_for
from inference.exchange import services
from inference.jobs import child, queue
from inference.ml.keras_import.options import Options
from inference.ml.smear import make_smear
from inference.models import Job, KerasImport, ModelVersion
from inference.registry.selectors import bundle_problem
from tests.ml.keras_import.files import layer, model, write_h5, write_keras

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

Work = Callable[[], Job]
TOLD = {
    "class_0": "Eosinophil",
    "class_1": "lymphocyte",
    "class_2": "monocyte",
    "class_3": "neutrophil",
    "scale": "0..1",
    "colours": "rgb",
    "interpolation": "nearest",
}


def upload(web: Client, path: Path) -> KerasImport:
    response = web.post(
        "/models/keras/", {"file": SimpleUploadedFile(path.name, path.read_bytes())}
    )
    assert response.status_code == 302, response.content.decode()
    return KerasImport.objects.latest("pk")


def test_a_file_becomes_a_candidate(web: Client, tmp_path: Path, work: Work, admin: User) -> None:
    row = upload(web, write_h5(tmp_path / "their model.h5"))
    address = f"/models/keras/{row.pk}/"
    assert "Make the model" not in web.get(address).content.decode()
    assert web.post(address, TOLD).status_code == 200  # nothing to tell yet
    assert work().status == "done", Job.objects.get().error

    page = web.get(address).content.decode()
    assert "a plain chain of convolutions" in page
    assert 'value="eosinophil"' in page  # suggested
    response = web.post(address, TOLD | {"class_1": "eosinophil"})
    assert response.status_code == 422
    assert "each another" in response.content.decode()
    assert web.post(address, TOLD).status_code == 302
    job = work()
    assert job.status == "done", job.error

    row.refresh_from_db()
    version = row.model_version
    assert version is not None
    assert (version.origin, version.registered_by) == (ModelVersion.Origin.IMPORTED, admin)
    assert version.classes == ["eosinophil", "lymphocyte", "monocyte", "neutrophil"]
    assert version.card["preprocessing"]["interpolation"] == "nearest"
    assert bundle_problem(version) is None
    assert len(engine_for(version).classify(make_smear(1).image).cells) == 1
    assert not row.path.exists()
    queue.tidy(job)  # as the worker does
    assert not list(job.folder.glob("*/*"))
    page = web.get(address, follow=True).content.decode()
    assert "Unfamiliar cells cannot be recognised by this model" in page
    assert "Whole pictures" in page
    actions = set(AuditEvent.objects.filter(actor=admin).values_list("action", flat=True))
    assert {"keras_file_received", "keras_import_started", "model_registered"} <= actions


def test_a_file_with_code_ends_in_a_sentence(web: Client, tmp_path: Path, work: Work) -> None:
    row = upload(web, write_keras(tmp_path / "evil.keras", model(layer("Lambda", "lambda"))))
    job = work()

    assert job.status == "failed"
    assert "Lambda layer: code of its own, which is never run here" in job.error
    page = web.get(f"/models/keras/{row.pk}/").content.decode()
    assert "Lambda layer" in page
    assert "Make the model" not in page
    assert not ModelVersion.objects.exists()


def test_the_same_model_is_taken_once(web: Client, tmp_path: Path, work: Work) -> None:
    path = write_h5(tmp_path / "a.h5")
    first = upload(web, path)
    work()
    web.post(f"/models/keras/{first.pk}/", TOLD)
    assert work().status == "done"
    second = upload(web, path)
    work()
    response = web.post(f"/models/keras/{second.pk}/", TOLD)
    assert response.status_code == 422
    assert f"is {ModelVersion.objects.get()} already" in response.content.decode()
    assert web.post(f"/models/keras/{second.pk}/", TOLD | {"scale": "0..255"}).status_code == 302


def test_a_model_that_a_killed_attempt_has_registered_is_taken(
    web: Client, tmp_path: Path, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = upload(web, write_h5(tmp_path / "a.h5"))
    work()
    web.post(f"/models/keras/{row.pk}/", TOLD)
    with monkeypatch.context() as patch:
        patch.setattr(child.Running, "result", killed)
        with pytest.raises(KeyboardInterrupt):
            work()
    version = ModelVersion.objects.get()
    Job.objects.filter(status=Job.Status.RUNNING).update(status=Job.Status.QUEUED)

    assert work().status == "done"
    row.refresh_from_db()
    assert row.model_version == version


def killed(running: child.Running) -> None:
    raise KeyboardInterrupt


def test_files_are_kept_under_their_hash_and_within_bounds(admin: User, settings: Settings) -> None:
    settings.MODEL_UPLOAD_MAX_BYTES = 10
    with pytest.raises(ValidationError, match="larger than"):
        services.keras_import_begin(file_name="a", chunks=[b"x" * 6, b"x" * 6], by=admin)
    with pytest.raises(ValidationError, match="empty"):
        services.keras_import_begin(file_name="a", chunks=[], by=admin)
    assert list(KerasImport.folder().iterdir()) == []
    row = services.keras_import_begin(file_name="../../a.h5", chunks=[b"x"], by=admin)
    assert row.file_name == "a.h5"
    assert [path.name for path in KerasImport.folder().iterdir()] == [row.file_sha256]


def test_a_file_that_nobody_comes_back_for_is_forgotten(admin: User) -> None:
    row = services.keras_import_begin(file_name="a.h5", chunks=[b"x"], by=admin)
    KerasImport.objects.update(created_at=row.created_at - 2 * services.KEEP_FILE)
    services.forget_files()
    assert row.path.exists()  # written a moment ago: by an upload that has no row yet, perhaps
    os.utime(row.path, (0, 0))
    services.forget_files()
    assert not row.path.exists()
    KerasImport.objects.update(recognised={"classes": 2})
    Job.objects.update(status=Job.Status.DONE)
    with pytest.raises(ValidationError, match="no longer there"):
        services.keras_import_tell(keras_import=row, options=Options(("a", "b"), "0..1"), by=admin)


def test_nothing_can_be_told_of_a_file_that_is_being_read(admin: User) -> None:
    row = services.keras_import_begin(file_name="a.h5", chunks=[b"x"], by=admin)
    with pytest.raises(ValidationError, match="still being read"):
        services.keras_import_tell(keras_import=row, options=Options(("a", "b"), "0..1"), by=admin)
