"""kill -9 of a real worker in the middle of real work: nothing twice, nothing lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.factories import smear
from tests.system import RunningSystem

pytestmark = pytest.mark.crash

IMAGES = 200

UPLOAD = """
from pathlib import Path
from accounts.models import User
from analyses.services import NewSample, images_upload
by = User.objects.get(username="technician")
files = [(path.name, path.read_bytes()) for path in sorted(Path({folder!r}).iterdir())]
_, outcomes = images_upload(target=NewSample(site=by.sites.get()), files=files, by=by)
assert all(outcome.outcome == "accepted" for outcome in outcomes), outcomes
"""

COUNTS = {
    "images": "SELECT count(*) FROM analyses_sampleimage",
    "done": "SELECT count(*) FROM analyses_analysis WHERE status = 'done'",
    "running": "SELECT count(*) FROM analyses_analysis WHERE status = 'running'",
    "analyses": "SELECT count(*) FROM analyses_analysis",
    "tried again": "SELECT count(*) FROM analyses_analysis WHERE attempt > 1",
    "cells": "SELECT count(*) FROM analyses_cell",
    "predictions": "SELECT count(*) FROM analyses_prediction",
    "images with cells": "SELECT count(DISTINCT sample_image_id) FROM analyses_cell",
    "events": "SELECT count(*) FROM accounts_auditevent WHERE action = 'analysis_done'",
}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    variables = {"ANALYSIS_CLAIM_SIZE": "8"}
    with RunningSystem(tmp_path / "system", variables=variables) as running:
        yield running


def count(system: RunningSystem, what: str) -> int:
    return int(system.row(COUNTS[what])[0])


def wait_until_done(system: RunningSystem, images: int) -> None:
    deadline = time.monotonic() + 90
    while count(system, "done") < images:
        assert time.monotonic() < deadline, system.log("worker")
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_worker_loses_and_repeats_nothing(system: RunningSystem, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:03}.png").write_bytes(smear(number, white_cells=1))
    system.kill_worker()
    system.manage("shell", "-v0", "-c", UPLOAD.format(folder=str(folder)))

    in_hand = 0
    for images in (25, 70, 130):
        system.start_worker()
        wait_until_done(system, images)
        system.kill_worker()
        in_hand += count(system, "running")
    assert in_hand > 0, "no kill met the worker with work in hand"
    assert count(system, "done") < IMAGES

    system.start_worker()
    wait_until_done(system, IMAGES)
    assert count(system, "done") == IMAGES
    for what in ("images", "analyses", "events", "images with cells"):
        assert count(system, what) == IMAGES, what
    assert count(system, "cells") == count(system, "predictions")
    assert count(system, "tried again") == in_hand


UPLOAD_WITHOUT_HINT = """
from analyses import pipeline
pipeline.hint = lambda: None
"""


def test_beat_and_reaper_find_a_row_whose_hint_was_lost(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "lost.png").write_bytes(smear(1))
    variables = {"REAPER_SECONDS": "1"}
    processes = ("web", "worker", "beat")
    with RunningSystem(tmp_path / "system", processes=processes, variables=variables) as system:
        script = UPLOAD_WITHOUT_HINT + UPLOAD.format(folder=str(folder))
        system.manage("shell", "-v0", "-c", script)
        wait_until_done(system, 1)
        assert count(system, "tried again") == 0
