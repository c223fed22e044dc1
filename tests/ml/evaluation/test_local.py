"""A model on a laboratory's own cells: what is measured, and what is left out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision.files.gate import decode
from inference.ml.bundle import CARD_NAME, KERAS_NAME, MANIFEST_NAME, Bundle, load_bundle, sha256_of
from inference.ml.data import DataError, Item, Listing, list_items
from inference.ml.evaluation import local
from inference.ml.evaluation.answers import Answers
from inference.ml.evaluation.local import measure
from inference.ml.finder import Box
from inference.ml.sidecar import ManifestRow, write_manifest

pytestmark = pytest.mark.unit


def item(number: int, label: str, *, smear: int | None = None) -> Item:
    sha256 = f"{number:064x}"
    group = f"site:{sha256[:12]}{number}" if smear is None else f"site:{smear}"
    return Item(Path(f"{label}-{number}"), "site", label, group, sha256)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the model answer "neutrophil" to everything, certain but for some cells."""

    def prepare(*, flagged: frozenset[str] = frozenset()) -> None:
        def answer(bundle: Bundle, items: list[Item], **_: object) -> Answers:
            rows = np.full((len(items), len(bundle.classes)), 0.01, np.float32)
            rows[:, bundle.classes.index("neutrophil")] = 0.93
            flags = {"uncertain": np.array([str(one.path) in flagged for one in items])}
            boxes = [Box(0, 0, 9, 9)] * len(items)
            return Answers(items, [], bundle.classes, rows, flags, boxes, [None] * len(items), ())

        monkeypatch.setattr(local, "answer", answer)

    return prepare


def test_a_cell_of_a_class_that_the_model_does_not_know_is_wrong_unless_it_is_flagged(
    bundle: Bundle, answers: Callable[..., None]
) -> None:
    answers(flagged=frozenset({"blast-0"}))
    items = [item(number, "blast") for number in range(2)]
    items += [item(number, "neutrophil") for number in range(2, 10)]
    told = measure(bundle, Listing(items, ()), decode=decode, resamples=50)

    json.dumps(told, allow_nan=False)
    assert told["cells"] == told["photographs"] == 10
    assert told["believed"]["share"]["value"] == 0.9
    assert told["believed"]["accuracy"]["value"] == round(8 / 9, 4)  # the other blast is wrong
    assert told["known"]["accuracy"]["value"] == 1
    assert told["unknown_classes"]["blast"]["flagged"]["any"]["value"] == 0.5
    assert "monocyte" in told["not_tested"]
    assert "neutrophil" not in told["not_tested"]


def test_cells_of_one_class_in_one_smear_count_once(
    bundle: Bundle, answers: Callable[..., None]
) -> None:
    answers()
    items = [item(number, "neutrophil", smear=0) for number in range(20)]
    items += [item(number, "monocyte", smear=0) for number in range(20, 30)]
    told = measure(bundle, Listing(items, ()), decode=decode, resamples=50)
    assert (told["cells"], told["photographs"]) == (30, 2)
    low, high = told["believed"]["accuracy"]["interval"]
    assert high - low > 0.7


def test_what_the_model_was_made_with_is_left_out(
    bundle: Bundle, answers: Callable[..., None], tmp_path: Path
) -> None:
    answers()
    items = [item(number, "neutrophil") for number in range(6)]
    sides = ["train", "train", "validation", "test", "test", "test"]
    rows = [
        ManifestRow(side, "site", one.label, one.group, one.sha256)
        for side, one in zip(sides, items, strict=True)
    ]
    folder = tmp_path / "made"
    shutil.copytree(bundle.path, folder, ignore=shutil.ignore_patterns(KERAS_NAME))
    write_manifest(folder / MANIFEST_NAME, rows)
    files = {name: sha256_of(folder / name) for name in bundle.card.files if name != KERAS_NAME}
    (folder / CARD_NAME).write_text(replace(bundle.card, files=files).to_json())
    made = load_bundle(folder)

    told = measure(made, Listing(items, ()), decode=decode, resamples=50)
    assert told["cells"] == 3  # those that were held out can be measured with
    assert told["left_out"]["the model was made with them"] == 3
    with pytest.raises(DataError, match="made with all of the 3 cells"):
        measure(made, Listing(items[:3], ()), decode=decode)


def test_real_pictures_go_the_way_of_serving(
    bundle: Bundle, class_folders: Callable[..., Path]
) -> None:
    folder = class_folders("site", {"neutrophil": 0, "lymphocyte": 50}, pictures=4)
    seen: list[tuple[int, int]] = []
    told = measure(
        bundle,
        list_items((folder,)),
        lambda *step: seen.append(step),
        decode=decode,
        resamples=50,
    )
    assert seen[-1] == (8, 8)
    assert told["cells"] == 8
    assert not told["photographs_known"]
    assert sum(map(sum, told["known"]["confusion"])) == 8
