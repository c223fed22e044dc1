"""A real training on a tiny dataset, and what may happen to it: nothing twice, nothing lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import pytest

from tests.crash.test_worker import UPLOAD, wait_until_done
from tests.factories import smear
from tests.system import RunningSystem

pytestmark = [pytest.mark.crash, pytest.mark.slow]

EPOCHS = 60
WAIT_SECONDS = 180

START = f"""
from accounts.models import User
from inference.models import TrainingRun
from inference.registry.selectors import active_model_version
from inference.training.options import Options, Order
from inference.training.services import training_start
from tests.factories import dataset_version
version = dataset_version(["lymphocyte", "neutrophil"], each=4)
options = Options(
    backbone="scratch-cnn", size=32, split="photograph", validation=0.25, test=0.25, batch=4,
    crops_per_epoch=16, epochs={EPOCHS}, patience=1000, views=1,
)
order = Order([version], dict(), TrainingRun.Start.SCRATCH, active_model_version(), options)
training_start(order=order, by=User.objects.get(username="admin"))
"""

CANCEL = """
from accounts.models import User
from inference.jobs.queue import job_stop
from inference.models import Job
job_stop(job=Job.objects.get(), how=Job.Stop.CANCEL, by=User.objects.get(username="admin"))
"""


class State(NamedTuple):
    uuid: str
    status: str
    attempt: int
    error: str
    epochs: int


STATE = """
SELECT job.uuid, job.status, job.attempt, job.error, run.history
FROM inference_job job JOIN inference_trainingrun run ON run.job_id = job.id
"""
MODELS = "SELECT count(*) FROM inference_modelversion WHERE origin = 'trained'"
COMPARISONS = "SELECT count(*) FROM inference_comparison"
ENDS = "SELECT count(*) FROM accounts_auditevent WHERE action = 'job_done'"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system whose training has ended two epochs of many."""
    variables = {
        "JOB_LOW_PRIORITY": "false",  # the tests beside would starve it
        "JOB_LEASE_SECONDS": "5",
        "REAPER_SECONDS": "1",
    }
    processes = ("web", "worker", "training", "beat")
    with RunningSystem(tmp_path / "s", processes=processes, variables=variables) as running:
        running.manage("shell", "-v0", "-c", START)
        wait_for(running, lambda now: now.epochs > 2)
        yield running


def state(system: RunningSystem) -> State:
    uuid, status, attempt, error, history = system.row(STATE)
    epochs = str(history).count("validation_loss")
    return State(str(uuid).replace("-", ""), status, attempt, error, epochs)


def wait_for(system: RunningSystem, condition: Callable[[State], bool]) -> State:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition(now := state(system)):
        assert time.monotonic() < deadline, (now, system.log("training"))
        assert now.status not in ("failed", "cancelled"), now
        time.sleep(0.05)
    return now


def folder(system: RunningSystem) -> Path:
    (found,) = (system.folder / "data" / "files" / "jobs").iterdir()
    return found


def children(system: RunningSystem) -> list[int]:
    """Processes that work on this system's job, wherever they hang."""
    (uuid,) = [folder(system).name]
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if uuid.encode() in words:
            found.append(int(path.name))
    return found


def finishes_once(system: RunningSystem) -> None:
    now = wait_for(system, lambda now: now.status == "done")
    assert now.epochs == EPOCHS + 1
    assert system.row(MODELS) == system.row(COMPARISONS) == (1,)
    log = (folder(system) / "log.txt").read_text()
    assert "Going on after epoch" in log
    assert log.count(f"epoch {EPOCHS}:") == 1


def test_a_killed_worker_goes_on_after_the_last_epoch(
    system: RunningSystem, tmp_path: Path
) -> None:
    system.kill("training")
    deadline = time.monotonic() + 10
    while children(system):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = state(system)
    assert before.status == "running"
    with urlopen(f"{system.url}/", timeout=10) as page:
        assert page.status == 200
    system.start("training")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "field.png").write_bytes(smear(7))
    system.manage("shell", "-v0", "-c", UPLOAD.format(folder=str(pictures)))
    wait_until_done(system, 1)  # beside the training
    assert state(system).status != "done"
    finishes_once(system)


def test_a_killed_child_and_a_worker_stopped_in_good_order(system: RunningSystem) -> None:
    for pid in children(system):
        os.kill(pid, signal.SIGKILL)
    before = wait_for(system, lambda now: now.attempt == 2 or now.status == "queued")
    assert "was killed" in before.error or before.status == "running"
    further = wait_for(system, lambda now: now.epochs > before.epochs)
    assert further.attempt == 1, "what got further begins to count anew"
    os.kill(system.pid("training"), signal.SIGTERM)
    now = wait_for(system, lambda now: now.status == "queued")
    assert (now.attempt, now.error) == (0, "")
    system.kill("training")
    system.start("training")
    finishes_once(system)


def test_a_frozen_worker_does_not_write_twice(system: RunningSystem) -> None:
    """Frozen beyond its lease, not while it holds SQLite's lock: see `row`, which would wait."""
    os.kill(system.pid("training"), signal.SIGSTOP)
    wait_for(system, lambda now: now.status == "queued")
    deadline = time.monotonic() + 30
    while children(system):  # its child sees that the claim is lost, and ends
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert state(system).status == "queued"
    os.kill(system.pid("training"), signal.SIGCONT)
    finishes_once(system)


def test_a_cancelled_training_leaves_nothing_but_its_log(system: RunningSystem) -> None:
    system.manage("shell", "-v0", "-c", CANCEL)
    deadline = time.monotonic() + WAIT_SECONDS
    while state(system).status != "cancelled" or len(list(folder(system).iterdir())) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert [path.name for path in folder(system).iterdir()] == ["log.txt"]
    assert system.row(MODELS) == system.row(COMPARISONS) == system.row(ENDS) == (0,)
    assert not children(system)
