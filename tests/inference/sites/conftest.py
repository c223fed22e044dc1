"""A site with labelled cells, and a model that measures them fast."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import Site
from hematovision.files import store
from inference.jobs import child, queue
from inference.ml.bundle import CARD_NAME, FEATURES_NAME, KERAS_NAME, load_bundle, sha256_of
from inference.ml.sidecar import TrainingFeatures
from inference.models import DatasetImage, DatasetVersion, Job, ModelVersion
from inference.registry.services import bundle_register
from tests.factories import (
    DatasetFactory,
    DatasetVersionFactory,
    SiteFactory,
    StoredImageFactory,
    activate,
    smear,
)

MakeCells = Callable[..., DatasetVersion]


@pytest.fixture
def site() -> Site:
    return SiteFactory.create(name="Riverside")


@pytest.fixture
def cells(site: Site) -> MakeCells:
    """Make a ready version of the site's own cells; without ``pictures`` no file is behind it."""

    def make(
        counts: dict[str, int], *, pictures: bool = False, at: Site | None = None
    ) -> DatasetVersion:
        version = DatasetVersionFactory.create(
            dataset=DatasetFactory.create(site=at or site), groups_known=True
        )
        labels = [label for label, count in counts.items() for _ in range(count)]
        for number, label in enumerate(labels):
            if pictures:
                sha256 = store.write(smear(number, white_cells=1))
                image = StoredImageFactory.create(sha256=sha256)
            else:
                image = StoredImageFactory.create()
            DatasetImage.objects.create(
                version=version,
                stored_image=image,
                file_name=f"{number}.png",
                label=label,
                group=f"smear {number}",
            )
        version.ready_at = timezone.now()
        version.save()
        return version

    return make


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that ships, with few of its features: the rest takes only time."""
    folder = tmp_path_factory.mktemp("small") / "bundle"
    shutil.copytree(settings.MODEL_BUNDLE, folder, ignore=shutil.ignore_patterns(KERAS_NAME))
    kept = TrainingFeatures.load(folder / FEATURES_NAME)
    kept.where(np.arange(0, len(kept), 20)).save(folder / FEATURES_NAME)
    card = load_bundle(settings.MODEL_BUNDLE).card
    files = {name: sha256_of(folder / name) for name in card.files if name != KERAS_NAME}
    (folder / CARD_NAME).write_text(replace(card, version="small", files=files).to_json())
    return folder


@pytest.fixture
def model(small_bundle: Path) -> ModelVersion:
    return activate(bundle_register(folder=small_bundle, by=None))


@pytest.fixture
def work() -> Callable[[], Job]:
    """Do the oldest job here, as the child process does it."""

    def do() -> Job:
        job = queue.claim(worker="test")
        assert job is not None, "nothing is queued"
        job.folder.mkdir(parents=True, exist_ok=True)  # as the worker does
        child.run(job)
        job.refresh_from_db()
        return job

    return do
