"""Rows of jobs: claims, leases, attempts, ends and the reaper."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import AuditEvent
from accounts.permissions import Role
from hematovision.tasks import care
from inference.jobs import folders, log, queue
from inference.models import Job
from tests.factories import JobFactory, UserFactory

pytestmark = [pytest.mark.unit, pytest.mark.django_db]
Kind, Status, Stop = Job.Kind, Job.Status, Job.Stop


@pytest.fixture(autouse=True)
def hints(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr(queue, "hint", lambda: sent.append(1))
    return sent


def claim(worker: str = "w1") -> Job:
    job = queue.claim(worker=worker)
    assert job
    return job


def state(job: Job) -> str:
    job.refresh_from_db()
    return job.status


def events(action: str) -> int:
    return AuditEvent.objects.filter(action=action).count()


# --- Claim -----------------------------------------------------------------------------------
def test_the_oldest_job_that_is_due_is_claimed() -> None:
    JobFactory.create(due_at=timezone.now() + timedelta(minutes=1))
    first, second = JobFactory.create_batch(2, kind=Kind.DATASET_IMPORT)
    assert claim().pk == first.pk
    job = claim()
    assert (job.pk, job.status, job.attempt, job.worker) == (second.pk, "running", 1, "w1")
    assert job.lease_expires_at
    assert job.lease_expires_at > timezone.now()
    assert queue.claim(worker="w1") is None


def test_a_worker_trains_one_model_at_a_time_beside_other_work() -> None:
    JobFactory.create_batch(2, kind=Kind.TRAINING)
    JobFactory.create(kind=Kind.COMPARISON)
    running = claim("w1")
    assert [running.kind, claim("w1").kind] == ["training", "comparison"]
    assert queue.claim(worker="w1") is None
    assert claim("w2").kind == "training"
    queue.finish(running)
    JobFactory.create(kind=Kind.TRAINING)
    assert claim("w1").kind == "training"


@pytest.mark.django_db(transaction=True)
def test_no_job_is_claimed_twice_and_no_two_trainings_by_one_worker() -> None:
    JobFactory.create_batch(4, kind=Kind.TRAINING)
    JobFactory.create_batch(12, kind=Kind.DATASET_IMPORT)

    def take(worker: str) -> list[tuple[int, str]]:
        try:
            taken = []
            while job := queue.claim(worker=worker):
                taken.append((job.pk, job.kind))
            return taken
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        taken = list(pool.map(take, ["w1", "w1", "w2", "w2"]))
    jobs = [job for of_thread in taken for job in of_thread]
    assert len(jobs) == len(set(jobs)) == 14
    assert [kind for _, kind in jobs].count("training") == 2


# --- Who holds the claim ---------------------------------------------------------------------
def test_a_lost_claim_writes_nothing() -> None:
    JobFactory.create()
    before = claim()
    Job.objects.update(status=Status.QUEUED)
    now = claim("w2")
    assert not queue.renew(before)
    assert queue.stop_of(before) == "cancel"
    before.message = "from the dead"
    assert not queue.renew(before)
    queue.give_back(before, "from the dead")
    queue.put_back(before)
    assert not queue.finish(before)
    assert not queue.fail(before, "from the dead")
    assert not queue.cancelled(before)
    now.refresh_from_db()
    assert (now.status, now.worker, now.message, now.error, now.attempt) == (
        *("running", "w2", "", "", 2),
    )
    assert queue.renew(now)
    assert queue.finish(now)
    assert not queue.finish(now)
    assert events("job_done") == 1


# --- Attempts --------------------------------------------------------------------------------
def test_work_that_gets_no_further_fails_after_its_attempts(settings: Settings) -> None:
    settings.JOB_MAX_ATTEMPTS = 3
    JobFactory.create()
    for _ in range(3):
        job = claim()
        queue.give_back(job, "It died.")
    assert state(job) == "failed"
    assert job.error == "It died. It was begun 3 times without getting any further."
    assert events("job_failed") == 1


def test_work_that_gets_further_is_never_given_up(settings: Settings) -> None:
    settings.JOB_MAX_ATTEMPTS = 2
    JobFactory.create()
    for _ in range(5):
        job = claim()
        queue.got_further(job)
        queue.give_back(job, "It died.")
        assert state(job) == "queued"


def test_a_worker_stopped_in_good_order_costs_no_attempt(settings: Settings) -> None:
    settings.JOB_MAX_ATTEMPTS = 1
    JobFactory.create()
    for _ in range(3):
        job = claim()
        assert job.attempt == 1
        queue.put_back(job)
        assert state(job) == "queued"
    assert job.error == ""


# --- The reaper ------------------------------------------------------------------------------
def test_expired_leases_are_given_back() -> None:
    JobFactory.create_batch(2, kind=Kind.EDGE_EXPORT)
    job, other = claim(), claim()
    Job.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    queue.reap()
    assert (state(job), state(other)) == ("queued", "running")
    assert claim("w2").pk == job.pk


def test_a_worker_that_starts_frees_what_it_held() -> None:
    JobFactory.create_batch(2, kind=Kind.EDGE_EXPORT)
    mine, other = claim("w1"), claim("w2")
    queue.release(worker="w1")
    assert (state(mine), state(other)) == ("queued", "running")


def test_a_lost_hint_is_sent_again(hints: list[int]) -> None:
    queue.reap()
    assert not hints
    JobFactory.create()
    queue.reap()
    assert len(hints) == 1


# --- What people ask for ---------------------------------------------------------------------
def test_a_waiting_job_is_cancelled_at_once_and_leaves_its_log_only(
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    job = JobFactory.create()
    log.append(job, "It began.")
    (job.folder / "crops").mkdir()
    (job.folder / "crops" / "0.npy").write_bytes(b"x")
    (job.folder / "checkpoint.keras").write_bytes(b"x")
    with django_capture_on_commit_callbacks(execute=True):
        queue.job_stop(job=job, how=Stop.CANCEL, by=UserFactory.create(role=Role.ADMIN))
    assert state(job) == "cancelled"
    assert [path.name for path in job.folder.iterdir()] == ["log.txt"]
    assert queue.claim(worker="w1") is None
    assert (events("job_stopped"), events("job_cancelled")) == (1, 1)


def test_a_running_job_is_asked_to_end() -> None:
    JobFactory.create()
    job, admin = claim(), UserFactory.create(role=Role.ADMIN)
    queue.job_stop(job=job, how=Stop.FINISH, by=admin)
    assert (state(job), queue.stop_of(job)) == ("running", "finish")
    queue.job_stop(job=job, how=Stop.CANCEL, by=admin)
    queue.give_back(job, "It died before it could answer.")
    assert state(job) == "cancelled"
    queue.job_stop(job=job, how=Stop.FINISH, by=admin)
    assert events("job_stopped") == 2


def test_a_failed_job_is_tried_again_and_no_other(hints: list[int]) -> None:
    JobFactory.create()
    job, admin = claim(), UserFactory.create(role=Role.ADMIN)
    queue.job_retry(job=job, by=admin)
    assert state(job) == "running"
    log.append(job, "It began.")
    (job.folder / "checkpoint.keras").write_bytes(b"x")
    queue.fail(job, "There is no room.")
    queue.job_retry(job=job, by=admin)
    queue.job_retry(job=job, by=admin)
    assert (state(job), job.attempt, job.error) == ("queued", 0, "")
    assert (job.folder / "checkpoint.keras").exists()
    event = AuditEvent.objects.get(action="job_retried")
    assert event.details == {"failed_with": "There is no room."}


# --- Folders ---------------------------------------------------------------------------------
def test_daily_care_removes_what_failed_work_left_long_ago() -> None:
    jobs = JobFactory.create_batch(2, status=Status.FAILED, finished_at=timezone.now())
    for job in jobs:
        log.append(job, "It began.")
        (job.folder / "checkpoint.keras").write_bytes(b"x")
    old = jobs[0]
    old.finished_at = timezone.now() - folders.KEEP_FAILED - timedelta(hours=1)
    old.save()
    unknown = old.folder.parent / "3a1c"
    shutil.copytree(old.folder, unknown)
    care()
    kept = [{path.name for path in job.folder.iterdir()} for job in jobs]
    assert kept == [{"log.txt"}, {"log.txt", "checkpoint.keras"}]
    assert not unknown.exists()


def test_the_log_is_bounded_and_keeps_its_newest_lines(
    monkeypatch: pytest.MonkeyPatch, files_folder: Path
) -> None:
    monkeypatch.setattr(log, "BYTES", 1000)
    job = JobFactory.create()
    for number in range(500):
        log.append(job, f"line {number}")
    assert log.size(job) < 1200
    assert [line[20:] for line in log.tail(job, 2).splitlines()] == ["line 498", "line 499"]
