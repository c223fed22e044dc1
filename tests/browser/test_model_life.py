"""A model's life in a real browser: from a dataset to a model in use to a classified image, and
back."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_main_job import complaints, log_in
from tests.factories import smear
from tests.system import RunningSystem

__all__ = ["complaints"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 180_000  # milliseconds, for a training on two busy cores
CLASSES = ("lymphocyte", "neutrophil", "smooth cell")  # the last is new to the system
PHOTOGRAPHS = 8  # of each class


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    """A system of its own: what it puts in use is nobody else's business."""
    with RunningSystem(
        tmp_path / "system",
        processes=("web", "worker", "training"),
        variables={"JOB_LOW_PRIORITY": "0"},  # beside the other tests it would wait for ever
    ) as running:
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Smears in the folders of Kaggle's archive, one that is no picture, and one from outside."""
    path = tmp_path / "cells.zip"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(len(CLASSES) * PHOTOGRAPHS):
            label = CLASSES[number % len(CLASSES)]
            file.writestr(
                f"dataset2-master/images/TRAIN/{label.upper()}/_{number}.png",
                smear(100 + number, white_cells=1),
            )
        file.writestr("dataset2-master/images/TRAIN/NEUTROPHIL/program.png", b"MZ a program")
    return path


def test_from_a_dataset_to_a_model_in_use_and_back(
    page: Page,
    browser: Browser,
    system: RunningSystem,
    archive: Path,
    tmp_path: Path,
    complaints: list[str],
) -> None:
    page.set_default_timeout(30_000)
    expect.set_options(timeout=15_000)
    log_in(page, system, "admin")

    # A dataset: sent, imported, looked at.
    page.get_by_role("link", name="Models", exact=True).click()
    page.get_by_role("link", name="Datasets", exact=True).click()
    page.get_by_role("link", name="Upload a dataset").click()
    page.locator("input[type=file]").first.set_input_files(archive)
    page.get_by_label("Name", exact=True).fill("Synthetic smears")
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("link", name="Change classes")).to_be_visible(timeout=PATIENCE)
    main = page.get_by_role("main")
    expect(main).to_contain_text("Smooth cell")
    expect(main).to_contain_text("program.png")
    expect(main).to_contain_text("a Windows program")

    # A short training that starts from the model in use.
    page.get_by_role("link", name="Trainings", exact=True).click()
    page.get_by_role("link", name="Train a model").first.click()
    page.get_by_label(re.compile("Synthetic smears")).check()
    page.get_by_role("button", name="Go on").click()
    page.get_by_text("Advanced", exact=True).click()
    for field, value in (("epochs", 1), ("crops_per_epoch", 48), ("warm_up_crops", 48)):
        page.locator(f"[name={field}]").fill(str(value))
    page.get_by_role("button", name="Check what it takes").click()
    page.get_by_role("button", name="Start training").click()
    result = page.get_by_role("heading", name="What came of it")
    expect(result).to_be_visible(timeout=PATIENCE)

    # The candidate knows three of eight classes: the gate is closed, and a second reason opens it.
    page.locator("section", has=result).get_by_role("link").first.click()
    candidate = page.get_by_role("heading", level=1).inner_text()
    expect(main).to_contain_text("not passed", timeout=PATIENCE)
    page.get_by_role("link", name=re.compile("Put in use")).first.click()
    expect(main).to_contain_text("The gate is closed.")
    page.get_by_label("Reason", exact=True).fill("To see the whole way.")
    page.get_by_role("button", name="Put in use").click()
    expect(main).to_contain_text("give a second reason")
    assert [line for line in complaints if "422" not in line] == []  # the refusal, told as one
    complaints.clear()
    page.get_by_label("Second reason").fill("Nobody's samples are read here.")
    page.get_by_role("button", name="Put in use").click()
    expect(main).to_contain_text(f"{candidate} is in use")

    # A technician's image is read with it, by workers that were never restarted.
    technician = browser.new_page()
    log_in(technician, system, "technician")
    picture = tmp_path / "field.png"
    picture.write_bytes(smear(500, white_cells=2))
    read_by(technician, system, picture, candidate)

    # And back, with one click.
    page.get_by_role("link", name="Models", exact=True).first.click()
    page.get_by_role("button", name=re.compile("Go back")).click()
    expect(main).not_to_contain_text(f"{candidate} is in use")
    picture.write_bytes(smear(501, white_cells=2))
    shipped = system.manage("shell", "-v0", "-c", IN_USE).strip()
    assert shipped != candidate
    read_by(technician, system, picture, shipped)
    assert complaints == []


IN_USE = "from inference.registry.selectors import active_model_version as a; print(a())"


def read_by(page: Page, system: RunningSystem, picture: Path, model: str) -> None:
    """Upload a picture to a new sample, and see that this model reads it."""
    page.goto(f"{system.url}/upload/")
    page.get_by_label("Drop images here, or choose them").set_input_files(picture)
    page.get_by_role("button", name="Analyse 1 image").click()
    results = page.locator("#upload-results")
    expect(results.locator("article", has_text="classified in")).to_have_count(1, timeout=90_000)
    page.get_by_role("link", name="Samples", exact=True).click()
    page.get_by_role("link", name=re.compile("HV-")).first.click()
    expect(page.get_by_role("main")).to_contain_text(model)
