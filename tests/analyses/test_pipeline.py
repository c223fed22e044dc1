"""Rows through the pipeline: claims, leases, attempts, failures and the reaper."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import Settings

from accounts.models import AuditEvent, Site, User
from analyses import pipeline, reading
from analyses.models import Analysis, Cell, Prediction
from analyses.selectors import progress_of, queue_state
from analyses.services import NewSample, analysis_retry, images_upload
from hematovision.files import store
from inference import engines
from inference.ml.bundle import CARD_NAME, SCHEMA_VERSION, BundleError
from inference.ml.engine import CellPrediction, PictureResult
from inference.ml.finder import Box
from inference.ml.quality import Quality
from inference.models import Deployment, ModelVersion
from inference.registry.selectors import bundle_folder
from inference.registry.services import bundle_register
from tests.bundles import make_bundle
from tests.factories import (
    AnalysisFactory,
    ModelVersionFactory,
    SampleFactory,
    SampleImageFactory,
    SiteFactory,
    activate,
    picture,
)

pytestmark = [pytest.mark.unit, pytest.mark.django_db]
Status = Analysis.Status


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr(pipeline, "hint", lambda: sent.append(1))
    return sent


GOOD = Quality(
    blur=0.08, brightness=230, clipped=0, chroma=0.3, foreign=0.01, uneven=0.01, cast=1.05
)


def result(*labels: str, quality: Quality = GOOD) -> PictureResult:
    cells = [
        CellPrediction(Box(10 * n, 5, 8, 8), label, 0.9, {label: 0.9, "other": 0.1}, 0.0, ())
        for n, label in enumerate(labels)
    ]
    boxes = [cell.box for cell in cells]
    return PictureResult(cells, boxes, find_ms=4.0, engine_ms=3.0, quality=quality, quality_ms=1.0)


def claim_one() -> Analysis:
    (analysis,) = pipeline.claim(worker="w1")
    return analysis


# --- Claim -----------------------------------------------------------------------------------
def test_a_claim_takes_a_batch_by_priority(settings: Settings) -> None:
    settings.ANALYSIS_CLAIM_SIZE = 3
    batch = AnalysisFactory.create_batch(3, priority=Analysis.Priority.BATCH)
    urgent = AnalysisFactory.create()
    claimed = pipeline.claim(worker="w1")
    assert [row.pk for row in claimed] == [urgent.pk, batch[0].pk, batch[1].pk]
    assert {(row.status, row.attempt, row.worker) for row in claimed} == {("running", 1, "w1")}
    assert all(row.lease_expires_at > timezone.now() for row in claimed if row.lease_expires_at)
    assert [row.pk for row in pipeline.claim(worker="w2")] == [batch[2].pk]
    assert pipeline.claim(worker="w2") == []


def test_rows_that_are_not_due_wait() -> None:
    AnalysisFactory.create(due_at=timezone.now() + timedelta(seconds=60))
    assert pipeline.claim(worker="w1") == []


def test_a_row_that_was_tried_before_is_claimed_alone() -> None:
    """A picture that kills its worker must not take its neighbours' attempts with it."""
    tried = AnalysisFactory.create(attempt=1)
    AnalysisFactory.create_batch(3)
    assert [row.pk for row in pipeline.claim(worker="w1")] == [tried.pk]
    assert len(pipeline.claim(worker="w1")) == 3


@pytest.mark.django_db(transaction=True)
def test_no_row_is_claimed_twice(settings: Settings) -> None:
    settings.ANALYSIS_CLAIM_SIZE = 4
    AnalysisFactory.create_batch(24)

    def worker(name: str) -> list[int]:
        try:
            taken = []
            while claimed := pipeline.claim(worker=name):
                taken += [row.pk for row in claimed]
            return taken
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(worker, "abcd"))
    taken = [pk for share in shares for pk in share]
    assert len(taken) == len(set(taken)) == 24


def test_leases_are_renewed_past_half_time() -> None:
    AnalysisFactory.create()
    analysis = claim_one()
    soon = timezone.now() + timedelta(seconds=10)
    Analysis.objects.update(lease_expires_at=soon)
    analysis.lease_expires_at = soon
    pipeline.renew([analysis])
    analysis.refresh_from_db()
    assert analysis.lease_expires_at is not None
    assert analysis.lease_expires_at > soon + timedelta(seconds=60)


# --- Complete and fail -----------------------------------------------------------------------
def test_what_is_wrong_with_the_picture_is_kept_with_its_result() -> None:
    AnalysisFactory.create_batch(2)
    bad, good = pipeline.claim(worker="w1")
    assert reading.complete(bad, result(quality=replace(GOOD, blur=0.4, brightness=60)))
    assert reading.complete(good, result("neutrophil"))
    flags = dict(Analysis.objects.values_list("pk", "quality_flags"))
    assert flags == {bad.pk: ["blurred", "too_dark"], good.pk: []}


def test_a_result_is_written_once_with_its_event() -> None:
    AnalysisFactory.create()
    analysis = claim_one()
    assert reading.complete(analysis, result("neutrophil", "monocyte"))
    assert not reading.complete(analysis, result("basophil"))
    analysis.refresh_from_db()
    assert (analysis.status, analysis.find_ms) == ("done", 4.0)
    assert [p.label for p in Prediction.objects.order_by("cell__position")] == [
        "neutrophil",
        "monocyte",
    ]
    assert AuditEvent.objects.filter(action="analysis_done").count() == 1


def test_a_worker_that_lost_its_lease_writes_nothing() -> None:
    AnalysisFactory.create()
    frozen = claim_one()
    Analysis.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    pipeline.reap()
    second = claim_one()
    assert second.attempt == 2
    assert not reading.complete(frozen, result("basophil"))
    pipeline.fail(frozen, "too late")
    assert reading.complete(second, result("neutrophil"))
    assert Prediction.objects.get().label == "neutrophil"
    assert Analysis.objects.get().status == Status.DONE


def test_cells_stay_when_another_model_reads_them() -> None:
    first = AnalysisFactory.create()
    reading.complete(claim_one(), result("neutrophil", "monocyte"))
    AnalysisFactory.create(sample_image=first.sample_image, model_version=ModelVersionFactory())
    reading.complete(claim_one(), result("monocyte", "monocyte"))
    assert Cell.objects.count() == 2
    assert Prediction.objects.count() == 4
    assert Cell.objects.first().predictions.count() == 2  # type: ignore[union-attr]


def test_a_model_of_whole_pictures_answers_for_the_main_cell_alone() -> None:
    found = result("neutrophil", "monocyte", "monocyte")
    once = replace(found, cells=found.cells[:1])
    first = AnalysisFactory.create()
    assert reading.complete(claim_one(), once)
    assert Cell.objects.count() == 3  # the picture's, whatever a model says of them
    assert Prediction.objects.get().cell.position == 0
    AnalysisFactory.create(sample_image=first.sample_image, model_version=ModelVersionFactory())
    assert reading.complete(claim_one(), found)
    assert Prediction.objects.count() == 4


def test_a_picture_without_cells_is_done() -> None:
    AnalysisFactory.create()
    assert reading.complete(claim_one(), result())
    assert Analysis.objects.get().status == Status.DONE
    assert not Cell.objects.exists()


def test_a_failure_is_retried_later_and_then_shown(settings: Settings) -> None:
    settings.ANALYSIS_MAX_ATTEMPTS = 2
    AnalysisFactory.create()
    assert pipeline.fail(claim_one(), "The disk was away.")
    waiting = Analysis.objects.get()
    assert (waiting.status, waiting.error) == ("queued", "The disk was away.")
    assert waiting.due_at > timezone.now()
    Analysis.objects.update(due_at=timezone.now())
    assert not pipeline.fail(claim_one(), "The disk was away.")
    assert Analysis.objects.get().status == Status.FAILED
    event = AuditEvent.objects.get(action="analysis_failed")
    assert event.details == {"reason": "The disk was away.", "attempt": 2}


# --- Reading one image -----------------------------------------------------------------------
class Reader:
    """In the engine's place: says what it is told, or raises it."""

    def __init__(self, answer: PictureResult | Exception) -> None:
        self.answer = answer

    def classify(self, image: object) -> PictureResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def upload_one(site: Site, by: User, data: bytes) -> Analysis:
    images_upload(target=NewSample(site=site), files=[("a.png", data)], by=by)
    return claim_one()


@pytest.mark.parametrize(
    ("error", "status", "attempt"),
    [
        (RuntimeError("out of luck"), "queued", 1),
        (BundleError("The model is gone."), "queued", 0),
    ],
)
def test_errors_of_the_engine(
    error: Exception,
    status: str,
    attempt: int,
    site: Site,
    technician: User,
    model: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    analysis = upload_one(site, technician, picture())
    monkeypatch.setattr(reading, "engine_for", lambda version: Reader(error))
    reading.analyse(analysis)
    analysis.refresh_from_db()
    assert (analysis.status, analysis.attempt) == (status, attempt)
    assert str(error) in analysis.error


def of_schema_1(version: ModelVersion) -> ModelVersion:
    """Make the files of a registered model those of an earlier version of the program."""
    card = bundle_folder(version) / CARD_NAME
    card.write_text(card.read_text().replace(f'"schema": {SCHEMA_VERSION}', '"schema": 1'))
    return version


@pytest.fixture
def old(tmp_path: Path) -> ModelVersion:
    """A model in use of an earlier version of the program."""
    folder = make_bundle(tmp_path / "bundle", "old")
    return of_schema_1(activate(bundle_register(folder=folder, by=None)))


def test_a_sample_waits_for_a_model_that_runs_and_changes_over(
    site: Site, technician: User, old: ModelVersion
) -> None:
    analysis = upload_one(site, technician, picture())
    failed = AnalysisFactory.create(
        sample_image__sample=analysis.sample_image.sample, model_version=old, status="failed"
    )
    reading.analyse(analysis)
    analysis.refresh_from_db()
    assert (analysis.status, analysis.attempt) == ("queued", 0)
    assert analysis.error.startswith("This version of the program cannot run the model in use.")

    new = activate(ModelVersionFactory.create())
    Analysis.objects.update(due_at=timezone.now())
    reading.analyse(claim_one())
    sample = analysis.sample_image.sample
    sample.refresh_from_db()
    assert sample.model_version == new
    jobs = Analysis.objects.filter(sample_image__sample=sample)
    assert {job.sample_image for job in jobs} == {analysis.sample_image, failed.sample_image}
    assert {(job.model_version, job.status, job.attempt) for job in jobs} == {(new, "queued", 0)}
    event = AuditEvent.objects.get(action="samples_changed_over")
    assert event.object_label == str(new)
    assert event.details == {"before": "old", "samples": [sample.pk]}


def test_a_sample_with_a_result_keeps_its_model_and_fails(
    site: Site, technician: User, old: ModelVersion
) -> None:
    analysis = upload_one(site, technician, picture())
    AnalysisFactory.create(
        sample_image__sample=analysis.sample_image.sample, model_version=old, status="done"
    )
    activate(ModelVersionFactory.create())
    reading.analyse(analysis)
    analysis.refresh_from_db()
    assert analysis.status == "failed"
    assert analysis.error == engines.OTHER_VERSION
    assert analysis.sample_image.sample.model_version == old


def test_a_sample_is_read_by_the_model_of_its_site(technician: User, model: ModelVersion) -> None:
    here, there = SiteFactory.create_batch(2)
    own = ModelVersionFactory.create()
    Deployment.objects.create(model_version=own, site=here)
    read_by = {
        site: upload_one(site, technician, picture()).model_version for site in (here, there)
    }
    assert read_by == {here: own, there: model}
    Deployment.objects.create(model_version=None, site=here)
    assert upload_one(here, technician, picture(seed=1)).model_version == model


def test_a_file_gone_from_the_store_is_retried_and_named(
    site: Site, technician: User, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysis = upload_one(site, technician, picture())
    store.path_of(analysis.sample_image.stored_image.sha256).unlink()
    monkeypatch.setattr(reading, "engine_for", lambda version: Reader(result()))
    reading.analyse(analysis)
    analysis.refresh_from_db()
    assert analysis.status == "queued"
    assert "cannot be read" in analysis.error


def test_a_bad_image_never_fails_its_neighbours(
    site: Site, technician: User, model: ModelVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [(f"{n}.png", picture(seed=n)) for n in range(3)]
    images_upload(target=NewSample(site=site), files=files, by=technician)
    monkeypatch.setattr(reading, "engine_for", lambda version: Reader(result("neutrophil")))
    claimed = pipeline.claim(worker="w1")
    store.path_of(claimed[1].sample_image.stored_image.sha256).unlink()
    for analysis in claimed:
        reading.analyse(analysis)
    assert [a.status for a in Analysis.objects.order_by("pk")] == ["done", "queued", "done"]


# --- Reap ------------------------------------------------------------------------------------
def test_expired_leases_come_back_and_end_at_last(settings: Settings, hints: list[int]) -> None:
    settings.ANALYSIS_MAX_ATTEMPTS = 3
    AnalysisFactory.create()
    for attempt in (1, 2, 3):
        assert claim_one().attempt == attempt
        assert pipeline.reap() == pipeline.Reaped(0, 0, 0)  # the lease still holds
        Analysis.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        last = attempt == 3
        assert pipeline.reap() == pipeline.Reaped(int(not last), int(last), 0)
    assert Analysis.objects.get().status == Status.FAILED
    assert "worker stopped" in Analysis.objects.get().error
    assert len(hints) == 2


def test_a_worker_that_starts_anew_frees_what_it_held() -> None:
    AnalysisFactory.create_batch(2)
    pipeline.claim(worker="inference@here")
    AnalysisFactory.create()
    pipeline.claim(worker="inference@there")
    assert pipeline.release(worker="inference@here").requeued == 2
    assert Analysis.objects.filter(status=Status.RUNNING).count() == 1


def test_a_lost_hint_is_sent_again(hints: list[int]) -> None:
    pipeline.reap()
    assert hints == []
    AnalysisFactory.create()
    pipeline.reap()
    assert hints == [1]


def test_images_that_waited_for_a_model_are_queued(technician: User) -> None:
    image = SampleImageFactory.create(sample=SampleFactory.create(created_by=technician))
    assert pipeline.reap().queued == 0
    model = activate(ModelVersionFactory.create())
    assert pipeline.reap().queued == 1
    assert Analysis.objects.get().sample_image == image
    image.sample.refresh_from_db()
    assert image.sample.model_version == model


def test_a_sample_keeps_its_model_when_another_is_activated(
    site: Site, technician: User, model: ModelVersion
) -> None:
    sample, _ = images_upload(
        target=NewSample(site=site), files=[("a.png", picture(seed=1))], by=technician
    )
    assert sample is not None
    activate(ModelVersionFactory.create())
    images_upload(target=sample, files=[("b.png", picture(seed=2))], by=technician)
    assert {a.model_version for a in Analysis.objects.all()} == {model}


# --- Any order of events ---------------------------------------------------------------------
@pytest.mark.property
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.sampled_from(["claim", "complete", "fail", "expire", "reap", "restart", "stale"]),
        max_size=40,
    )
)
def test_whatever_happens_each_image_ends_once(settings: Settings, steps: list[str]) -> None:
    """Crashes, expired leases and late workers in any order: never a second result, none lost."""
    settings.ANALYSIS_CLAIM_SIZE, settings.ANALYSIS_MAX_ATTEMPTS = 2, 100
    for model in (Prediction, Cell, Analysis):
        model.objects.all().delete()
    rows = AnalysisFactory.create_batch(3)
    held: list[Analysis] = []
    stale: list[Analysis] = []
    for step in steps:
        Analysis.objects.update(due_at=timezone.now())
        match step:
            case "claim":
                stale += held
                held = pipeline.claim(worker="w")
            case "complete" if held:
                reading.complete(held.pop(), result("neutrophil"))
            case "fail" if held:
                pipeline.fail(held.pop(), "bad luck")
            case "expire":
                Analysis.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
            case "reap":
                pipeline.reap()
            case "restart":
                stale, held = stale + held, []
                pipeline.release(worker="w")
            case "stale" if stale:
                reading.complete(stale.pop(), result("basophil"))
    pipeline.release(worker="w")
    Analysis.objects.update(due_at=timezone.now())  # time passes
    while claimed := pipeline.claim(worker="w"):
        for analysis in claimed:
            reading.complete(analysis, result("neutrophil"))
    assert Analysis.objects.filter(status=Status.DONE).count() == len(rows)
    assert Prediction.objects.count() == Cell.objects.count() == len(rows)


def test_a_frozen_worker_does_not_wake_up_into_a_retry(
    technician: User, settings: Settings
) -> None:
    """Attempts count anew after a retry; the token of the claim does not come again."""
    settings.ANALYSIS_MAX_ATTEMPTS = 1
    AnalysisFactory.create()
    frozen = claim_one()
    Analysis.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    pipeline.reap()
    analysis_retry(analysis=Analysis.objects.get(), by=technician)
    second = claim_one()
    assert second.attempt == frozen.attempt
    assert not reading.complete(frozen, result("basophil"))
    assert reading.complete(second, result("neutrophil"))


def test_a_long_queue_behind_a_busy_worker_is_not_stale() -> None:
    long_ago = timezone.now() - timedelta(minutes=5)
    model = ModelVersionFactory.create()
    sample = SampleFactory.create(model_version=model)
    AnalysisFactory.create(sample_image__sample=sample, model_version=model, due_at=long_ago)
    assert progress_of(sample).stale
    assert queue_state().stale
    busy = AnalysisFactory.create(status=Status.RUNNING)
    Analysis.objects.filter(pk=busy.pk).update(
        lease_expires_at=timezone.now() + timedelta(seconds=60)
    )
    assert not progress_of(sample).stale
    assert not queue_state().stale
