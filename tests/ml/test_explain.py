"""Heat maps of the model that ships: never empty, and they point at something."""

import numpy as np
import pytest

from inference.ml.engine import Engine
from inference.ml.explain import GRID, class_margin, covered_crops, heat_map, overlay, spread
from inference.ml.finder import find_cells
from inference.ml.preprocess import crop_cell, prepare
from inference.ml.smear import STAINS, make_smear

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def crops(engine: Engine) -> list[np.ndarray]:
    parameters = engine.bundle.card.preprocessing
    crops = []
    for seed, stain in enumerate(STAINS):
        image = make_smear(seed, stain=stain).image
        prepared = prepare(image, parameters)
        crops += [crop_cell(prepared, cell.box, parameters) for cell in find_cells(image)[:2]]
    return crops


def test_a_map_has_a_hottest_and_a_coldest_place(engine: Engine, crops: list[np.ndarray]) -> None:
    for crop in crops:
        index = int(engine.probabilities(crop[None])[0].argmax())
        heat = heat_map(engine, crop, index)

        assert heat.shape == crop.shape[:2]
        assert heat.dtype == np.float32
        assert heat.min() == 0
        assert heat.max() == 1


def test_covering_the_hottest_tenth_costs_more_than_covering_the_coldest(
    engine: Engine, crops: list[np.ndarray]
) -> None:
    background = engine.bundle.card.preprocessing.background
    losses = []
    for crop in crops:
        index = int(engine.probabilities(crop[None])[0].argmax())
        heat = heat_map(engine, crop, index)
        hot, cold = crop.copy(), crop.copy()
        hot[heat >= np.percentile(heat, 90)] = background
        cold[heat <= np.percentile(heat, 10)] = background
        margins = class_margin(engine.run(np.stack([crop, hot, cold]))[0], index)
        losses.append((margins[0] - margins[1], margins[0] - margins[2]))
    hot_loss, cold_loss = np.mean(losses, axis=0)

    assert hot_loss > cold_loss + 0.5


def test_a_crop_with_nothing_on_it_has_a_map_that_is_not_zero(engine: Engine) -> None:
    background = engine.bundle.card.preprocessing.background
    heat = heat_map(engine, np.full((128, 128, 3), background, np.uint8), 0)

    assert (heat == 1).all()


def test_every_class_has_a_map_of_its_own(engine: Engine, crops: list[np.ndarray]) -> None:
    maps = [heat_map(engine, crops[0], index) for index in range(len(engine.bundle.classes))]

    assert all(heat.max() == 1 for heat in maps)
    assert not np.allclose(maps[0], maps[1])
    with pytest.raises(ValueError, match="no class"):
        heat_map(engine, crops[0], len(maps))


def test_patches_cover_every_place_and_nothing_else(crops: list[np.ndarray]) -> None:
    covered = covered_crops(crops[0], 235)
    changed = (covered[1:] != crops[0]).any(axis=3)

    assert covered.shape == (1 + GRID**2, 128, 128, 3)
    assert np.array_equal(covered[0], crops[0])
    assert changed.any(axis=0).mean() > 0.95
    assert changed.mean(axis=(1, 2)).max() < 0.2


def test_margin_is_the_log_odds() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1]], np.float32))

    assert class_margin(logits, 0)[0] == pytest.approx(np.log(0.7 / 0.3), rel=1e-5)


def test_spread_reaches_from_zero_to_one_and_keeps_the_place() -> None:
    values = np.zeros((8, 8))
    values[2, 5] = 3
    heat = spread(values, 128)
    row, column = divmod(int(heat.argmax()), 128)

    assert (row // 16, column // 16) == (2, 5)
    assert (spread(np.zeros((8, 8)), 128) == 1).all()


def test_the_overlay_is_clear_where_it_is_cold(crops: list[np.ndarray]) -> None:
    heat = np.zeros((128, 128), np.float32)
    heat[64:] = 1
    picture = overlay(crops[0], heat)

    assert picture.shape == (128, 128, 4)
    assert picture.dtype == np.uint8
    assert (picture[:64, :, 3] == 0).all()
    assert (picture[64:, :, 3] > 100).all()
    with pytest.raises(ValueError, match="does not fit"):
        overlay(crops[0], heat[:5])
