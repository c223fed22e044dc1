"""The comparison that the gate asks for, from the button to the verdict and the report."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from accounts.models import AuditEvent, User
from accounts.permissions import Role
from hematovision.files import store
from hematovision.files.gate import decode
from inference.datasets.services import dataset_retire
from inference.jobs import child, queue
from inference.ml.bundle import load_bundle
from inference.ml.engine import Engine
from inference.ml.finder import FINDER_VERSION
from inference.ml.sidecar import ManifestRow
from inference.models import (
    Comparison,
    Dataset,
    DatasetImage,
    DatasetVersion,
    Job,
    ModelVersion,
    TrainingRun,
)
from inference.registry.gate import gate_of
from inference.registry.selectors import (
    bundle_folder,
    newest_dataset_versions,
    readings_of,
    report_folder,
)
from inference.registry.services import bundle_register, comparison_start
from tests.bundles import CLASSES, make_bundle
from tests.factories import StoredImageFactory, UserFactory, activate, smear

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

PICTURES = 26
KERNEL = np.array([[8.0, -8.0], [0.0, 0.0], [-8.0, 8.0]])
Register = Callable[..., ModelVersion]


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    def register(
        version: str, kernel: np.ndarray = KERNEL, trained: tuple[ManifestRow, ...] = ()
    ) -> ModelVersion:
        folder = make_bundle(
            tmp_path / version,
            version,
            kernel=kernel,
            manifest=trained,
            finder_version=FINDER_VERSION,
            training={"parity": {"crops": 2, "largest_difference": 1e-6}},
        )
        return bundle_register(folder=folder, by=None)

    return register


@pytest.fixture
def baseline(register: Register) -> ModelVersion:
    return activate(register("baseline"))


@pytest.fixture
def dataset(baseline: ModelVersion) -> DatasetVersion:
    """Pictures under the labels that the baseline gives them."""
    engine = Engine(load_bundle(bundle_folder(baseline)))
    version = DatasetVersion.objects.create(
        dataset=Dataset.objects.create(name="ours"),
        number=1,
        source=DatasetVersion.Source.ZIP,
        groups_known=True,
    )
    for seed in range(PICTURES):
        data = smear(seed, white_cells=1)
        said = engine.classify(decode(data)).predicted_label
        sha256 = store.write(data)
        DatasetImage.objects.create(
            version=version,
            stored_image=StoredImageFactory.create(sha256=sha256),
            file_name=f"{seed}.png",
            label=said or CLASSES[0],
            group=f"photograph {seed}",
        )
    version.ready_at = timezone.now()
    version.save()
    return version


def work() -> Job:
    job = queue.claim(worker="test")
    assert job
    child.run(job)
    job.refresh_from_db()
    return job


def test_one_comparison_of_two_models_waits_at_a_time(
    baseline: ModelVersion, register: Register, admin: User
) -> None:
    candidate = register("candidate")
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert comparison_start(candidate=candidate, baseline=baseline, by=admin) == comparison
    assert comparison_start(candidate=baseline, baseline=candidate, by=admin) != comparison
    assert Job.objects.filter(kind=Job.Kind.COMPARISON, status="queued").count() == 2
    assert AuditEvent.objects.filter(action="comparison_started", actor=admin).count() == 2
    Job.objects.update(status=Job.Status.FAILED)
    assert comparison_start(candidate=candidate, baseline=baseline, by=admin) != comparison
    with pytest.raises(ValidationError, match="itself"):
        comparison_start(candidate=baseline, baseline=baseline, by=admin)


def test_an_equal_candidate_passes_and_has_its_report(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    candidate = register("candidate")
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert gate_of(candidate, baseline).objection
    assert work().status == "done", Job.objects.get().error
    comparison.refresh_from_db()
    assert comparison.passed is True, comparison.result["checks"]
    assert comparison.result["data"]["photographs"] >= 20
    assert list(comparison.dataset_versions.all()) == [dataset]
    page = (report_folder(candidate) / "report.html").read_text()
    assert "candidate" in page
    assert {path.name for path in report_folder(candidate).iterdir()} == {
        "report.html",
        "report.json",
    }
    gate = gate_of(candidate, baseline)
    assert (gate.comparison, gate.objection) == (comparison, "")


def test_a_worse_candidate_does_not_pass(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    candidate = register("candidate", -KERNEL)
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert work().status == "done"
    comparison.refresh_from_db()
    assert comparison.passed is False
    objection = "candidate did not pass beside baseline (classes, not worse)."
    assert gate_of(candidate, baseline).objection == objection


def test_labels_called_like_a_class_are_it_and_none_is_left_out(
    register: Register, admin: User
) -> None:
    version = register("candidate")
    TrainingRun.objects.create(
        job=queue.job_create(kind=Job.Kind.TRAINING, by=admin),
        class_map={"neutrophil": "lymphocyte", "band": "neutrophil", "smudge": ""},
        model_version=version,
    )
    assert readings_of(version) == {
        "band": "neutrophil",
        "lymphocyte": "lymphocyte",
        "neutrophil": "neutrophil",
    }


def test_a_candidate_does_not_decide_what_is_right(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    """It swaps two classes, and so does the class map that it was trained with."""
    candidate = register("candidate", -KERNEL)
    TrainingRun.objects.create(
        job=queue.job_create(kind=Job.Kind.TRAINING, by=admin),
        class_map=dict(zip(CLASSES, CLASSES[::-1], strict=True)),
        model_version=candidate,
    )
    Job.objects.update(status=Job.Status.DONE)
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert work().status == "done"
    comparison.refresh_from_db()
    assert comparison.passed is False
    assert comparison.result["figures"]["paired"]["accuracy"]["theirs"] == 1


def test_without_pictures_that_both_have_not_seen_nobody_passes(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    images = DatasetImage.objects.select_related("stored_image")
    trained = tuple(
        ManifestRow("train", "ours", one.label, f"ours:{one.group}", one.stored_image.sha256)
        for one in images
    )
    candidate = register("candidate", trained=trained)
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert work().status == "done"
    comparison.refresh_from_db()
    assert comparison.passed is False
    assert not comparison.dataset_versions.exists()
    assert not report_folder(candidate).exists()
    assert "enough photographs" in gate_of(candidate, baseline).objection


def test_without_any_dataset_the_verdict_says_so(
    baseline: ModelVersion, register: Register, admin: User
) -> None:
    candidate = register("candidate")
    comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert work().status == "done"
    assert "enough photographs" in gate_of(candidate, baseline).objection


def test_a_retired_dataset_is_not_compared_with(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    assert newest_dataset_versions() == [dataset]
    dataset_retire(dataset=dataset.dataset, by=admin)
    assert newest_dataset_versions() == []
    candidate = register("candidate")
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    assert work().status == "done"
    assert not comparison.dataset_versions.exists()
    assert "enough photographs" in gate_of(candidate, baseline).objection


def test_a_damaged_baseline_is_told_and_the_candidate_waits(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    candidate = register("candidate")
    (bundle_folder(baseline) / "head.npz").unlink()
    comparison = comparison_start(candidate=candidate, baseline=baseline, by=admin)
    job = work()
    assert job.status == "failed"
    assert "lacks head.npz" in job.error
    comparison.refresh_from_db()
    assert comparison.passed is None


def test_a_lost_claim_writes_no_verdict(
    baseline: ModelVersion, dataset: DatasetVersion, register: Register, admin: User
) -> None:
    comparison = comparison_start(candidate=register("candidate"), baseline=baseline, by=admin)
    job = queue.claim(worker="one")
    assert job
    Job.objects.update(status=Job.Status.QUEUED, claim=None)
    child.run(job)
    comparison.refresh_from_db()
    assert comparison.passed is None
    assert Comparison.objects.get().job.status == "queued"
