"""A person answers cells in a real browser: by keyboard, by mouse, and the page follows."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_main_job import complaints, log_in
from tests.factories import smear
from tests.system import RunningSystem

__all__ = ["complaints"]
pytestmark = pytest.mark.browser


def test_cells_are_answered_by_keyboard_and_by_mouse(
    page: Page, live_system: RunningSystem, tmp_path: Path, complaints: list[str]
) -> None:
    path = tmp_path / "field.png"
    path.write_bytes(smear(31, white_cells=3))
    log_in(page, live_system, "doctor")
    page.goto(f"{live_system.url}/upload/")
    page.set_input_files("#id_images", path)
    page.get_by_label("Pictures of this sample may be used").check()
    page.get_by_role("button", name="Analyse").click()
    page.locator("#upload-results article", has_text="classified in").wait_for()
    expect(page.locator("#upload-results")).to_contain_text("Not validated at this site")
    page.goto(f"{live_system.url}/samples/")
    page.locator(".sample-row-name").first.click()
    expect(page.get_by_text("Consent is given")).to_be_visible()

    first, second = (page.locator(".cell").nth(at) for at in (0, 1))
    first.get_by_label("It is").focus()
    page.keyboard.type("Blast")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(first.locator(".cell-label")).to_contain_text("Blast reviewed")
    expect(first).to_contain_text("The model:")
    expect(page.locator("#summary .badge").first).to_contain_text("1 of")
    expect(page.locator(".smear-box").first).to_have_class(re.compile("cell-blast"))
    expect(first.get_by_role("button", name="Save")).to_be_focused()

    second.get_by_label("It is").select_option(label="Artefact")
    second.get_by_role("button", name="Save").click()
    expect(page.locator("#summary")).to_contain_text("artefacts apart: 1")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []
