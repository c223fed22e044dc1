"""Classifiers for small devices: from the button to the files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent, User
from inference.datasets.selectors import listing_of
from inference.exchange import runners
from inference.exchange.services import edge_export_start
from inference.jobs import queue
from inference.models import DatasetVersion, EdgeExport, Job, ModelVersion, TrainingRun
from inference.registry.services import bundle_register
from tests.bundles import make_bundle
from tests.factories import ModelVersionFactory, dataset_version
from tests.ml.tiny import write_tiny_bundle

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

Work = Callable[[], Job]
CAN_BE_EXPORTED = {"unfamiliarity": {"score": "x"}, "files": {"model.keras": "0"}}


@pytest.fixture
def exportable() -> ModelVersion:
    """A version whose card says that it could be exported; there are no files."""
    version = ModelVersionFactory.create()
    version.card |= CAN_BE_EXPORTED
    version.save()
    return version


def test_one_export_of_a_version_waits_at_a_time(exportable: ModelVersion, admin: User) -> None:
    export = edge_export_start(model_version=exportable, by=admin)
    assert edge_export_start(model_version=exportable, by=admin) == export
    assert AuditEvent.objects.filter(action="edge_export_started", actor=admin).count() == 1
    Job.objects.update(status=Job.Status.FAILED)
    assert edge_export_start(model_version=exportable, by=admin) != export


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"unfamiliarity": None}, "trained elsewhere"),
        ({"unfamiliarity": {"score": "x"}, "files": {}}, r"holds no model\.keras"),
    ],
)
def test_what_cannot_be_exported_says_why(
    web: Client, admin: User, card: dict[str, object], sentence: str
) -> None:
    version = ModelVersionFactory.create()
    version.card |= card
    version.save()
    with pytest.raises(ValidationError, match=sentence):
        edge_export_start(model_version=version, by=admin)
    page = web.get(f"/models/{version.pk}/").content.decode()
    assert "Make the classifiers" not in page
    assert not Job.objects.exists()


def test_without_a_dataset_or_with_others_it_fails_in_a_sentence(
    tmp_path: Path, admin: User, work: Work, exportable: ModelVersion
) -> None:
    registered = bundle_register(folder=make_bundle(tmp_path / "b", "b"), by=None)
    registered.card |= CAN_BE_EXPORTED
    registered.save()
    edge_export_start(model_version=registered, by=admin)
    assert "There is no dataset." in work().error
    edge_export_start(model_version=exportable, by=admin)
    job = work()
    assert job.status == "failed"
    assert job.error.endswith(".")


def test_what_was_corrected_since_the_training_stands_in_nobodys_way(
    exportable: ModelVersion, admin: User
) -> None:
    taught = dataset_version(("monocyte", "neutrophil"), each=3)
    run = TrainingRun.objects.create(
        job=queue.job_create(kind=Job.Kind.TRAINING, by=admin),
        class_map={"monocyte": "mono"},
        model_version=exportable,
    )
    run.dataset_versions.set([taught])
    corrected = DatasetVersion.objects.create(
        dataset=taught.dataset, number=taught.number + 1, source=DatasetVersion.Source.EDIT
    )
    for image in taught.images.all():
        image.pk, image.version, image.label = None, corrected, "neutrophil"
        image.save()
    corrected.ready_at = timezone.now()
    corrected.save()
    labels = sorted(item.label for item in runners._cells(exportable))
    assert labels == ["mono"] * 3 + ["neutrophil"] * 3


@pytest.mark.slow
def test_the_files_are_made_measured_shown_and_downloaded(
    web: Client, tmp_path: Path, admin: User, work: Work
) -> None:
    data = dataset_version(("monocyte", "neutrophil"), each=6)
    items = listing_of([data]).items
    sides = ["train", "train", "train", "validation", "test", "test"] * 2
    bundle = write_tiny_bundle(tmp_path / "tiny", items, sides)
    version = bundle_register(folder=bundle.path, by=None)

    assert web.post(f"/models/{version.pk}/edge/").status_code == 302
    job = work()
    assert job.status == "done", job.error
    export = EdgeExport.objects.get()
    assert export.figures == json.loads((export.folder / "edge.json").read_text())
    page = web.get(f"/models/{version.pk}/").content.decode()
    assert "8-bit integers" in page
    assert "Make the classifiers again" in page
    for name in ("classifier-int8.tflite", "classifier-fp32.tflite", "README.txt", "edge.json"):
        assert f"/models/edge/{export.pk}/?name={name}" in page
        response = web.get(f"/models/edge/{export.pk}/", {"name": name})
        assert response.getvalue() == (export.folder / name).read_bytes()
        assert response["Content-Disposition"].startswith("attachment")
    told = AuditEvent.objects.filter(action="model_exported").values_list("details__file")
    assert ("edge/classifier-int8.tflite",) in set(told)
    assert web.get(f"/models/edge/{export.pk}/", {"name": "../../db.sqlite3"}).status_code == 302
