"""Deletion, insertion and the share in the box, on a model whose answer is known."""

import json
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from inference.ml.engine import Engine
from inference.ml.faithfulness import (
    SHARES,
    deletion_insertion,
    faithfulness,
    hottest_in_box,
    mass_in_box,
    middle_map,
)
from inference.ml.finder import Box
from inference.ml.preprocess import Preprocessing, box_in_crop, crop_cell, prepare
from inference.ml.smear import make_smear

pytestmark = pytest.mark.unit

SIZE, BACKGROUND = 32, 235
CELL = Box(4, 18, 8, 8)  # away from the middle


class DarkCorner:
    """Stands for an engine: class 1 is probable as far as the cell is dark."""

    def __init__(self) -> None:
        parameters = Preprocessing(size=SIZE, background=BACKGROUND)
        card = SimpleNamespace(preprocessing=parameters, network={"views": 4})
        self.bundle = SimpleNamespace(card=card, classes=("a", "b"))

    def probabilities(self, crops: np.ndarray) -> np.ndarray:
        seen = crops[:, CELL.y : CELL.y + CELL.height, CELL.x : CELL.x + CELL.width]
        dark = (1 - seen.mean(axis=(1, 2, 3)) / 255).astype(np.float32)
        return np.stack([1 - dark, dark], axis=1)

    def run(self, crops: np.ndarray, *, views: int) -> tuple[np.ndarray, None]:
        return np.log(np.clip(self.probabilities(crops), 1e-3, None)), None


@pytest.fixture
def dark() -> Engine:
    return cast(Engine, DarkCorner())


def one_crop() -> np.ndarray:
    crop = np.full((SIZE, SIZE, 3), BACKGROUND, np.uint8)
    crop[CELL.y : CELL.y + CELL.height, CELL.x : CELL.x + CELL.width] = 10
    return crop


def test_curves_begin_and_end_with_the_whole_and_the_covered_crop(dark: Engine) -> None:
    crop = one_crop()
    heat = np.zeros((SIZE, SIZE), np.float32)
    heat[CELL.y : CELL.y + CELL.height, CELL.x : CELL.x + CELL.width] = 1
    deletion, insertion = deletion_insertion(dark, crop, 1, heat, cover="field")
    whole, covered = 1 - 10 / 255, 1 - BACKGROUND / 255

    assert deletion[0] == insertion[-1] == pytest.approx(whole)
    assert deletion[-1] == insertion[0] == pytest.approx(covered)
    # The cell takes a sixteenth of the crop: a tenth covers it whole.
    assert deletion[list(SHARES).index(0.1)] == pytest.approx(covered)
    assert insertion[list(SHARES).index(0.1)] == pytest.approx(whole)
    assert deletion_insertion(dark, crop, 1, 1 - heat, cover="field")[0][4] == pytest.approx(whole)


def test_shares_in_the_box() -> None:
    heat = np.zeros((SIZE, SIZE), np.float32)
    heat[CELL.y : CELL.y + CELL.height, CELL.x : CELL.x + CELL.width] = 1
    heat[0, 0] = 16

    assert mass_in_box(heat, CELL) == pytest.approx(64 / 80)
    assert hottest_in_box(middle_map(SIZE), Box(8, 8, 16, 16)) == 1
    assert hottest_in_box(middle_map(SIZE), Box(0, 0, 4, 4)) == 0


def test_the_map_of_the_model_beats_random_and_middle(dark: Engine) -> None:
    crops = np.stack([one_crop()] * 12)
    groups = [f"photograph {index // 2}" for index in range(12)]
    labels = np.array([1] * 10 + [0] * 2)  # the last two are answered wrongly

    def told(**options: Any) -> dict[str, Any]:
        return faithfulness(dark, crops, labels, [CELL] * 12, groups, seed=3, **options)

    figures = told()
    assert figures["cells"] == 10
    assert figures["photographs"] == 5
    assert figures["views"] == {"map": 1, "answers": 4}
    assert figures["box_share"] == 64 / SIZE**2
    ours, random, middle = (figures["maps"][name] for name in ("heat map", "random", "middle"))
    for other in (random, middle):
        assert ours["deletion"]["area"]["value"] < other["deletion"]["area"]["value"]
        assert ours["insertion"]["area"]["value"] > other["insertion"]["area"]["value"]
        assert ours["mass_in_box"]["value"] > other["mass_in_box"]["value"]
    low, high = random["deletion"]["area"]["interval"]
    assert low <= random["deletion"]["area"]["value"] <= high
    assert low < high
    assert len(ours["deletion"]["curve"]) == len(figures["shares"])
    assert json.loads(json.dumps(figures)) == figures == told()
    # One of every photograph before a second of any.
    assert told(at_most=5)["photographs"] == 5
    with pytest.raises(ValueError, match="none of these crops"):
        faithfulness(dark, crops, np.zeros(12, int), [CELL] * 12, groups, seed=0)


def test_a_box_is_where_its_cell_is_in_the_crop() -> None:
    smear = make_smear(4)
    parameters = Preprocessing()
    prepared = prepare(smear.image, parameters)
    for box in smear.boxes:
        crop = crop_cell(prepared, box, parameters)
        inside = box_in_crop(box, parameters)
        longer = max(inside.width, inside.height)
        assert longer == pytest.approx(parameters.size / parameters.context, abs=2)
        assert inside.x + inside.width / 2 == pytest.approx(parameters.size / 2, abs=2)
        assert inside.y + inside.height / 2 == pytest.approx(parameters.size / 2, abs=2)
        cell = crop[inside.y : inside.y + inside.height, inside.x : inside.x + inside.width]
        assert cell.mean() < crop.mean()


def test_the_model_that_ships_looks_at_the_cell(engine: Engine) -> None:
    parameters = engine.bundle.card.preprocessing
    smears = [make_smear(seed) for seed in range(3)]
    crops = np.stack(
        [
            crop_cell(prepare(smear.image, parameters), box, parameters)
            for smear in smears
            for box in smear.boxes
        ]
    )
    boxes = [box_in_crop(box, parameters) for smear in smears for box in smear.boxes]
    groups = [str(seed) for seed, smear in enumerate(smears) for _ in smear.boxes]
    answers = engine.probabilities(crops).argmax(axis=1)
    figures = faithfulness(engine, crops, answers, boxes, groups, seed=0, resamples=100)

    # Drawn cells are strange to the model; how its maps do on real ones is in the report.
    ours, random = figures["maps"]["heat map"], figures["maps"]["random"]
    assert ours["hottest_in_box"]["value"] > random["hottest_in_box"]["value"]
