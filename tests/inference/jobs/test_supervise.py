"""Real child processes: what they do, how they end, and what ends them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import OperationalError, connection
from pytest_django import Settings

from inference.jobs import log, queue, supervise
from inference.models import Job
from tests.factories import JobFactory

pytestmark = [
    pytest.mark.crash,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(sys.platform != "linux", reason="the kernel's ways are Linux's"),
]
WAIT_SECONDS = 60


@pytest.fixture(autouse=True)
def children(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Child processes that use this test's database and folder, and the tests' runners."""
    monkeypatch.setattr(queue, "hint", lambda: None)
    monkeypatch.setattr(supervise, "CHILD", "tests.inference.jobs.child")
    monkeypatch.setattr(supervise, "LOOK_EVERY", 0.05)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "hematovision.settings")
    monkeypatch.setenv("HEMATOVISION_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url())
    monkeypatch.setenv("JOB_LOW_PRIORITY", "false")  # the tests beside would starve them
    yield
    supervise.stopping.clear()


def database_url() -> str:
    name = connection.settings_dict["NAME"]
    if connection.vendor == "sqlite":
        return f"sqlite:///{name}"
    return os.environ["DATABASE_URL"].rpartition("/")[0] + f"/{name}"


def claim(what: str, kind: Job.Kind = Job.Kind.DATASET_IMPORT) -> Job:
    JobFactory.create(message=what, kind=kind)
    job = queue.claim(worker="w1")
    assert job
    return job


def do(what: str, kind: Job.Kind = Job.Kind.DATASET_IMPORT) -> Job:
    job = claim(what, kind)
    supervise.work_on(job)
    job.refresh_from_db()
    return job


def do_while(what: str, act: Callable[[Job, list[int]], object]) -> Job:
    """Have a job done; once it runs, do something with the row and the processes' numbers."""
    job = claim(what)
    thread = in_thread(job)
    pids = pids_of(job)
    act(job, pids)
    thread.join(WAIT_SECONDS)
    assert not thread.is_alive()
    wait_for(lambda: not any(is_alive(pid) for pid in pids))
    job.refresh_from_db()
    return job


def in_thread(job: Job) -> threading.Thread:
    def work() -> None:
        try:
            supervise.work_on(job)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def pids_of(job: Job) -> list[int]:
    file = job.folder / "pids"
    wait_for(lambda: file.exists() and " " in file.read_text())
    return [int(pid) for pid in file.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# --- Ends that the child tells ---------------------------------------------------------------
def test_a_training_is_done_in_idle_time_other_work_at_a_low_priority(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOB_LOW_PRIORITY", "true")
    job = do("count", Job.Kind.TRAINING)
    assert (job.status, job.error) == ("done", "")
    assert (job.stage, job.steps_done, job.steps_total) == ("counting", 3, 3)
    assert job.message == "3 counted"
    assert f"priority (19, {os.SCHED_IDLE}, '1000" in log.tail(job, 3)
    assert [path.name for path in job.folder.iterdir()] == ["log.txt"]
    job = do("count")  # somebody waits for an import
    assert f"priority (10, {os.SCHED_OTHER}, '1000" in log.tail(job, 3)


@pytest.mark.parametrize(
    ("what", "told"),
    [("refuse", "There is only one class."), ("fill_the_disk", "The disk is full.")],
)
def test_a_failure_says_why(what: str, told: str) -> None:
    job = do(what)
    assert job.status == "failed"
    assert job.error.startswith(told)
    assert log.tail(job, 1)


def test_a_result_is_written_by_who_holds_the_claim_only() -> None:
    job = do("write_twice")
    assert (job.status, job.message) == ("running", "write_twice")


def test_a_child_answers_the_wish_to_cancel() -> None:
    def cancel(job: Job, pids: list[int]) -> None:
        Job.objects.filter(pk=job.pk).update(stop=Job.Stop.CANCEL)

    assert do_while("wait", cancel).status == "cancelled"


# --- Ends that the worker tells --------------------------------------------------------------
def test_a_child_that_does_not_answer_is_cancelled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervise, "CANCEL_SECONDS", 0.1)

    def cancel(job: Job, pids: list[int]) -> None:
        Job.objects.filter(pk=job.pk).update(stop=Job.Stop.CANCEL)

    assert do_while("sleep", cancel).status == "cancelled"


def test_a_killed_child_is_begun_again() -> None:
    job = do_while("sleep", lambda job, pids: os.kill(pids[0], signal.SIGKILL))
    assert (job.status, job.attempt) == ("queued", 1)
    assert job.error.startswith("The process of this work was killed")


def test_a_child_that_got_further_counts_anew() -> None:
    JobFactory.create(message="get_further", kind=Job.Kind.DATASET_IMPORT, attempt=2)
    job = queue.claim(worker="w1")
    assert job
    assert job.attempt == 3
    thread = in_thread(job)
    os.kill(pids_of(job)[0], signal.SIGKILL)
    thread.join(WAIT_SECONDS)
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("queued", 1)


def test_last_words_of_a_library_reach_the_log() -> None:
    job = do("crash")
    assert job.status == "queued"
    assert "(7)" in job.error
    assert "A library's last words." in log.tail(job, 5)


def test_a_stopped_worker_puts_its_work_back() -> None:
    job = do_while("wait", lambda job, pids: supervise.stopping.set())
    assert (job.status, job.attempt, job.error) == ("queued", 0, "")


def test_a_lost_claim_ends_the_child() -> None:
    def lose(job: Job, pids: list[int]) -> None:
        Job.objects.filter(pk=job.pk).update(claim=None, message="another worker's")

    job = do_while("sleep", lose)
    assert (job.status, job.message) == ("running", "another worker's")


def test_memory_is_bounded_over_all_processes_of_the_work(settings: Settings) -> None:
    settings.JOB_MEMORY_MB = 300
    job = do("take_memory")
    assert job.status == "failed"
    assert "more than the 300 MB of memory" in job.error
    assert job.peak_memory_mb
    assert job.peak_memory_mb > 300


def test_a_full_disk_ends_the_work_before_and_in_its_middle(settings: Settings) -> None:
    free_mb = 10**12
    settings.JOB_FREE_DISK_MB = free_mb
    job = do("count")
    assert job.status == "failed"
    assert "Make room on the server, then try again" in job.error
    assert not job.folder.exists()
    settings.JOB_FREE_DISK_MB = 0

    def fill(job: Job, pids: list[int]) -> None:
        settings.JOB_FREE_DISK_MB = free_mb

    job = do_while("wait", fill)
    assert job.status == "failed"
    assert (job.folder / "pids").exists(), "what was made is kept for another attempt"


def test_output_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(supervise, "OUTPUT_BYTES", 10)
    output = tmp_path / "output.txt"
    output.write_text("warning " * 100)
    supervise._bound(output)
    assert output.read_text() == ""


# --- Death of the worker ---------------------------------------------------------------------
WORKER = """
import sys, threading, django
django.setup()
from inference.jobs import queue, supervise
from inference.models import Job
supervise.CHILD = "tests.inference.jobs.child"
queue.hint = lambda: None
job = queue.claim(worker="w1")
thread = threading.Thread(target=supervise.work_on, args=(job,))
thread.start()
thread.join()
"""


def test_a_killed_worker_takes_its_child_and_that_ones_children_along() -> None:
    job = JobFactory.create(message="sleep", kind=Job.Kind.DATASET_IMPORT)
    worker = subprocess.Popen([sys.executable, "-c", WORKER], cwd=django_settings.BASE_DIR)
    pids = pids_of(job)
    assert all(is_alive(pid) for pid in pids)
    worker.kill()
    worker.wait()
    wait_for(lambda: not any(is_alive(pid) for pid in pids))
    queue.release(worker="w1")
    job.refresh_from_db()
    assert (job.status, job.attempt) == ("queued", 1)


def freeze(*pids: int) -> None:
    """Stop processes, but not while one of them holds SQLite's write lock, which all need."""
    while True:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA busy_timeout = 100")
        try:
            Job.objects.update(error="")
        except OperationalError:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        else:
            connection.close()
            return


def test_two_processes_never_work_in_one_folder() -> None:
    """A frozen worker's child is still there when the lease has run out and another begins."""
    job = claim("wait")
    script = WORKER.replace('queue.claim(worker="w1")', "Job.objects.get()")
    frozen = subprocess.Popen([sys.executable, "-c", script], cwd=django_settings.BASE_DIR)
    pids = pids_of(job)
    freeze(frozen.pid, pids[0])
    queue.give_back(job, "The lease has run out.")
    Job.objects.update(message="count")
    again = queue.claim(worker="w2")
    assert again
    thread = in_thread(again)
    time.sleep(1)  # for the new child to start; it may not get any further
    assert Job.objects.get().steps_done == 0
    os.kill(frozen.pid, signal.SIGCONT)  # it sees that its claim is lost, and kills its child
    thread.join(WAIT_SECONDS)
    frozen.wait(WAIT_SECONDS)
    job.refresh_from_db()
    assert (job.status, job.worker, job.message) == ("done", "w2", "3 counted")
    assert not any(is_alive(pid) for pid in pids)
