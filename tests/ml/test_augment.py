"""Augmented crops stay pictures of the same cell."""

import numpy as np
import pytest

from inference.ml.augment import WIDER, augment, centre
from inference.ml.finder import SMALLEST_PLATELET, find_cells
from inference.ml.preprocess import Prepared, Preprocessing, crop_cell
from inference.ml.smear import SyntheticSmear

pytestmark = pytest.mark.unit
WIDE = Preprocessing(size=round(128 * WIDER), context=1.5 * WIDER)


@pytest.fixture
def crops(smear: SyntheticSmear) -> np.ndarray:
    return np.stack([crop_cell(Prepared(smear.image), box, WIDE) for box in smear.boxes])


def test_shape_type_and_seed(crops: np.ndarray) -> None:
    first = augment(crops, 128, 235, np.random.default_rng(1))
    again = augment(crops, 128, 235, np.random.default_rng(1))
    other = augment(crops, 128, 235, np.random.default_rng(2))

    assert first.shape == (len(crops), 128, 128, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_cell_stays_in_the_middle(crops: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    variants = np.concatenate([augment(crops, 128, 235, rng) for _ in range(15)])
    found = [find_cells(crop, smallest=SMALLEST_PLATELET) for crop in variants]
    boxes = [cells[0].box for cells in found if cells]
    off = [max(abs(b.x + b.width / 2 - 64), abs(b.y + b.height / 2 - 64)) for b in boxes]

    assert len(boxes) > 0.9 * len(variants)
    assert np.mean(np.array(off) < 26) > 0.9


def test_stain_and_brightness_change_mildly(crops: np.ndarray) -> None:
    colour = crops.mean(axis=(1, 2))
    rng = np.random.default_rng(0)
    shifts = [augment(crops, 128, 235, rng).mean(axis=(1, 2)) - colour for _ in range(20)]

    assert 2 < np.std(shifts) < 20


def test_the_centre_is_what_serving_sees(smear: SyntheticSmear, crops: np.ndarray) -> None:
    narrow = np.stack(
        [crop_cell(Prepared(smear.image), box, Preprocessing()) for box in smear.boxes]
    )
    difference = np.abs(centre(crops, 128).astype(int) - narrow).mean()

    assert difference < 6
