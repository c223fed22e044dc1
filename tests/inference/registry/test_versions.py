"""Which models are known, and which one is in use."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import AuditEvent
from accounts.permissions import Role
from inference import engines
from inference.ml.bundle import BundleError
from inference.models import ModelVersion
from inference.registry.selectors import active_model_version, bundle_folder
from inference.registry.services import bundle_register, model_promote
from tests.bundles import make_bundle
from tests.factories import ModelVersionFactory, UserFactory

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", "model-a")


def put_in_use(version: ModelVersion) -> None:
    model_promote(model_version=version, site=None, reason="A test.", expected_active=None, by=None)


def test_a_bundle_is_copied_and_registered_once(folder: Path) -> None:
    admin = UserFactory.create(role=Role.ADMIN)
    version = bundle_register(folder=folder, by=admin)
    assert bundle_register(folder=folder, by=admin) == version
    assert version.classes == ["lymphocyte", "neutrophil"]
    kept = {path.name for path in bundle_folder(version).iterdir()}
    assert kept == {path.name for path in folder.iterdir()}
    assert AuditEvent.objects.filter(action="model_registered", actor=admin).count() == 1
    assert [path.name for path in bundle_folder(version).parent.iterdir()] == ["model-a"]


def test_the_copy_serves_whatever_becomes_of_the_original(folder: Path) -> None:
    version = bundle_register(folder=folder, by=None)
    for path in folder.iterdir():
        path.unlink()
    put_in_use(version)
    assert active_model_version() == version


def test_a_damaged_bundle_is_refused(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"something else")
    with pytest.raises(BundleError):
        bundle_register(folder=folder, by=None)
    assert not ModelVersion.objects.exists()
    assert not list((Path(settings.MEDIA_ROOT) / "models").glob("*"))


def test_another_bundle_of_the_same_version_is_refused(folder: Path, tmp_path: Path) -> None:
    bundle_register(folder=folder, by=None)
    other = make_bundle(tmp_path / "other", "model-a")
    card = other / "card.json"
    card.write_text(card.read_text().replace('"temperature": 1.0', '"temperature": 2.0'))
    with pytest.raises(BundleError, match="version of its own"):
        bundle_register(folder=other, by=None)
    (bundle_folder(ModelVersion.objects.get()) / "model.tflite").write_bytes(b"damaged")
    with pytest.raises(BundleError, match="version of its own"):
        bundle_register(folder=other, by=None)
    bundle_register(folder=folder, by=None)  # the right one mends it
    put_in_use(ModelVersion.objects.get())


def test_a_model_changed_on_disk_is_not_loaded(folder: Path) -> None:
    version = bundle_register(folder=folder, by=None)
    (bundle_folder(version) / "model.tflite").write_bytes(b"something else")
    with pytest.raises(BundleError):
        engines.engine_for(version)
    with pytest.raises(BundleError):
        put_in_use(version)


def test_the_engine_is_loaded_once_and_follows_the_version() -> None:
    version = bundle_register(folder=Path(settings.MODEL_BUNDLE), by=None)
    engine = engines.engine_for(version)
    assert engines.engine_for(version) is engine
    version.sha256 = "0" * 64
    with pytest.raises(BundleError, match="missing or damaged on the server"):
        engines.engine_for(version)


def test_registering_again_mends_a_damaged_copy(folder: Path) -> None:
    version = bundle_register(folder=folder, by=None)
    (bundle_folder(version) / "model.tflite").write_bytes(b"something else")
    bundle_register(folder=folder, by=None)
    put_in_use(version)
    assert active_model_version() == version


SERVING = """
import sys, django
django.setup()
import analyses.tasks, analyses.views, hematovision.urls, hematovision.wsgi, inference.tasks
import inference.ml.engine, inference.ml.explain
heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "jax", "torch"}
print(sorted(heavy & set(sys.modules)))
"""


def test_web_and_inference_worker_never_import_tensorflow() -> None:
    found = subprocess.run(
        [sys.executable, "-c", SERVING],
        capture_output=True,
        text=True,
        check=True,
        cwd=settings.BASE_DIR,
    )
    assert found.stdout.strip() == "[]"


def test_the_models_page_says_when_a_cell_is_unfamiliar(client: Client) -> None:
    client.force_login(UserFactory.create(role=Role.ADMIN))
    model = ModelVersionFactory.create()
    assert "Unfamiliar above" not in client.get(f"/models/{model.pk}/").content.decode()
    model.card["unfamiliarity"] = {
        "score": "cosine-knn",
        "neighbours": 5,
        "threshold": 0.11312,
        "share": 0.02,
    }
    model.save()
    page = " ".join(client.get(f"/models/{model.pk}/").content.decode().split())
    assert "0.113 from the 5 nearest training cells" in page
    assert "at most 2.0 % of held-back cells" in page
