"""Rows for tests."""

from collections.abc import Sequence
from datetime import date
from io import BytesIO
from typing import Any

import factory
import numpy as np
from django.utils import timezone
from factory.django import DjangoModelFactory
from PIL import Image

from accounts.models import Site, User
from accounts.permissions import Role
from analyses.models import Analysis, Cell, Prediction, Sample, SampleImage, WatchAlert
from hematovision.files import store
from hematovision.files.models import StoredImage
from inference.ml.preprocess import Preprocessing
from inference.ml.smear import make_smear
from inference.models import Dataset, DatasetImage, DatasetVersion, Deployment, Job, ModelVersion

PASSWORD = "correct-horse-battery"


class SiteFactory(DjangoModelFactory[Site]):
    class Meta:
        model = Site

    name = factory.Sequence(lambda n: f"Laboratory {n}")


class UserFactory(DjangoModelFactory[User]):
    class Meta:
        model = User
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"person{n}")
    email = factory.LazyAttribute(lambda o: f"{o.username}@example.org")
    full_name = factory.LazyAttribute(lambda o: o.username.capitalize())
    role = Role.TECHNICIAN

    @factory.post_generation
    def sites(self: Any, create: bool, sites: list[Site] | None, **kwargs: Any) -> None:
        if sites:
            self.sites.set(sites)

    @factory.post_generation
    def password(self: Any, create: bool, password: str | None, **kwargs: Any) -> None:
        self.set_password(password or PASSWORD)
        self.save()


class ModelVersionFactory(DjangoModelFactory[ModelVersion]):
    class Meta:
        model = ModelVersion

    version = factory.Sequence(lambda n: f"model-{n}")
    sha256 = "0" * 64
    card = factory.LazyFunction(
        lambda: {
            "classes": ["neutrophil", "lymphocyte"],
            "preprocessing": Preprocessing().to_dict(),
            "metrics": {},
            "dataset": {},
        }
    )


class DatasetFactory(DjangoModelFactory[Dataset]):
    class Meta:
        model = Dataset

    name = factory.Sequence(lambda n: f"Dataset {n}")


class DatasetVersionFactory(DjangoModelFactory[DatasetVersion]):
    """A version without pictures; `dataset_version` makes one with them."""

    class Meta:
        model = DatasetVersion

    dataset = factory.SubFactory(DatasetFactory)
    number = factory.LazyAttribute(lambda o: o.dataset.versions.count() + 1)
    source = DatasetVersion.Source.ZIP


def activate(model_version: ModelVersion) -> ModelVersion:
    Deployment.objects.create(model_version=model_version)
    return model_version


class JobFactory(DjangoModelFactory[Job]):
    class Meta:
        model = Job

    kind = Job.Kind.TRAINING


class StoredImageFactory(DjangoModelFactory[StoredImage]):
    """A row without a file: for tests that read none."""

    class Meta:
        model = StoredImage

    sha256 = factory.Sequence(lambda n: f"{n:064x}")
    format = "PNG"
    width = 320
    height = 240
    size = 1000


class SampleFactory(DjangoModelFactory[Sample]):
    class Meta:
        model = Sample

    site = factory.SubFactory(SiteFactory)
    accession_number = factory.Sequence(lambda n: f"S-{n:04d}")
    created_by = factory.SubFactory(UserFactory)


class SampleImageFactory(DjangoModelFactory[SampleImage]):
    class Meta:
        model = SampleImage

    sample = factory.SubFactory(SampleFactory)
    stored_image = factory.SubFactory(StoredImageFactory)
    file_name = factory.Sequence(lambda n: f"field-{n}.png")
    position = factory.Sequence(lambda n: n)
    uploaded_by = factory.SelfAttribute("sample.created_by")


class AnalysisFactory(DjangoModelFactory[Analysis]):
    class Meta:
        model = Analysis

    sample_image = factory.SubFactory(SampleImageFactory)
    model_version = factory.SubFactory(ModelVersionFactory)
    requested_by = factory.SelfAttribute("sample_image.uploaded_by")


class CellFactory(DjangoModelFactory[Cell]):
    class Meta:
        model = Cell

    sample_image = factory.SubFactory(SampleImageFactory)
    x = y = 100
    width = height = 60
    position = factory.Sequence(lambda n: n)
    finder_version = "test"


class PredictionFactory(DjangoModelFactory[Prediction]):
    class Meta:
        model = Prediction

    cell = factory.SubFactory(CellFactory)
    model_version = factory.SubFactory(ModelVersionFactory)
    label = "neutrophil"
    confidence = 0.97
    probabilities = factory.LazyFunction(lambda: {"neutrophil": 0.97, "lymphocyte": 0.03})
    flags = factory.LazyFunction(list)


class WatchAlertFactory(DjangoModelFactory[WatchAlert]):
    class Meta:
        model = WatchAlert

    site = factory.SubFactory(SiteFactory)
    model_version = factory.SubFactory(ModelVersionFactory)
    measure = WatchAlert.Measure.OVERRIDE
    week = date(2026, 3, 2)
    cells = 40
    value = 0.3
    low = 0.0
    high = 0.1


def picture(
    width: int = 64, height: int = 48, *, seed: int = 0, format: str = "PNG", **options: Any
) -> bytes:
    """The bytes of a small picture that is like no other with another seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    return encoded(Image.fromarray(pixels), format, **options)


def smear(seed: int = 0, *, white_cells: int = 2, format: str = "PNG") -> bytes:
    """The bytes of a synthetic smear."""
    image = make_smear(seed, width=320, height=240, white_cells=white_cells, scale=0.5).image
    return encoded(Image.fromarray(image), format)


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    target = BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def analysed_sample(
    site: Site, by: User, model_version: ModelVersion, *, images: int = 1, cells: int = 2
) -> Sample:
    """A sample whose pictures are stored and read, without any engine."""
    sample = SampleFactory.create(site=site, created_by=by, model_version=model_version)
    for number in range(images):
        data = picture(320, 240, seed=sample.pk * 1000 + number)
        stored = StoredImageFactory.create(sha256=store.write(data))
        image = SampleImageFactory.create(
            sample=sample, stored_image=stored, position=number, finder_version="test"
        )
        AnalysisFactory.create(
            sample_image=image,
            model_version=model_version,
            status=Analysis.Status.DONE,
            find_ms=4.0,
            engine_ms=3.0,
            quality_flags=[],
        )
        for position in range(cells):
            cell = CellFactory.create(sample_image=image, position=position, x=40 + 100 * position)
            PredictionFactory.create(cell=cell, model_version=model_version)
    return sample


def dataset_version(
    labels: Sequence[str] = ("lymphocyte", "neutrophil"),
    *,
    each: int = 3,
    groups: int | None = None,
    seed: int = 0,
    **values: Any,
) -> DatasetVersion:
    """A ready version of synthetic smears of one cell, ``each`` of a label, in the store.

    With ``groups`` the source photographs are known: so many of each label, in turn.
    """
    version = DatasetVersionFactory.create(**values)
    for number, label in enumerate(label for label in labels for _ in range(each)):
        data = smear(seed + number, white_cells=1)
        sha256 = store.write(data)
        stored, _ = StoredImage.objects.get_or_create(
            sha256=sha256,
            defaults={"format": "PNG", "width": 320, "height": 240, "size": len(data)},
        )
        DatasetImage.objects.create(
            version=version,
            stored_image=stored,
            file_name=f"{label}/{number}.png",
            label=label,
            group=f"{label}-{number % groups}" if groups else "",
        )
    version.ready_at = timezone.now()
    version.manifest_sha256 = "0" * 64
    version.groups_known = groups is not None
    version.summary = {
        "pictures": each * len(labels),
        "photographs": groups and groups * len(labels),
        "classes": dict.fromkeys(labels, each),
        "left_out": 0,
        "sentences": [],
        "compared": None,
    }
    version.save()
    return version
