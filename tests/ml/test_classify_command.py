"""``manage.py classify``: no database (pytest-django forbids it here), one line per picture."""

import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from PIL import Image, ImageFilter
from pytest_django import Settings

from inference.management.commands.classify import as_dict, as_row
from inference.ml.bundle import Bundle
from inference.ml.engine import CellPrediction, PictureResult
from inference.ml.finder import Box
from inference.ml.quality import Quality
from inference.ml.smear import make_smear
from tests.ml.conftest import BUNDLE

pytestmark = pytest.mark.unit

GOOD = Quality(
    blur=0.08, brightness=230, clipped=0, chroma=0.3, foreign=0.01, uneven=0.01, cast=1.05
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deeper").mkdir(parents=True)
    for seed in range(6):
        image = make_smear(seed, width=320, height=240, white_cells=seed % 3).image
        place = folder / "deeper" if seed % 2 else folder
        Image.fromarray(image).save(place / f"{seed}.jpg", quality=95)
    (folder / "notes.txt").write_text("no picture")
    return folder


def classify(*arguments: object) -> list[dict[str, Any]]:
    out = StringIO()
    call_command("classify", *map(str, arguments), "--json", "--bundle", str(BUNDLE), stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_picture_of_a_folder_has_a_line_in_order(folder: Path, bundle: Bundle) -> None:
    lines = classify(folder, "--threads", 3)

    assert [line["path"] for line in lines] == [str(path) for path in sorted(folder.rglob("*.jpg"))]
    for line in lines:
        expected = int(Path(line["path"]).stem) % 3
        assert line["model_version"] == bundle.version
        assert len(line["cells"]) == expected
        assert line["find_ms"] > 0
        assert line["engine_ms"] >= 0
        assert line["quality_ms"] > 0
        if expected:
            main = line["cells"][0]
            assert set(main["box"]) == {"x", "y", "width", "height"}
            known = "unfamiliar" not in main["flags"]
            assert line["nearest_label"] == main["label"]
            assert line["predicted_label"] == (main["label"] if known else None)
            assert line["confidence"] == (main["confidence"] if known else None)
            assert main["confidence"] == main["probabilities"][main["label"]]
            assert line["flags"] == main["flags"] + line["quality"]["flags"]
            assert sum(main["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        else:
            assert line["flags"] == ["no_cell"]
            assert line["predicted_label"] is line["nearest_label"] is None
            assert line["confidence"] is None


def test_the_quality_of_a_picture_is_said(folder: Path) -> None:
    with Image.open(folder / "2.jpg") as picture:
        picture.filter(ImageFilter.GaussianBlur(9)).save(folder / "2.jpg")
    good, bad = classify(folder / "4.jpg", folder / "2.jpg")

    assert good["quality"]["flags"] == []
    assert bad["quality"]["flags"] == ["blurred"]
    assert "blurred" in bad["flags"]
    assert bad["quality"]["blur"] > 2 * good["quality"]["blur"]
    out = StringIO()
    call_command("classify", str(folder / "2.jpg"), "--bundle", str(BUNDLE), stdout=out)
    assert out.getvalue().rstrip().endswith("; picture blurred")


def test_an_unfamiliar_cell_is_no_answer_to_read() -> None:
    for flags, label, sure in (((), "ig", 0.987), (("unfamiliar", "border"), None, None)):
        cell = CellPrediction(Box(1, 1, 9, 9), "ig", 0.987, {"ig": 0.987}, 0.2, flags)
        told = as_dict(
            PictureResult([cell], [cell.box], find_ms=1, engine_ms=1, quality_ms=1, quality=GOOD)
        )
        assert (told["predicted_label"], told["confidence"]) == (label, sure)
        assert told["nearest_label"] == told["cells"][0]["label"] == "ig"
    known = {"label": "ig", "confidence": 0.987, "flags": ["border"]}
    line = {"path": "a.png", "cells": [known], "quality": {"flags": []}}
    assert as_row(line) == "a.png  ig 99% border"
    known["flags"] = ["unfamiliar", "border"]
    assert as_row(line) == "a.png  unfamiliar (nearest: ig) border"


def test_one_thread_and_several_say_the_same(folder: Path) -> None:
    def without_times(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in line.items() if not k.endswith("_ms")} for line in lines]

    assert without_times(classify(folder, "--threads", 1)) == without_times(
        classify(folder, "--threads", 4)
    )


def test_a_bad_file_has_an_error_and_does_not_harm_the_others(folder: Path) -> None:
    out = StringIO()
    paths = [folder / "notes.txt", folder / "2.jpg", folder / "missing.jpg"]
    with pytest.raises(CommandError, match="2 of 3"):
        call_command("classify", *map(str, paths), "--json", "--bundle", str(BUNDLE), stdout=out)
    notes, good, missing = map(json.loads, out.getvalue().splitlines())

    assert notes["path"].endswith("notes.txt")
    assert "not a picture" in notes["error"]
    assert "error" not in good
    assert "cannot be read" in missing["error"]


def test_the_gate_of_uploads_holds_here_too(folder: Path, settings: Settings) -> None:
    settings.UPLOAD_MAX_PIXELS = 100_000
    settings.UPLOAD_MAX_BYTES = 200_000
    large, heavy, pages, pipe = (folder / name for name in ("l.png", "h.bmp", "p.tif", "pipe"))
    Image.new("RGB", (400, 300)).save(large)
    Image.new("RGB", (300, 300)).save(heavy)
    Image.new("RGB", (50, 50)).save(pages, save_all=True, append_images=[Image.new("L", (50, 50))])
    os.mkfifo(pipe)
    out = StringIO()
    paths = [str(path) for path in (large, heavy, pages, pipe)]
    with pytest.raises(CommandError, match="4 of 4"):
        call_command("classify", *paths, "--json", "--bundle", str(BUNDLE), stdout=out)
    errors = [json.loads(line)["error"] for line in out.getvalue().splitlines()]

    for error, word in zip(
        errors, ("megapixels", "larger than", "several pictures", "no such file"), strict=True
    ):
        assert word in error


def test_a_name_that_is_no_utf8_stops_nothing(folder: Path) -> None:
    os.rename(os.fsencode(folder / "0.jpg"), os.fsencode(folder) + b"/bad\xff.jpg")  # noqa: PTH104
    out = StringIO()
    call_command("classify", str(folder), "--bundle", str(BUNDLE), stdout=out)

    assert len(out.getvalue().encode().splitlines()) == 6


def test_without_json_a_person_can_read_it(folder: Path) -> None:
    out = StringIO()
    call_command("classify", str(folder), "--bundle", str(BUNDLE), stdout=out)
    lines = out.getvalue().splitlines()

    assert len(lines) == 6
    assert "no white cell found" in lines[0]
    assert "%" in lines[1]


def test_no_model_and_no_pictures_say_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="make train"):
        call_command("classify", str(tmp_path), "--bundle", str(tmp_path))
    with pytest.raises(CommandError, match="no pictures"):
        call_command("classify", str(tmp_path), "--bundle", str(BUNDLE))
