"""kill -9 of a real worker in the middle of real work: nothing twice, nothing lost."""

import json
import random
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

REPORT = """
import json
from collections import Counter
from accounts.models import AuditEvent
from analyses.models import Analysis, Cell, Prediction, SampleImage
print(json.dumps({
    "images": SampleImage.objects.count(),
    "analyses": Analysis.objects.count(),
    "states": Counter(Analysis.objects.values_list("status", flat=True)),
    "tried_again": Analysis.objects.filter(attempt__gt=1).count(),
    "cells": Cell.objects.count(),
    "predictions": Prediction.objects.count(),
    "without_cells": SampleImage.objects.filter(cells=None).count(),
    "events": AuditEvent.objects.filter(action="analysis_done").count(),
}))
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    variables = {"ANALYSIS_CLAIM_SIZE": "8"}
    with RunningSystem(tmp_path / "system", variables=variables) as running:
        yield running


def report(system: RunningSystem) -> dict[str, object]:
    found: dict[str, object] = json.loads(system.manage("shell", "-v0", "-c", REPORT))
    return found


@pytest.mark.slow
def test_a_killed_worker_loses_and_repeats_nothing(system: RunningSystem, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:03}.png").write_bytes(smear(number, white_cells=1))
    system.kill_worker()
    system.manage("shell", "-v0", "-c", UPLOAD.format(folder=str(folder)))
    chance = random.Random(1)
    kills = 0
    deadline = time.monotonic() + 120
    while True:
        system.start_worker()
        time.sleep(chance.uniform(2.0, 4.0))  # some time to start, and some to work
        now = report(system)
        if now["states"] == {"done": IMAGES} or time.monotonic() > deadline:
            break
        system.kill_worker()
        kills += 1
    assert kills >= 1, "the worker was done before it could be killed"
    assert now["states"] == {"done": IMAGES}
    assert now["images"] == now["analyses"] == now["events"] == IMAGES
    assert now["cells"] == now["predictions"]
    assert now["without_cells"] == 0
