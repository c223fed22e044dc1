"""The pictures of README.md, taken of a system of its own with synthetic smears.

python -m scripts.screenshots
"""

import re
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import FilePayload, Page, sync_playwright

from inference.ml.smear import make_smear
from tests.services import CHROMIUM_ARGUMENTS, chromium_path
from tests.system import RunningSystem

TARGET = Path(__file__).resolve().parent.parent / "docs" / "img"
DESKTOP, PHONE = (1280, 900), (390, 844)
CLASSES = (
    ("eosinophil", "may-gruenwald"),
    ("lymphocyte", "wright"),
    ("neutrophil", "wright"),
)
PATIENCE = 300_000  # milliseconds, for a training


def smear(seed: int, stain: str = "wright", *, white_cells: int = 4) -> FilePayload:
    target = BytesIO()
    image = make_smear(seed, white_cells=white_cells, stain=stain).image
    Image.fromarray(image).save(target, "PNG")
    return {"name": f"field-{seed}.png", "mimeType": "image/png", "buffer": target.getvalue()}


def archive() -> FilePayload:
    """A labelled dataset; its classes are of no meaning, as are its cells."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for number in range(60):
            label, stain = CLASSES[number % len(CLASSES)]
            picture = smear(600 + number, stain, white_cells=1)
            file.writestr(f"{label}/{picture['name']}", picture["buffer"])
    return {"name": "smears.zip", "mimeType": "application/zip", "buffer": target.getvalue()}


def log_in(page: Page, system: RunningSystem, user_name: str) -> None:
    page.goto(f"{system.url}/accounts/login/")
    page.get_by_label("User name or e-mail").fill(user_name)
    page.get_by_label("Password").fill(system.passwords[user_name])
    page.get_by_role("main").get_by_role("button", name="Log in").click()


def save(page: Page, name: str, size: tuple[int, int] = DESKTOP) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.wait_for_load_state("networkidle")
    shot = Image.open(BytesIO(page.screenshot()))
    shot.convert("P", palette=Image.Palette.ADAPTIVE, colors=256).save(
        TARGET / f"{name}.png", optimize=True
    )


def take(page: Page, system: RunningSystem) -> None:
    page.goto(system.url)
    save(page, "front")
    log_in(page, system, "technician")
    broken: FilePayload = {"name": "notes.png", "mimeType": "image/png", "buffer": b"%PDF-1.7"}
    page.set_input_files("#id_images", [smear(42), smear(55), broken])
    page.get_by_role("button", name="Analyse").click()
    page.locator("#upload-results article", has_text="classified in").nth(1).wait_for()
    save(page, "upload")
    for seed, stain in ((46, "wright"), (58, "may-gruenwald")):
        page.goto(f"{system.url}/upload/")
        page.set_input_files("#id_images", [smear(seed, stain)])
        page.get_by_role("button", name="Analyse").click()
        page.locator("#upload-results article", has_text="classified in").wait_for()
    page.goto(f"{system.url}/samples/")
    save(page, "samples")
    page.locator(".sample-row-name").last.click()
    page.get_by_role("button", name="Heat map").first.click()
    page.locator("[data-heat-map][aria-pressed=true]").wait_for()
    page.locator("article").first.evaluate("element => element.scrollIntoView()")
    save(page, "sample")
    page.locator("article").first.evaluate("element => element.scrollIntoView()")
    save(page, "phone", PHONE)
    page.get_by_role("button", name="Log out").click()
    log_in(page, system, "admin")
    save(page, "admin")
    for name, path in (("models", "/models/"), ("audit", "/accounts/audit/")):
        page.goto(system.url + path)
        save(page, name)
    take_models_life(page, system)


def take_models_life(page: Page, system: RunningSystem) -> None:
    """A dataset, a training while it runs, and the gate before the model that comes of it."""
    page.goto(f"{system.url}/datasets/new/")
    page.set_input_files("#id_archive", archive())
    page.get_by_label("Name", exact=True).fill("Synthetic smears")
    page.get_by_role("button", name="Upload").click()
    train = page.get_by_role("link", name="Train a model on it")
    train.wait_for(timeout=PATIENCE)
    page.get_by_role("heading", name="Classes").evaluate("it => it.parentElement.scrollIntoView()")
    save(page, "dataset")
    train.click()
    page.get_by_text("Advanced", exact=True).click()
    for field, value in (("epochs", "8"), ("crops_per_epoch", "96"), ("warm_up_crops", "96")):
        page.locator(f"[name={field}]").fill(value)
    page.get_by_role("button", name="Check what it takes").click()
    page.get_by_role("button", name="Start training").click()
    page.get_by_text("Epoch 5 of 8").wait_for(timeout=PATIENCE)
    page.locator("#curves").evaluate("it => it.scrollIntoView({block: 'end'})")
    save(page, "training")
    result = page.locator("section[aria-labelledby=result]")
    result.get_by_role("link").first.click(timeout=PATIENCE)
    page.get_by_text("not passed").first.wait_for(timeout=PATIENCE)
    page.get_by_role("link", name=re.compile("Put in use")).click()
    save(page, "gate")


def main() -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        RunningSystem(
            Path(folder),
            processes=("web", "worker", "training"),
            variables={"JOB_LOW_PRIORITY": "0"},
        ) as system,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium_path(), args=CHROMIUM_ARGUMENTS
        )
        take(browser.new_page(), system)
        browser.close()


if __name__ == "__main__":
    main()
