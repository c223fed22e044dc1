"""The Kaggle archive: a part of it here, all of it in bench/dataset_import.py."""

from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import User
from inference.datasets.selectors import listing_of
from inference.registry.services import bundle_register
from tests.inference.datasets.conftest import zipped
from tests.inference.datasets.test_importing import imported

pytestmark = [pytest.mark.django_db, pytest.mark.real_images]

EACH = 12


@pytest.fixture
def archive(test_data: Path) -> bytes:
    files: dict[str, bytes] = {}
    for folder in sorted((test_data / "bccd" / "TRAIN").iterdir()):
        for path in sorted(folder.iterdir())[:EACH]:
            name = f"dataset2-master/dataset2-master/images/TRAIN/{folder.name}/{path.name}"
            files[name] = path.read_bytes()
    return zipped(files)


def test_augmented_copies_are_warned_of(archive: bytes, admin: User) -> None:
    version = imported(archive, admin)
    assert version.summary["classes"] == dict.fromkeys(
        ("eosinophil", "lymphocyte", "monocyte", "neutrophil"), EACH
    )
    assert not version.groups_known
    bad = [row["text"] for row in version.summary["sentences"] if row["kind"] == "bad"]
    assert any("augmented copies" in text for text in bad)


def test_the_shipped_model_knows_their_photographs(archive: bytes, admin: User) -> None:
    model = bundle_register(folder=settings.MODEL_BUNDLE, by=None)
    version = imported(archive, admin)
    assert version.groups_known
    assert version.summary["photographs"] < 4 * EACH
    report = (version.folder / "report.html").read_text()
    assert f"are known from the model {model.version}" in report
    assert not any("augmented copies" in row["text"] for row in version.summary["sentences"])
    assert listing_of([version]).groups_unknown == ()
