"""What a training is told, what it would take, and the row that it leaves."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from accounts.models import AuditEvent, User
from accounts.permissions import Role
from inference.ml.network import BACKBONES
from inference.models import Job, ModelVersion, TrainingRun
from inference.registry.selectors import bundle_folder
from inference.registry.services import bundle_register
from inference.templatetags.figures import NETWORKS
from inference.training import plan as planning
from inference.training.forms import TrainingForm
from inference.training.options import Options, Order, default_options, settings_for
from inference.training.plan import expected_seconds, plan_of
from inference.training.services import training_start
from tests.factories import DatasetFactory, JobFactory, UserFactory, activate, dataset_version

pytestmark = [pytest.mark.unit, pytest.mark.django_db]
Start = TrainingRun.Start
SCRATCH = Options(backbone="scratch-cnn", size=32, split="photograph")


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


@pytest.fixture
def model(settings: Settings) -> ModelVersion:
    """The model that ships, in use."""
    return activate(bundle_register(folder=Path(settings.MODEL_BUNDLE), by=None))


def order(*labels: str, **changes: Any) -> Order:
    """From scratch, on six photographs of each label."""
    version = dataset_version(labels or ("lymphocyte", "neutrophil"), each=6, groups=6)
    told: dict[str, Any] = {
        "versions": [version],
        "class_map": {label: label for label in labels},
        "start": Start.SCRATCH,
        "parent": None,
        "options": SCRATCH,
    }
    return Order(**{**told, **changes})


# --- What the core is told -------------------------------------------------------------------
def test_going_on_keeps_the_network_and_the_test_sets_of_the_whole_line(
    model: ModelVersion,
) -> None:
    child = ModelVersion.objects.create(
        version="child", sha256="0" * 64, card=model.card, parent=model
    )
    told = settings_for(
        options=replace(default_options(child), size=96),
        start=Start.ACTIVE,
        parent=child,
        out=Path("out"),
    )
    assert told.start == bundle_folder(child)
    assert told.keep_sides_of == (bundle_folder(child), bundle_folder(model))
    assert (told.backbone, told.weights) == ("mobilenetv2", None)
    assert told.preprocessing.size == 96
    assert told.preprocessing.to_dict() == {**model.card["preprocessing"], "size": 96}


def test_other_starts(model: ModelVersion, settings: Settings) -> None:
    settings.IMAGENET_WEIGHTS = "/weights/mobilenet.h5"

    def told(start: Start, **changes: Any) -> Any:
        options = replace(Options(), **changes)
        return settings_for(options=options, start=start, parent=model, out=Path("out"))

    assert told(Start.IMAGENET).weights == "/weights/mobilenet.h5"
    assert told(Start.IMAGENET, backbone="vgg16").weights == "imagenet"
    assert told(Start.SCRATCH).weights is None
    assert told(Start.SCRATCH).keep_sides_of == (bundle_folder(model),)
    assert told(Start.SCRATCH, split="photograph").keep_sides_of == ()
    given = told(Start.SCRATCH, split="given")
    assert (given.given_parts, given.keep_sides_of) == (True, ())
    with pytest.raises(ValueError, match="No model is in use"):
        settings_for(options=Options(), start=Start.ACTIVE, parent=None, out=Path("out"))


def test_options_are_kept_as_json_and_fields_of_the_form() -> None:
    options = Options(epochs=3, stop_after_minutes=5)
    assert Options.from_json({**options.to_json(), "of an earlier version": 1}) == options
    shown = {name for _, names in TrainingForm.ADVANCED for name in names}
    assert shown | {"split", "width"} == {field.name for field in fields(Options)}
    assert set(NETWORKS) == set(BACKBONES) == set(planning.SECONDS_A_CROP)


# --- What it takes ---------------------------------------------------------------------------
def test_a_plan_tells_classes_sides_and_needs(model: ModelVersion) -> None:
    plan = plan_of(order("lymphocyte", "neutrophil", "blast", parent=model))
    assert plan.problem == ""
    assert [(each.label, each.is_new, each.pictures) for each in plan.classes] == [
        ("blast", True, 6),
        ("lymphocyte", False, 6),
        ("neutrophil", False, 6),
    ]
    assert all(sum(each.photographs.values()) == 6 for each in plan.classes)
    assert (plan.pictures, plan.photographs) == (18, 18)
    assert min(plan.seconds, plan.memory_mb, plan.disk_mb, plan.free_mb) > 0
    (lost,) = [text for text in plan.warnings if "also knows" in text]
    assert "basophil" in lost
    assert any("Few photographs to test with" in text for text in plan.warnings)


def test_a_class_map_joins_and_leaves_out() -> None:
    joined = {"a": "neutrophil", "b": "neutrophil", "c": "", "d": "lymphocyte"}
    plan = plan_of(order("a", "b", "c", "d", class_map=joined))
    assert [(each.label, each.pictures) for each in plan.classes] == [
        ("lymphocyte", 6),
        ("neutrophil", 12),
    ]


@pytest.mark.parametrize(
    ("labels", "class_map", "told"),
    [
        (("a", "b"), {"b": "a"}, "at least two classes"),
        (("a", "b"), {"a": "", "b": ""}, "No picture is left"),
        (("a", "b"), {"b": "unfamiliar"}, "called like a mark"),
    ],
)
def test_what_cannot_be_trained_says_why(
    labels: tuple[str, ...], class_map: dict[str, str], told: str
) -> None:
    assert told in plan_of(order(*labels, class_map=class_map)).problem


def test_too_few_photographs_and_unknown_ones() -> None:
    few = dataset_version(["lymphocyte", "neutrophil"], each=2)
    assert "Every class needs 3 source photographs" in plan_of(order(versions=[few])).problem
    unknown = dataset_version(
        ["lymphocyte", "neutrophil"], each=4, dataset=DatasetFactory.create(name="No groups")
    )
    plan = plan_of(order(versions=[unknown]))
    assert any("photographs of No groups are unknown" in text for text in plan.warnings)


def test_what_the_machine_lacks_is_told(settings: Settings) -> None:
    settings.JOB_MEMORY_MB = 100
    settings.JOB_FREE_DISK_MB = 10**12
    warnings = " ".join(plan_of(order()).warnings)
    assert "memory will probably not suffice" in warnings
    assert "disk will not suffice" in warnings


def test_the_time_is_that_of_former_runs_where_there_are_any() -> None:
    reckoned, measured = expected_seconds(SCRATCH, pictures=0)
    assert not measured
    done = JobFactory.create(status=Job.Status.DONE)
    record = {"training_loss": 1.0, "seconds": 72.0}
    history = [{"validation_loss": 1.0, "seconds": 9.0}, record]
    TrainingRun.objects.create(job=done, settings=SCRATCH.to_json(), history=history)
    seconds, measured = expected_seconds(SCRATCH, pictures=0)
    assert measured
    assert seconds == planning.SECONDS_AT_LEAST + SCRATCH.epochs * 72
    other, _ = expected_seconds(replace(SCRATCH, size=64), pictures=0)
    assert other > reckoned
    limited, _ = expected_seconds(replace(SCRATCH, stop_after_minutes=2), pictures=0)
    assert limited == 120


# --- The row ---------------------------------------------------------------------------------
def test_a_run_is_queued_with_all_that_it_was_told(admin: User) -> None:
    wanted = order("lymphocyte", "neutrophil")
    run = training_start(order=wanted, by=admin)
    assert (run.job.kind, run.job.status, run.job.requested_by) == ("training", "queued", admin)
    assert Options.from_json(run.settings) == SCRATCH
    assert list(run.dataset_versions.all()) == list(wanted.versions)
    event = AuditEvent.objects.get(action="training_started")
    assert event.details["start"] == "scratch"
    assert event.details["datasets"] == [str(version) for version in wanted.versions]


def test_the_same_training_is_queued_once_at_a_time(admin: User) -> None:
    wanted = order("lymphocyte", "neutrophil")
    run = training_start(order=wanted, by=admin)
    assert training_start(order=wanted, by=admin) == run
    assert AuditEvent.objects.filter(action="training_started").count() == 1
    other = training_start(order=replace(wanted, options=replace(SCRATCH, seed=1)), by=admin)
    Job.objects.filter(pk=run.job.pk).update(status=Job.Status.FAILED)
    again = training_start(order=wanted, by=admin)
    assert len({run.pk, other.pk, again.pk}) == 3


def test_what_cannot_be_trained_leaves_no_row(admin: User) -> None:
    with pytest.raises(ValidationError, match="at least two classes"):
        training_start(order=order("a", "b", class_map={"b": "a"}), by=admin)
    assert not Job.objects.exists()
    assert not TrainingRun.objects.exists()
