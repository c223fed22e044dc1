"""Stains are brought to a common look, each cell by its own nucleus."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.ml.finder import Box, background_colour, find_cells
from inference.ml.preprocess import Preprocessing, crop_cell, prepare
from inference.ml.smear import STAINS, make_smear
from inference.ml.stain import red_cell_density

pytestmark = pytest.mark.unit
COMMON = Preprocessing()
OWN = Preprocessing(stain="own")


def crops_of(image: NDArray[np.uint8], box: Box) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """With the common look, and with the stain of the picture's own."""
    return (
        crop_cell(prepare(image, COMMON), box, COMMON),
        crop_cell(prepare(image, OWN), box, OWN),
    )


def deeper(image: NDArray[np.uint8], power: float) -> NDArray[np.uint8]:
    """The same smear stained `power` times as deeply: densities multiply, the field stays."""
    field = background_colour(image)
    return np.clip(field * (image / field) ** power, 0, 255).astype(np.uint8)


def test_the_depth_of_the_stain_makes_little_difference() -> None:
    image = make_smear(3).image
    box = find_cells(image)[0].box
    one, own = crops_of(image, box)
    other, other_own = crops_of(deeper(image, 0.6), box)
    common = np.abs(one.astype(int) - other).mean()
    apart = np.abs(own.astype(int) - other_own).mean()

    assert apart > 8
    assert common < apart / 2.5


@pytest.mark.parametrize("stain", STAINS)
def test_the_empty_field_stays_as_it_is(stain: str) -> None:
    image = make_smear(1, stain=stain).image
    common, own = crops_of(image, find_cells(image)[0].box)
    empty = own.min(axis=2) > 228

    assert empty.any()
    assert np.abs(common[empty].astype(int) - own[empty]).mean() < 6


def test_a_cell_looks_the_same_whatever_lies_beside_it() -> None:
    image = make_smear(2).image
    box = find_cells(image)[0].box
    beside = image.copy()
    # A neighbour with a much paler nucleus, away from the crop.
    far = box.x + box.width + 120 < image.shape[1] - 60
    centre = (image.shape[1] - 40 if far else 40, image.shape[0] - 40)
    cv2.circle(beside, centre, 22, (190, 170, 225), -1)
    alone, _ = crops_of(image, box)
    together, _ = crops_of(beside, box)

    assert np.abs(alone.astype(int) - together).mean() < 1


def test_without_red_cells_the_stain_is_left() -> None:
    image = np.full((240, 320, 3), 235, np.uint8)
    cv2.circle(image, (160, 120), 30, (110, 80, 170), -1)
    common, own = crops_of(image, Box(120, 80, 80, 80))

    assert red_cell_density(image, background_colour(image)) is None
    assert np.array_equal(common, own)


def test_a_box_without_a_nucleus_keeps_its_stain() -> None:
    image = make_smear(4).image
    cells = find_cells(image)
    taken = np.zeros(image.shape[:2], bool)
    for cell in cells:
        taken[
            cell.box.y : cell.box.y + cell.box.height, cell.box.x : cell.box.x + cell.box.width
        ] = 1
    corner = next(
        Box(x, y, 24, 24)
        for y in range(0, image.shape[0] - 24, 24)
        for x in range(0, image.shape[1] - 24, 24)
        if not taken[max(0, y - 12) : y + 36, max(0, x - 12) : x + 36].any()
    )
    common, own = crops_of(image, corner)

    assert np.array_equal(common, own)


def test_an_unknown_stain_is_refused() -> None:
    with pytest.raises(ValueError, match="stain"):
        Preprocessing(stain="anchors-2")
