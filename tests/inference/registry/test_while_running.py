"""A model is put in use while the running system reads a batch: nothing stops, nothing mixes."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.conf import settings

from inference.ml.bundle import CARD_NAME, Card
from tests.bundles import make_contrary
from tests.crash.test_worker import count
from tests.factories import smear
from tests.system import RunningSystem

pytestmark = pytest.mark.slow

IMAGES = 60

BEGIN = """
from pathlib import Path
from accounts.models import Site, User
from analyses.services import NewSample, images_upload
by = User.objects.get(username="technician")
files = [(path.name, path.read_bytes()) for path in sorted(Path({folder!r}).iterdir())]
images_upload(target=NewSample(site=by.sites.get(), accession_number={name!r}), files=files, by=by)
"""

PROMOTE = """
import time
from accounts.models import Site
from analyses.models import Analysis
from inference.registry.selectors import active_model_version
from inference.registry.services import bundle_register, model_promote
second = bundle_register(folder=Path({bundle!r}), by=None)
Path({uploaded!r}).touch()
while not Analysis.objects.filter(status="done").exists():
    time.sleep(0.01)
model_promote(model_version=second, site=None, reason="A test.", override_reason="A running one.",
    expected_active=active_model_version(), by=None)
in_hand = Analysis.objects.exclude(status="done").count()
assert in_hand, "the batch was over before the model changed"
"""

CHECK = """
from django.db.models import F
from analyses.models import Analysis, Prediction, Sample
first, second = (Sample.objects.get(accession_number=name).model_version for name in ("A", "B"))
assert (first.version, second.version) == ({first!r}, "second"), (first, second)
assert not Analysis.objects.exclude(status="done").exists()
assert not Analysis.objects.filter(attempt__gt=1).exists()
of_sample = F("sample_image__sample__model_version")
assert not Analysis.objects.exclude(model_version=of_sample).exists()
cells = {{}}
for said in Prediction.objects.select_related("cell__sample_image__sample", "model_version"):
    sample = said.cell.sample_image.sample
    assert said.model_version_id == sample.model_version_id
    cells.setdefault(sample.accession_number, []).append(said.label)
assert cells["A"] != cells["B"][: len(cells["A"])], "both samples hold the same pictures"
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:03}.png").write_bytes(smear(number, white_cells=1))
    return folder


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return make_contrary(tmp_path / "second", "second")


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    variables = {"ANALYSIS_CLAIM_SIZE": "1"}  # slow enough to change the model meanwhile
    with RunningSystem(tmp_path / "system", variables=variables) as running:
        yield running


def test_a_model_put_in_use_in_the_middle_of_a_batch(
    system: RunningSystem, pictures: Path, second: Path, tmp_path: Path
) -> None:
    uploaded = tmp_path / "uploaded"
    begin = BEGIN.format(folder=str(pictures), name="A")
    then = PROMOTE.format(bundle=str(second), uploaded=str(uploaded))
    more = BEGIN.format(folder=str(pictures), name="B")
    deadline = time.monotonic() + 120
    system.kill_worker()
    with ThreadPoolExecutor(1) as pool:
        acts = pool.submit(system.manage, "shell", "-v0", "-c", begin + then + more)
        while not uploaded.exists():
            assert not acts.done(), acts.result()
            assert time.monotonic() < deadline, "nothing was uploaded"
            time.sleep(0.05)
        system.start_worker()
        acts.result()
    while count(system, "done") < 2 * IMAGES:
        assert time.monotonic() < deadline, system.log("worker")
        time.sleep(0.05)
    first = Card.from_json((settings.MODEL_BUNDLE / CARD_NAME).read_text()).version
    system.manage("shell", "-v0", "-c", CHECK.format(first=first))
