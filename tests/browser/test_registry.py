"""A bundle's way in a real browser: imported, compared, put in use, and taken back."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_main_job import complaints, log_in  # noqa: F401  (a fixture)
from tests.bundles import make_contrary
from tests.system import RunningSystem

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WAIT = 60_000  # milliseconds


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    with RunningSystem(
        tmp_path / "system",
        processes=("web", "worker", "training"),
        variables={"JOB_LOW_PRIORITY": "0"},  # beside the other tests it would wait for ever
    ) as running:
        yield running


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder, file = make_contrary(tmp_path / "bundle", "second"), tmp_path / "second.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    return file


def example_is_read_by(browser: Browser, system: RunningSystem, version: str) -> None:
    page = browser.new_context().new_page()
    log_in(page, system, "technician")
    page.get_by_role("button", name=re.compile("example", re.IGNORECASE)).click()
    expect(page.get_by_text("classified in").first).to_be_visible(timeout=WAIT)
    expect(page.locator("#summary")).to_contain_text(version)
    page.context.close()


def test_from_another_installation_into_use_and_back(
    page: Page,
    browser: Browser,
    system: RunningSystem,
    bundle: Path,
    complaints: list[str],  # noqa: F811
) -> None:
    log_in(page, system, "admin")
    page.get_by_role("link", name="Models", exact=True).first.click()
    first = page.locator("h3 a").inner_text()
    page.get_by_role("link", name="Import a bundle").click()
    page.get_by_label("Bundle").set_input_files(bundle)
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_role("heading", name="second")).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("Candidate", exact=True)).to_be_visible()

    # The comparison is a job; its page shows the verdict by itself. There is no dataset yet.
    page.get_by_role("button", name="Compare").click()
    checks = page.locator(".checks")
    expect(checks).to_contain_text("Only 0 photographs are left", timeout=WAIT)
    expect(checks.get_by_text("not passed")).to_have_count(2)  # nor can "not worse" be told

    # By keyboard: two reasons, since the gate is closed.
    page.get_by_role("link", name="second").first.click()
    page.get_by_role("link", name="Put in use").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Reason", exact=True).focus()
    page.keyboard.type("It comes from the other laboratory.")
    page.keyboard.press("Tab")
    page.keyboard.type("We have no dataset yet.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_text("second is in use for new samples.")).to_be_visible(timeout=WAIT)
    expect(page.get_by_text("without the gate We have no dataset yet.")).to_be_visible()
    example_is_read_by(browser, system, "second")

    page.get_by_role("button", name=f"Go back to {first}").click()
    expect(page.get_by_text(f"{first} is in use for new samples.")).to_be_visible()
    example_is_read_by(browser, system, first)
    assert complaints == []
