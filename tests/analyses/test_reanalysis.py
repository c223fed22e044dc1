"""A sample stays with its model until a person asks for another reading."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from analyses import pipeline, reading
from analyses.models import Analysis, Cell, Prediction, Sample
from analyses.selectors import State, progress_of, with_state
from analyses.services import NewSample, images_upload, sample_reanalyse
from inference.ml.engine import CellPrediction, PictureResult
from inference.ml.finder import Box
from inference.models import Deployment, ModelVersion
from tests.analyses.test_pipeline import result
from tests.factories import ModelVersionFactory, UserFactory, activate, analysed_sample, picture

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr(pipeline, "hint", lambda: sent.append(1))
    return sent


@pytest.fixture
def doctor(site: Site) -> User:
    return UserFactory.create(role=Role.DOCTOR, sites=[site])


@pytest.fixture
def sample(site: Site, technician: User, model: ModelVersion) -> Sample:
    """Two images of two cells each, which the first model has read."""
    return analysed_sample(site, technician, model, images=2)


class Reader:
    """An engine that calls every cell a monocyte, and finds none."""

    def predict_boxes(self, image: object, boxes: list[Box]) -> list[CellPrediction]:
        return [
            CellPrediction(box, "monocyte", 0.9, {"monocyte": 0.9, "other": 0.1}, 0.0, ())
            for box in boxes
        ]

    def classify(self, image: object) -> PictureResult:
        return result("monocyte")


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(reading, "engine_for", lambda version: Reader())

    def work() -> None:
        while claimed := pipeline.claim(worker="test"):
            for analysis in claimed:
                reading.analyse(analysis)

    return work


def labels(sample: Sample, version: ModelVersion) -> list[str]:
    said = Prediction.objects.filter(cell__sample_image__sample=sample, model_version=version)
    return list(said.order_by("cell").values_list("label", flat=True))


def state_of(sample: Sample) -> str:
    return str(with_state(Sample.objects.filter(pk=sample.pk)).get().state)  # type: ignore[attr-defined]


def text(client: Client, sample: Sample) -> str:
    return " ".join(client.get(f"/samples/{sample.pk}/").content.decode().split())


def test_a_new_model_leaves_the_samples_alone(sample: Sample, model: ModelVersion) -> None:
    activate(ModelVersionFactory.create())
    pipeline.reap()
    sample.refresh_from_db()
    assert sample.model_version == model
    assert Analysis.objects.count() == 2


def test_the_new_model_reads_the_same_cells_and_both_answers_stay(
    sample: Sample, model: ModelVersion, doctor: User, work: object, client: Client
) -> None:
    new = activate(ModelVersionFactory.create())
    cells = list(Cell.objects.values_list("pk", "x", "y"))
    client.force_login(doctor)
    assert "Analyse again with it" in text(client, sample)
    assert client.post(f"/samples/{sample.pk}/reanalyse/").status_code == 302
    sample.refresh_from_db()
    assert sample.model_version == new
    progress = progress_of(sample)
    assert (progress.queued, progress.done, progress.without_model) == (2, 0, 0)
    assert state_of(sample) == State.ANALYSING
    page = text(client, sample)
    assert "0 of 2</strong> images analysed" in page
    assert "has not read it yet" in page
    assert "No answer of its own" not in page

    work()  # type: ignore[operator]
    assert list(Cell.objects.values_list("pk", "x", "y")) == cells
    assert labels(sample, model) == ["neutrophil"] * 4
    assert labels(sample, new) == ["monocyte"] * 4
    page = text(client, sample)
    assert "Analyse again" not in page
    assert 'Neutrophil <strong class="number">4</strong>' in page  # the earlier reading
    assert state_of(sample) == State.DONE
    event = AuditEvent.objects.get(action="reanalysis_started")
    assert event.actor == doctor
    assert event.details == {"before": str(model), "now": str(new)}


def test_going_back_to_a_model_asks_nothing_twice(
    sample: Sample, model: ModelVersion, doctor: User, work: object
) -> None:
    activate(ModelVersionFactory.create())
    sample_reanalyse(sample=sample, by=doctor)
    work()  # type: ignore[operator]
    activate(model)
    sample_reanalyse(sample=sample, by=doctor)
    progress = progress_of(Sample.objects.get())
    assert (progress.done, progress.pending) == (2, 0)
    assert Analysis.objects.count() == 4


def test_what_waits_or_failed_goes_over_and_a_result_on_its_way_is_dropped(
    sample: Sample, model: ModelVersion, doctor: User, technician: User
) -> None:
    images_upload(target=sample, files=[("late.png", picture(seed=9))], by=technician)
    (late,) = pipeline.claim(worker="slow")
    failed = Analysis.objects.exclude(pk=late.pk).first()
    assert failed
    Analysis.objects.filter(pk=failed.pk).update(status="failed")
    new = activate(ModelVersionFactory.create())
    sample_reanalyse(sample=sample, by=doctor)
    assert not reading.complete(late, Reader().classify(None))
    jobs = Analysis.objects.filter(model_version=new)
    assert [job.status for job in jobs] == ["queued"] * 3
    assert Analysis.objects.filter(model_version=model).count() == 1


def test_there_must_be_another_model(sample: Sample, model: ModelVersion, doctor: User) -> None:
    with pytest.raises(ValidationError, match="reads this sample already"):
        sample_reanalyse(sample=sample, by=doctor)
    Deployment.objects.all().delete()
    with pytest.raises(ValidationError, match="No model is in use"):
        sample_reanalyse(sample=sample, by=doctor)


def test_a_technician_sees_the_models_but_no_button(
    sample: Sample, technician: User, client: Client
) -> None:
    new = activate(ModelVersionFactory.create())
    client.force_login(technician)
    page = text(client, sample)
    assert str(new) in page
    assert "Analyse again" not in page
    assert client.post(f"/samples/{sample.pk}/reanalyse/").status_code == 403


def test_the_site_decides_which_model_it_is(
    sample: Sample, site: Site, doctor: User, model: ModelVersion
) -> None:
    own = ModelVersionFactory.create()
    activate(ModelVersionFactory.create())
    Deployment.objects.create(model_version=own, site=site)
    new = images_upload(target=NewSample(site=site), files=[("a.png", picture())], by=doctor)[0]
    assert new
    new.refresh_from_db()
    assert new.model_version == own
    sample_reanalyse(sample=sample, by=doctor)
    sample.refresh_from_db()
    assert sample.model_version == own
