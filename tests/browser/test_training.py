"""A training in the browser: asked for, watched, finished early; asked for again, cancelled."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_main_job import log_in
from tests.system import RunningSystem

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 180_000  # milliseconds; the tests beside want the same cores

DATA = """
from tests.factories import DatasetFactory, dataset_version
dataset = DatasetFactory.create(name="Smears")
dataset_version(["lymphocyte", "neutrophil", "odd"], each=6, groups=6, dataset=dataset)
"""
TINY = {
    "Side of a crop, in pixels": "32",
    "Epochs": "300",
    "Epochs without gain": "300",
    "Crops in an epoch": "16",
    "Crops in a batch": "4",
}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    processes = ("web", "training")
    variables = {"JOB_LOW_PRIORITY": "false"}
    with RunningSystem(tmp_path / "s", processes=processes, variables=variables) as running:
        running.manage("shell", "-v0", "-c", DATA)
        yield running


def test_a_training_is_watched_finished_early_repeated_and_cancelled(
    page: Page, system: RunningSystem
) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    log_in(page, system, "admin")
    page.goto(f"{system.url}/trainings/")
    page.get_by_role("link", name="Train a model").click()
    page.get_by_label("Smears v1").check()
    page.get_by_role("button", name="Go on").click()
    page.get_by_label("odd").fill("")
    page.get_by_label("Random weights").check()
    page.get_by_label("Deal all photographs anew").check()
    page.get_by_text("Advanced", exact=True).click()
    page.get_by_label("Network").select_option("scratch-cnn")
    for label, value in TINY.items():
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Check what it takes").click()
    expect(page.get_by_text("12, of 12 photographs")).to_be_visible()
    page.get_by_role("button", name="Start training").click()

    # The curves grow and the progress moves without a reload.
    page.evaluate("window.sameLoad = true")
    expect(page.locator("#curves polyline")).to_have_count(4, timeout=PATIENCE)
    expect(page.get_by_text(re.compile(r"Epoch [2-9] of 300"))).to_be_visible(timeout=PATIENCE)
    assert page.evaluate("window.sameLoad")
    page.get_by_role("button", name="Finish now").click()
    result = page.get_by_role("heading", name="What came of it")
    expect(result).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("it ended early")).to_be_visible()

    page.get_by_role("link", name="Train again with these settings").click()
    expect(page.get_by_label("odd")).to_have_value("")
    page.get_by_role("button", name="Check what it takes").click()
    page.get_by_role("button", name="Start training").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".badge", has_text="Cancelled")).to_be_visible(timeout=PATIENCE)
    assert system.row("SELECT count(*) FROM inference_trainingrun") == (2,)
    assert not complaints
