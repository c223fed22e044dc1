"""The engine on the model that ships."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision.files.gate import decode
from inference.ml.bundle import Bundle, BundleError
from inference.ml.data import list_items
from inference.ml.engine import BORDER, NO_CELL, UNCERTAIN, Engine
from inference.ml.finder import Box, find_cells
from inference.ml.smear import SyntheticSmear, make_smear
from tests.ml.conftest import BUNDLE

pytestmark = pytest.mark.unit


def with_thresholds(bundle: Bundle, value: float) -> Bundle:
    thresholds = dict.fromkeys(bundle.classes, value)
    return replace(bundle, card=replace(bundle.card, thresholds=thresholds))


def test_a_picture_gives_its_cells_main_cell_first(engine: Engine, smear: SyntheticSmear) -> None:
    result = engine.classify(smear.image)

    assert [cell.box for cell in result.cells] == [c.box for c in find_cells(smear.image)]
    assert len(result.cells) == 3
    assert result.predicted_label == result.cells[0].label
    assert result.confidence == result.cells[0].confidence
    assert result.flags == result.cells[0].flags
    assert result.find_ms > 0
    assert result.engine_ms > 0
    for cell in result.cells:
        assert tuple(cell.probabilities) == engine.bundle.classes
        assert sum(cell.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert cell.confidence == max(cell.probabilities.values())
        assert cell.probabilities[cell.label] == cell.confidence


def test_a_picture_without_cells_says_so(engine: Engine) -> None:
    result = engine.classify(make_smear(0, white_cells=0).image)

    assert result.cells == []
    assert result.flags == (NO_CELL,)
    assert result.predicted_label is None
    assert result.confidence is None


def test_a_box_drawn_by_hand_is_answered_as_a_found_one(
    engine: Engine, smear: SyntheticSmear
) -> None:
    found = engine.classify(smear.image).cells
    given = engine.predict_boxes(smear.image, [cell.box for cell in reversed(found)])

    assert given == found[::-1]
    assert engine.predict_boxes(smear.image, []) == []
    with pytest.raises(ValueError, match="outside"):
        engine.predict_boxes(smear.image, [Box(600, 0, 100, 100)])


def test_answers_do_not_depend_on_company_or_repetition(
    engine: Engine, smear: SyntheticSmear
) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)
    together = engine.probabilities(crops)

    assert np.array_equal(together, engine.probabilities(crops))
    assert np.array_equal(together[3:4], engine.probabilities(crops[3:4]))
    assert engine.probabilities(crops[:0]).shape == (0, len(engine.bundle.classes))


def test_threads_share_an_engine(engine: Engine) -> None:
    images = [make_smear(seed, white_cells=2, width=320, height=240).image for seed in range(6)]
    alone = [engine.classify(image).cells for image in images]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            shared = [result.cells for result in pool.map(engine.classify, images)]
            assert shared == alone


def test_more_threads_of_the_network_change_nothing_to_speak_of(
    bundle: Bundle, engine: Engine, smear: SyntheticSmear
) -> None:
    for one, two in zip(
        engine.classify(smear.image).cells,
        Engine(bundle, threads=2).classify(smear.image).cells,
        strict=True,
    ):
        assert one.label == two.label
        assert one.confidence == pytest.approx(two.confidence, abs=1e-4)


def test_flags(bundle: Bundle, smear: SyntheticSmear) -> None:
    doubtful, trusting = (Engine(with_thresholds(bundle, value)) for value in (1.1, 0.0))
    box = min(smear.boxes, key=lambda box: box.x)
    cut = np.ascontiguousarray(smear.image[:, box.x + box.width // 3 :])

    assert all(UNCERTAIN in cell.flags for cell in doubtful.classify(smear.image).cells)
    assert all(UNCERTAIN not in cell.flags for cell in trusting.classify(smear.image).cells)
    at_edge = {cell.box.x == 0: cell.flags for cell in trusting.classify(cut).cells}
    assert at_edge[True] == (BORDER,)
    assert at_edge[False] == ()


def test_the_temperature_of_the_card_is_applied(bundle: Bundle) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    sharp, soft = (
        Engine(replace(bundle, card=replace(bundle.card, temperature=value))).probabilities(crops)
        for value in (0.5, 5.0)
    )

    assert np.array_equal(sharp.argmax(axis=1), soft.argmax(axis=1))
    assert (sharp.max(axis=1) > soft.max(axis=1)).all()


def test_the_network_answers_with_logits_and_its_last_feature_map(engine: Engine) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    logits, features = engine.run(crops)

    assert logits.shape == (2, len(engine.bundle.classes))
    assert features.shape == (2, 4, 4, 1280)
    assert features.min() >= 0
    assert features.max() <= 6


def test_a_card_of_another_network_is_refused(bundle: Bundle) -> None:
    outputs = replace(bundle.card, outputs={"logits": "x", "features": "y"})
    with pytest.raises(BundleError, match="no output"):
        Engine(replace(bundle, card=outputs))

    size = replace(bundle.card, preprocessing=replace(bundle.card.preprocessing, size=96))
    with pytest.raises(BundleError, match="shapes"):
        Engine(replace(bundle, card=size))


SERVING = """
import sys
from pathlib import Path
from inference.ml import bundle, engine, explain, finder, preprocess, smear
picture = smear.make_smear(1, width=320, height=240, white_cells=1)
one = engine.Engine(bundle.load_bundle(Path(sys.argv[1])))
cell = one.classify(picture.image).cells[0]
parameters = one.bundle.card.preprocessing
crop = preprocess.crop_cell(preprocess.prepare(picture.image, parameters), cell.box, parameters)
explain.overlay(crop, explain.heat_map(one, crop, 0))
heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "django", "tqdm"}
print(cell.label, sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_serving_never_imports_tensorflow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVING, str(BUNDLE)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        timeout=60,
    )

    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"


@pytest.mark.real_images
def test_held_back_cells_are_mostly_named_rightly(engine: Engine, test_data: Path) -> None:
    held_back = {name.rpartition(":")[2] for name in engine.bundle.card.split["test_groups"]}
    items = [
        item
        for item in list_items([test_data / "pbc"]).items
        if item.group.rpartition(":")[2] in held_back
    ][::5]
    right = [
        engine.classify(decode(item.path.read_bytes())).predicted_label == item.label
        for item in items
    ]

    assert len(items) > 100
    assert np.mean(right) > 0.9
