"""The main job in a real browser, against the running system: three roles, one sample."""

import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.factories import smear
from tests.system import RunningSystem

pytestmark = pytest.mark.browser


def log_in(page: Page, system: RunningSystem, user_name: str, password: str = "") -> None:
    page.goto(f"{system.url}/accounts/login/")
    page.get_by_label("User name or e-mail").fill(user_name)
    page.get_by_label("Password").fill(password or system.passwords[user_name])
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()


@pytest.fixture
def complaints(page: Page) -> list[str]:
    """What the browser complains of: errors of scripts, breaches of the security policy."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    return said


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two smears and a file that only pretends to be one."""
    files = [tmp_path / "first.png", tmp_path / "second.png", tmp_path / "broken.png"]
    for number, path in enumerate(files[:2]):
        path.write_bytes(smear(number + 20, white_cells=2))
    files[2].write_bytes(b"MZ this is a program")
    return files


def test_from_upload_to_review(
    page: Page,
    browser: Browser,
    live_system: RunningSystem,
    pictures: list[Path],
    complaints: list[str],
) -> None:
    # The technician's start page takes the files; two have results, one a clear refusal.
    log_in(page, live_system, "technician")
    expect(page).to_have_url(f"{live_system.url}/upload/")
    page.get_by_label("Drop images here, or choose them").set_input_files(pictures)
    expect(page.locator("#files img")).to_have_count(2)  # a preview of each that is a picture
    page.get_by_role("button", name="Analyse 3 images").click()
    expect(page.locator("#upload-summary")).to_contain_text("2 received, 1 refused")
    refused = page.locator("#files .file", has_text="broken.png")
    expect(refused).to_contain_text("a Windows program")
    results = page.locator("#upload-results")
    expect(results.locator("article")).to_have_count(2)
    expect(results.locator("article", has_text="classified in")).to_have_count(2, timeout=20_000)
    expect(results.locator(".cell").first).to_be_visible()
    heading = results.get_by_role("heading", name=re.compile("Cells in HV-")).inner_text()
    accession_number = heading.removeprefix("Cells in ")

    # The page is ready for the next batch by itself: a new one goes to a new sample.
    page.get_by_label("Drop images here, or choose them").set_input_files(pictures[:1])
    expect(page.locator("#files .file")).to_have_count(1)

    # One sample, its boxes, its cells, a heat map.
    page.get_by_role("link", name="Samples").click()
    page.get_by_role("link", name=accession_number).click()
    cell = page.locator(".cell").first
    expect(page.locator(".smear-box").first).to_be_visible()
    picture = cell.locator("img")
    before = picture.get_attribute("src")
    cell.get_by_role("button", name="Heat map").click()
    expect(cell.get_by_role("button", name="Heat map")).to_have_attribute("aria-pressed", "true")
    expect(picture).to_have_attribute("src", re.compile("^blob:"))
    cell.get_by_role("button", name="Heat map").click()
    expect(picture).to_have_attribute("src", str(before))
    cell.get_by_text("All classes").click()
    expect(cell.locator("meter")).to_have_count(8)

    # An admin's page is not for technicians.
    assert complaints == []
    page.goto(f"{live_system.url}/accounts/people/")
    expect(page.get_by_role("heading", name="Access denied")).to_be_visible()

    # The doctor finds the sample.
    doctor = browser.new_page()
    log_in(doctor, live_system, "doctor")
    doctor.get_by_role("link", name="Samples", exact=True).click()
    doctor.get_by_label("Search").fill(accession_number)
    doctor.get_by_role("button", name="Show").click()
    doctor.get_by_role("link", name=accession_number).click()
    expect(doctor.locator("article")).to_have_count(2)
    address = doctor.url

    # A doctor of another site, added by the admin, sees nothing of it.
    admin = browser.new_page()
    log_in(admin, live_system, "admin")
    admin.get_by_role("link", name="People", exact=True).click()
    admin.get_by_role("link", name="Add a site").click()
    admin.get_by_label("Name").fill("Clinic in the hills")
    admin.get_by_role("button", name="Add").click()
    admin.get_by_role("link", name="Add a person").click()
    admin.get_by_label("Full name").fill("Hill Doctor")
    admin.get_by_label("User name").fill("hill")
    admin.get_by_label("E-mail").fill("hill@example.org")
    admin.get_by_label("Doctor").check()
    admin.get_by_label("Main laboratory").uncheck()
    admin.get_by_label("Clinic in the hills").check()
    admin.get_by_role("button", name="Add").click()
    password = admin.locator("#new-password").inner_text()
    stranger = browser.new_page()
    log_in(stranger, live_system, "hill", password)
    stranger.get_by_role("link", name="Samples", exact=True).click()
    expect(stranger.get_by_text("No samples yet")).to_be_visible()
    stranger.goto(address)
    expect(stranger.get_by_role("heading", name="Not found")).to_be_visible()


def test_files_are_dropped_on_the_page(
    page: Page, live_system: RunningSystem, complaints: list[str]
) -> None:
    log_in(page, live_system, "technician")
    transfer = page.evaluate_handle(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
            return transfer;
        }""",
        list(smear(30)),
    )
    page.locator("#drop").dispatch_event("drop", {"dataTransfer": transfer})
    page.get_by_role("button", name="Analyse 1 image").click()
    results = page.locator("#upload-results")
    expect(results.locator("article", has_text="classified in")).to_have_count(1, timeout=20_000)
    assert complaints == []


def test_the_example_needs_no_image(page: Page, live_system: RunningSystem) -> None:
    log_in(page, live_system, "technician")
    page.get_by_role("button", name="Try an example").click()
    expect(page.get_by_text("Synthetic example").first).to_be_visible()
    expect(page.locator("article", has_text="classified in")).to_have_count(2, timeout=20_000)


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_the_window(
    page: Page, live_system: RunningSystem, width: int, complaints: list[str]
) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    paths = ["/", "/accounts/login/"]
    inside = ["/home/", "/samples/", "/accounts/people/", "/accounts/audit/"]
    inside += ["/models/", "/models/1/", "/models/1/beside/", "/models/import/", "/models/keras/"]
    inside += ["/datasets/", "/datasets/new/", "/corrections/", "/trainings/", "/trainings/new/"]
    inside += ["/sites/", "/sites/1/", "/watch/"]
    for path in paths:
        assert_fits(page, live_system.url + path)
    log_in(page, live_system, "admin")
    for path in inside:
        assert_fits(page, live_system.url + path)
    assert complaints == []


def assert_fits(page: Page, address: str) -> None:
    page.goto(address)
    spare = page.evaluate("innerWidth - document.documentElement.scrollWidth")
    assert spare >= 0, f"{address} is {-spare} pixels too wide"


def test_the_keyboard_is_enough(page: Page, live_system: RunningSystem) -> None:
    """Log in and reach the content without a mouse; the focus is always visible."""
    page.goto(f"{live_system.url}/accounts/login/")
    page.keyboard.type("doctor")
    page.keyboard.press("Tab")
    page.keyboard.type(live_system.passwords["doctor"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_what_is_chosen_while_sending_goes_nowhere_else(
    page: Page, live_system: RunningSystem, pictures: list[Path]
) -> None:
    """A batch under way belongs to one patient, whatever is typed or chosen meanwhile."""

    def slowly(route: Route) -> None:
        if route.request.method == "POST":
            time.sleep(0.5)
        route.continue_()

    log_in(page, live_system, "technician")
    page.route("**/upload/", slowly)
    page.get_by_label("Accession number").fill("P1-SAMPLE")
    page.get_by_label("Patient identifier").fill("P-1")
    files = page.get_by_label("Drop images here, or choose them")
    files.set_input_files(pictures[:2])
    page.get_by_role("button", name="Analyse 2 images").click()
    expect(files).to_be_disabled()
    assert page.get_by_label("Patient identifier").get_attribute("readonly") is not None
    expect(page.locator("#upload-summary")).to_contain_text("2 received")
    expect(page.get_by_label("Patient identifier")).to_have_value("")
    expect(page.locator("#upload-results article")).to_have_count(2)

    # A batch that is refused whole keeps what was typed, for the corrected file.
    page.get_by_label("Patient identifier").fill("P-2")
    files.set_input_files(pictures[2:])
    page.get_by_role("button", name="Analyse 1 image").click()
    expect(page.locator("#upload-summary")).to_contain_text("0 received, 1 refused")
    expect(page.get_by_label("Patient identifier")).to_have_value("P-2")

    # The next batch is another sample's, and its results take the place of the first one's.
    files.set_input_files(pictures[:1])
    page.get_by_role("button", name="Analyse 1 image").click()
    expect(page.locator("#upload-results article")).to_have_count(1)
    expect(page.locator("#upload-results")).not_to_contain_text("Cells in P1-SAMPLE")
    expect(page.locator("#upload-results")).to_contain_text("Cells in HV-")


def test_what_is_chosen_before_the_script_is_there_counts(
    page: Page, live_system: RunningSystem, pictures: list[Path]
) -> None:
    held: list[Route] = []
    page.route(re.compile(r"/static/js/upload\."), lambda route: held.append(route))  # noqa: PLW0108
    log_in(page, live_system, "technician")
    page.get_by_label("Drop images here, or choose them").set_input_files(pictures[:2])
    held[0].continue_()
    expect(page.get_by_role("button", name="Analyse 2 images")).to_be_enabled()
    expect(page.locator("#files .file")).to_have_count(2)


def test_a_new_list_is_a_new_batch(
    page: Page, live_system: RunningSystem, pictures: list[Path]
) -> None:
    """A list that was cleared with files left to send may be followed by another patient's."""
    log_in(page, live_system, "technician")
    batch = page.locator("#id_batch")
    files = page.get_by_label("Drop images here, or choose them")
    files.set_input_files(pictures[:1])
    first = batch.input_value()
    files.set_input_files(pictures[1:2])
    assert batch.input_value() == first  # more of the same
    page.get_by_role("button", name="Clear the list").click()
    assert batch.input_value() != first
    expect(page.locator("#files")).to_be_hidden()


def test_a_log_in_elsewhere_lets_a_waiting_batch_go_on(
    page: Page, live_system: RunningSystem, pictures: list[Path]
) -> None:
    log_in(page, live_system, "technician")
    page.get_by_label("Drop images here, or choose them").set_input_files(pictures[:1])
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Analyse 1 image").click()
    expect(page.locator("#upload-summary")).to_contain_text("Log in again")
    other_tab = page.context.new_page()
    log_in(other_tab, live_system, "technician")
    page.get_by_role("button", name="Analyse 1 image").click()
    expect(page.locator("#upload-summary")).to_contain_text("1 received")
