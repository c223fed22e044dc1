"""A dataset in a real browser: sent over a connection that breaks, looked at, changed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.test_main_job import complaints, log_in
from tests.inference.datasets.conftest import smears, zipped
from tests.system import RunningSystem

__all__ = ["complaints"]
pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 120_000  # milliseconds, for an import on two busy cores


@pytest.fixture
def system(tmp_path: Path) -> Iterator[RunningSystem]:
    with RunningSystem(
        tmp_path / "system",
        processes=("web", "training"),
        variables={"JOB_LOW_PRIORITY": "false"},  # beside other tests it would wait for ever
    ) as running:
        yield running


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A small archive: one file stands under two classes, one is no picture."""
    files = smears(("LYMPHOCYTE", "BLAST"), each=4)
    files["BLAST/the same.png"] = files["LYMPHOCYTE/0.png"]
    files["BLAST/notes.png"] = b"%PDF-1.7"
    path = tmp_path / "cells.zip"
    path.write_bytes(zipped(files))
    return path


def test_sent_looked_at_and_changed(
    page: Page, system: RunningSystem, archive: Path, complaints: list[str]
) -> None:
    log_in(page, system, "admin")
    page.goto(f"{system.url}/datasets/new/")
    pieces: list[str] = []

    def break_the_first(route: Route) -> None:
        pieces.append(route.request.headers["upload-offset"])
        if len(pieces) == 1:
            route.abort()
        else:
            route.continue_()

    page.route("**/datasets/uploads/*/", break_the_first)
    page.get_by_label("Drop a ZIP archive here").set_input_files(archive)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("alert")).to_contain_text("Give the new dataset a name.")
    assert pieces == []  # told before a byte is sent
    page.get_by_label("Name", exact=True).fill("Cells")
    page.get_by_role("button", name="Upload").click()

    # Imported, and the page shows by itself what is in it and what is wrong with it.
    expect(page.get_by_role("link", name="Change classes")).to_be_visible(timeout=PATIENCE)
    assert len(pieces) == 2
    main = page.get_by_role("main")
    expect(main).to_contain_text("BLAST/notes.png")
    pairs = page.locator("section", has_text="One cell under two classes")
    expect(pairs.get_by_text("the same file", exact=True)).to_be_visible()
    expect(page.locator(".plot svg").first).to_be_visible()
    shown = page.locator(".thumb img").first
    shown.scroll_into_view_if_needed()
    expect(shown).to_have_js_property("naturalWidth", 320)
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390

    # The wrong one of the pair is ticked: the next version goes without it.
    act = page.get_by_role("button", name="Make a version without the ticked pictures")
    expect(act).to_be_hidden()
    pairs.locator(".thumb", has_text="the same.png").get_by_role("checkbox").check()
    act.click()
    expect(main).to_contain_text("0 added, 1 removed", timeout=PATIENCE)
    expect(page.get_by_role("heading", level=1)).to_have_text("Cells, version 2")
    expect(page.get_by_text("One cell under two classes")).to_have_count(0)
    lost = [line for line in complaints if "ERR_FAILED" in line or "422" in line]
    assert len(lost) == 2  # the broken connection, and the form's refusal
    assert [line for line in complaints if line not in lost] == []
