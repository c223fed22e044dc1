"""Drawn smears say truly what is on them."""

import numpy as np
import pytest

from inference.ml.smear import KINDS, STAINS, make_smear

pytestmark = pytest.mark.unit


def test_the_same_seed_draws_the_same_smear() -> None:
    first, again, other = make_smear(4), make_smear(4), make_smear(5)

    assert np.array_equal(first.image, again.image)
    assert first.boxes == again.boxes
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("stain", STAINS)
def test_boxes_hold_nuclei_and_lie_inside(stain: str) -> None:
    smear = make_smear(2, width=500, height=300, white_cells=2, stain=stain, scale=0.8)

    assert smear.image.shape == (300, 500, 3)
    assert smear.image.dtype == np.uint8
    assert len(smear.boxes) == len(smear.kinds) == 2
    assert set(smear.kinds) <= set(KINDS)
    for box in smear.boxes:
        assert 0 <= box.x < box.x + box.width <= 500
        assert 0 <= box.y < box.y + box.height <= 300
        inside = smear.image[box.y : box.y + box.height, box.x : box.x + box.width].astype(int)
        distance = np.abs(inside - STAINS[stain].nucleus).max(axis=2)
        assert (distance < 25).mean() > 0.12


def test_a_crowded_picture_has_as_many_cells_as_fit() -> None:
    smear = make_smear(0, width=100, height=100, white_cells=50)

    assert 0 < len(smear.boxes) < 10


@pytest.mark.parametrize("wrong", [{"stain": "ink"}, {"scale": 0}, {"width": 8}])
def test_impossible_smears_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"stain|scale"):
        make_smear(0, **wrong)  # type: ignore[arg-type]
