"""``manage.py evaluate`` from pictures to the page, with the model that ships."""

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from inference.ml.bundle import CARD_NAME, KERAS_NAME, MANIFEST_NAME, Card, sha256_of
from inference.ml.sidecar import ManifestRow, write_manifest
from tests.ml.conftest import BUNDLE

pytestmark = [pytest.mark.unit, pytest.mark.slow]

ClassFolders = Callable[..., Path]


def bundle_with(folder: Path, rows: list[ManifestRow]) -> Path:
    """The bundle that ships, made to say that it was trained with other pictures."""
    shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns(KERAS_NAME))
    write_manifest(folder / MANIFEST_NAME, rows)
    card = Card.from_json((folder / CARD_NAME).read_text())
    files = {**card.files, MANIFEST_NAME: sha256_of(folder / MANIFEST_NAME)}
    files.pop(KERAS_NAME, None)
    dataset = {**card.dataset, "groups_unknown": [row.dataset for row in rows]}
    card = dataclasses.replace(card, files=files, dataset=dataset, version=folder.name)
    (folder / CARD_NAME).write_text(card.to_json())
    return folder


def rows_of(data: Path, *, trained: int) -> list[ManifestRow]:
    """The first pictures of each class trained on, the others held back."""
    dataset = "/".join(data.parts[-2:])
    rows = []
    for folder in sorted(data.iterdir()):
        for number, path in enumerate(sorted(folder.iterdir(), key=lambda file: int(file.stem))):
            side, sha = "train" if number < trained else "test", sha256_of(path)
            rows.append(ManifestRow(side, dataset, folder.name, f"{dataset}:{sha[:12]}", sha))
    return rows


def evaluate(*arguments: object, out: Path, explain: int = 0) -> dict[str, Any]:
    words = [*map(str, arguments), "--out", str(out), "--explain", str(explain)]
    call_command("evaluate", *words, stdout=StringIO())
    told = json.loads((out / "report.json").read_text())
    assert isinstance(told, dict)
    return told


@pytest.fixture
def data(class_folders: ClassFolders) -> Path:
    return class_folders("smears", {"lymphocyte": 0, "neutrophil": 50}, pictures=5)


def test_what_was_held_back_becomes_one_page(tmp_path: Path, data: Path) -> None:
    bundle = bundle_with(tmp_path / "model-1", rows_of(data, trained=2))
    told = evaluate(bundle, data, "--held-back", out=tmp_path / "report", explain=1)

    (one,) = told["sets"]
    assert one["what"] == "same-laboratory figure, patients unknown"
    assert (one["images"], one["photographs"]) == (6, 6)
    assert one["accuracy"]["by"] == "wilson"
    assert {"lymphocyte", "neutrophil"} == set(one["classes"])
    assert told["model"]["version"] == "model-1"
    assert told["model"]["card_sha256"] == sha256_of(bundle / CARD_NAME)
    assert told["data"]["held_back_only"] is True
    assert len(told["data"]["fingerprint"]) == 64
    if told["explanation"] is not None:
        assert told["explanation"]["cells"] == 1

    page = (tmp_path / "report" / "report.html").read_text()
    assert page.count("<svg") >= 4
    assert "same-laboratory figure, patients unknown" in page
    assert "photographs" in page
    assert page.count("data:image/jpeg;base64,") == len(one["mistakes"])
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert not re.search(r"url\((?!#)|@import", page)


def test_pictures_that_were_trained_on_are_refused(tmp_path: Path, data: Path) -> None:
    bundle = bundle_with(tmp_path / "model-1", rows_of(data, trained=2))

    with pytest.raises(CommandError, match="4 of the 10 pictures cannot be evaluated"):
        evaluate(bundle, data, out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_pictures_from_elsewhere_are_called_so(tmp_path: Path, data: Path) -> None:
    other = [ManifestRow("train", "other/set", "monocyte", "other/set:x", "a" * 64)]
    told = evaluate(bundle_with(tmp_path / "model-1", other), data, out=tmp_path / "report")

    assert told["sets"][0]["images"] == 10
    assert told["sets"][0]["what"].startswith("a data set that training did not see; patients")
    assert told["explanation"] is None


def test_two_models_are_compared_on_what_neither_was_trained_on(tmp_path: Path, data: Path) -> None:
    rows = rows_of(data, trained=1)
    ours = bundle_with(tmp_path / "model-1", rows)
    theirs = bundle_with(tmp_path / "model-2", rows_of(data, trained=3))
    told = evaluate(ours, data, "--held-back", "--against", theirs, out=tmp_path / "report")

    (row,) = told["against"]["sets"]
    assert told["against"]["version"] == "model-2"
    assert told["data"]["left_out_for_the_other_model"] == 4
    assert row["images"] == 4
    assert row["mcnemar"]["p_value"] == 1
    assert row["accuracy"]["value"] == 0
    assert "Compared with model-2" in (tmp_path / "report" / "report.html").read_text()


def test_classes_that_the_model_does_not_know_are_told_apart(
    tmp_path: Path, class_folders: ClassFolders
) -> None:
    data = class_folders("smears", {"neutrophil": 0, "blast": 20}, pictures=3)
    told = evaluate(
        bundle_with(tmp_path / "model-1", rows_of(data, trained=0)), data, out=tmp_path / "report"
    )

    assert told["sets"][0]["images"] == 3
    blast = told["unknown_classes"]["blast"]
    assert blast["flagged"]["any"]["photographs"] == 3
    assert sum(blast["answers"].values()) == 3
    assert "does not know" in (tmp_path / "report" / "report.html").read_text()


def test_of_unknown_classes_alone_it_is_told_how_many_are_flagged(
    tmp_path: Path, class_folders: ClassFolders
) -> None:
    data = class_folders("smears", {"blast": 0}, pictures=2)
    bundle = bundle_with(tmp_path / "model-1", rows_of(data, trained=0))
    told = evaluate(bundle, data, out=tmp_path / "report")

    assert told["sets"] == []
    assert told["unknown_classes"]["blast"]["flagged"]["any"]["images"] == 2
    assert "The model knows none of the classes" in (tmp_path / "report/report.html").read_text()


def test_files_and_not_names_say_what_training_saw(
    tmp_path: Path, class_folders: ClassFolders
) -> None:
    data = class_folders("smears", {"lymphocyte": 0, "neutrophil": 50}, pictures=3)
    rows = rows_of(data, trained=1)
    renamed = [
        row._replace(dataset="data/home", group=f"data/home:{row.sha256[:9]}") for row in rows
    ]
    told = evaluate(
        bundle_with(tmp_path / "model-1", renamed), data, "--held-back", out=tmp_path / "one"
    )
    assert told["sets"][0]["what"] == "same-laboratory figure, patients unknown"

    others = [row._replace(sha256=row.sha256[::-1], group=f"{row.group}-x") for row in rows]
    told = evaluate(bundle_with(tmp_path / "model-2", others), data, out=tmp_path / "two")
    assert told["sets"][0]["what"].startswith("a data set that training did not see, though it had")


def test_siblings_that_training_did_not_know_of_are_left_out(
    tmp_path: Path, class_folders: ClassFolders
) -> None:
    """A table joins a held-back picture to one that was trained on."""
    data = class_folders("smears", {"lymphocyte": 0, "neutrophil": 50}, pictures=3)
    table = tmp_path / "groups.csv"
    names = [f"{path.parent.name}/{path.name}" for path in sorted(data.glob("*/*"))]
    joined = {"lymphocyte/0.png": "one", "lymphocyte/1.png": "one"}
    lines = ["file,photograph", *(f"{name},{joined.get(name, name)}" for name in names)]
    table.write_text("\n".join(lines) + "\n")
    bundle = bundle_with(tmp_path / "model-1", rows_of(data, trained=1))
    told = evaluate(bundle, data, "--held-back", "--groups", table, out=tmp_path / "report")

    assert told["sets"][0]["images"] == 3
    assert told["sets"][0]["what"] == "same-laboratory figure, patients unknown"


def test_several_sets_are_told_by_themselves_and_together(
    tmp_path: Path, class_folders: ClassFolders
) -> None:
    home = class_folders("home", {"lymphocyte": 0, "neutrophil": 50}, pictures=2)
    away = class_folders("away", {"lymphocyte": 100, "neutrophil": 150}, pictures=2)
    bundle = bundle_with(tmp_path / "model-1", rows_of(home, trained=0))
    told = evaluate(bundle, home, away, out=tmp_path / "report")

    there, here, both = told["sets"]
    assert [one["images"] for one in (there, here, both)] == [4, 4, 8]
    assert here["what"] == "same-laboratory figure, patients unknown"
    assert there["what"].startswith("a data set that training did not see")
    assert both["what"].startswith("a mixture")
    assert both["photographs_known"] is False
    assert both["mistakes"] == []
    assert told["near_copies"]["pictures"] == 0
