"""The form of a training, its page and its curves."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from accounts.permissions import Role
from inference.models import Dataset, DatasetVersion, Job, ModelVersion, TrainingRun
from inference.registry.services import bundle_register
from inference.training.curves import best_epoch, charts_of
from inference.training.forms import TrainingForm
from inference.training.options import Options
from tests.factories import JobFactory, UserFactory, activate, dataset_version

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

HISTORY = [
    {"validation_loss": 0.9, "validation_accuracy": 0.6, "seconds": 4.0},
    {
        "validation_loss": 0.5,
        "validation_accuracy": 0.8,
        "training_loss": 0.7,
        "training_accuracy": 0.7,
        "seconds": 61.0,
    },
    {
        "validation_loss": 0.6,
        "validation_accuracy": 0.85,
        "training_loss": 0.4,
        "training_accuracy": 0.9,
        "seconds": 60.0,
    },
]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(UserFactory.create(role=Role.ADMIN))
    return client


@pytest.fixture
def version() -> DatasetVersion:
    return dataset_version(["lymphocyte", "neutrophil", "Blast"], each=4, groups=4)


@pytest.fixture
def model(settings: Settings) -> ModelVersion:
    return activate(bundle_register(folder=Path(settings.MODEL_BUNDLE), by=None))


def page_of(response: Any) -> str:
    return " ".join(response.content.decode().split())


def filled(version: DatasetVersion, **changes: Any) -> dict[str, Any]:
    """The form as it comes, from scratch on photographs dealt anew; labels are sorted."""
    defaults = {name: value for name, value in Options().to_json().items() if value is not None}
    return {
        **defaults,
        "versions": [version.pk],
        "start": "scratch",
        "split": "photograph",
        "class_0": "Blast",
        "class_1": "lymphocyte",
        "class_2": "neutrophil",
        **changes,
    }


def test_first_the_data_are_chosen(admin: Client) -> None:
    assert "No dataset is ready" in page_of(admin.get("/trainings/new/"))
    version = dataset_version(["a", "b"], each=2)
    page = page_of(admin.get("/trainings/new/"))
    assert f"{version}: 4 pictures of 2 classes" in page
    assert "Choose a dataset first" not in page
    DatasetVersion.objects.filter(pk=version.pk).update(ready_at=None)
    assert str(version) not in page_of(admin.get("/trainings/new/"))
    assert "No dataset is ready" in page_of(admin.get(f"/trainings/new/?versions={version.pk}"))


def test_a_retired_dataset_is_not_offered(admin: Client, version: DatasetVersion) -> None:
    Dataset.objects.update(retired_at=timezone.now())
    assert str(version) not in page_of(admin.get("/trainings/new/"))
    response = admin.post("/trainings/new/", {**filled(version), "act": "start"})
    assert "No dataset is ready" in page_of(response)
    assert not TrainingRun.objects.exists()


def test_a_key_that_no_dataset_can_have_is_told(admin: Client, version: DatasetVersion) -> None:
    page = page_of(admin.get(f"/trainings/new/?versions={'9' * 25}"))
    assert "cannot be trained on. Choose one of these" in page
    assert str(version) in page


def test_the_form_begins_with_the_model_in_use(
    admin: Client, version: DatasetVersion, model: ModelVersion
) -> None:
    page = page_of(admin.get(f"/trainings/new/?versions={version.pk}"))
    assert f"The model in use, {model}" in page
    assert page.count("new to the model in use") == 1
    assert 'value="active"' in page
    assert page.index("checked") > page.index('value="active"') - 200


def test_what_it_takes_is_told_before_it_is_started(admin: Client, version: DatasetVersion) -> None:
    response = admin.post("/trainings/new/", {**filled(version), "act": "check"})
    assert response.status_code == 200
    page = page_of(response)
    assert "What it takes" in page
    assert "12, of 12 photographs" in page
    assert "Start training" in page
    assert not TrainingRun.objects.exists()
    response = admin.post("/trainings/new/", {**filled(version), "act": "start"})
    run = TrainingRun.objects.get()
    assert response.headers["Location"] == f"/trainings/{run.pk}/"
    assert run.class_map == {
        "Blast": "blast",
        "lymphocyte": "lymphocyte",
        "neutrophil": "neutrophil",
    }
    assert Options.from_json(run.settings).split == "photograph"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"start": "active", "split": "photograph"}, "has seen its training photographs"),
        ({"start": "active", "split": "locked", "backbone": "vgg16"}, "The model in use is"),
        ({"start": "imagenet", "backbone": "scratch-cnn"}, "There are no ImageNet weights"),
        ({"class_0": "", "class_1": "", "class_2": ""}, "All classes are left out"),
        ({"class_0": "neutrophil", "class_1": "neutrophil"}, "at least two classes"),
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"split": "given"}, "No picture is said to be for testing"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    admin: Client,
    version: DatasetVersion,
    model: ModelVersion,
    changes: dict[str, str],
    told: str,
) -> None:
    response = admin.post("/trainings/new/", {**filled(version, **changes), "act": "start"})
    assert response.status_code == 422
    assert told in page_of(response)
    assert not TrainingRun.objects.exists()


def test_without_a_model_in_use_nothing_can_go_on_from_it(
    admin: Client, version: DatasetVersion
) -> None:
    page = page_of(admin.get(f"/trainings/new/?versions={version.pk}"))
    assert "The model in use" not in page
    wrong = filled(version, start="active", split="locked")
    assert admin.post("/trainings/new/", {**wrong, "act": "start"}).status_code == 422


def test_from_a_model_that_came_from_elsewhere_no_training_starts(
    admin: Client, version: DatasetVersion, model: ModelVersion
) -> None:
    model.card["preprocessing"] |= {"region": "image", "stain": "own"}
    model.card["network"]["backbone"] = "plain-cnn"
    model.save()
    assert admin.get(f"/trainings/new/?versions={version.pk}").status_code == 200
    wrong = filled(version, start="active", split="locked")
    response = admin.post("/trainings/new/", {**wrong, "act": "start"})
    assert response.status_code == 422
    assert "came from elsewhere and cannot be trained on" in page_of(response)


def run_of(version: DatasetVersion, **values: Any) -> TrainingRun:
    job = JobFactory.create(status=Job.Status.RUNNING)
    told = {"start": "scratch", "settings": Options(epochs=7).to_json(), "history": HISTORY}
    run = TrainingRun.objects.create(job=job, **{**told, **values})
    run.dataset_versions.add(version)
    return run


def test_a_run_can_be_repeated(admin: Client, version: DatasetVersion) -> None:
    run = run_of(version, class_map={"Blast": "", "lymphocyte": "lymph", "neutrophil": "n"})
    page = page_of(admin.get(f"/trainings/{run.pk}/"))
    again = f"/trainings/new/?again={run.pk}&amp;versions={version.pk}"
    assert again in page
    page = page_of(admin.get(again.replace("&amp;", "&")))
    assert f"With the settings of {run}" in page
    assert 'name="epochs" value="7"' in page
    assert 'value="lymph"' in page


def test_the_curves_grow_without_a_reload(admin: Client, version: DatasetVersion) -> None:
    run = run_of(version)
    page = page_of(admin.get(f"/trainings/{run.pk}/"))
    poll = f"/trainings/{run.pk}/curves/?epochs=3"
    assert f'hx-get="{poll}" hx-trigger="job-news from:body"' in page
    assert "Epoch 2 of 7" in page
    assert admin.get(poll).status_code == 204
    TrainingRun.objects.update(history=[*HISTORY, HISTORY[1]])
    part = page_of(admin.get(poll))
    assert "Epoch 3 of 7" in part
    assert part.count("<polyline") == 4
    assert "85.0 %" in part
    Job.objects.update(status=Job.Status.DONE)
    assert "hx-get" not in page_of(admin.get(poll))


def test_the_page_of_a_run_that_is_done_leads_to_its_model(
    admin: Client, version: DatasetVersion, model: ModelVersion
) -> None:
    run = run_of(version, model_version=model)
    Job.objects.update(status=Job.Status.DONE)
    page = page_of(admin.get(f"/trainings/{run.pk}/"))
    assert f'href="/models/{model.pk}/"' in page
    assert "Accuracy by picture" in page
    assert str(model) in page_of(admin.get("/trainings/"))


def test_charts_have_room_for_all_epochs() -> None:
    assert charts_of([], epochs=5) == []
    loss, accuracy = charts_of(HISTORY, epochs=4)
    assert loss.validation.split(" ")[0] == "0.0,12.0"  # 0.9 of 1.0, at the left
    assert loss.validation.split(" ")[-1].startswith("160.0,")  # epoch 2 of 4
    assert len(loss.training.split(" ")) == 2
    assert [text for _, text in accuracy.up] == ["50 %", "75 %", "100 %"]
    assert best_epoch(HISTORY) == 1
    assert best_epoch([]) is None


def test_more_classes_than_a_model_can_have_are_refused_before_it_trains() -> None:
    labels = [f"kind {number}" for number in range(101)]
    told = {f"class_{number}": label for number, label in enumerate(labels)}
    form = TrainingForm(told, labels=labels, model=None)
    assert "101 classes are more than a model can have" in str(form.non_field_errors())
    form = TrainingForm(told | {"class_7": ""}, labels=labels, model=None)
    assert not form.non_field_errors()
