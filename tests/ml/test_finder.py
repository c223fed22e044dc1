"""The finder on drawn smears, on nonsense and on real pictures."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.finder import count_cells, holds_middle, score_field
from inference.ml.finder import (
    SMALLEST_PLATELET,
    FoundCell,
    background_colour,
    find_cells,
    nucleus_score,
)
from inference.ml.smear import STAINS, SyntheticSmear, make_smear

pytestmark = pytest.mark.unit


def matches(smear: SyntheticSmear, cells: list[FoundCell]) -> bool:
    """One box for each drawn cell, and none beside."""
    hits = [sum(holds_middle(box, cell.box) for cell in cells) for box in smear.boxes]
    return hits == [1] * len(smear.boxes) and len(cells) == len(smear.boxes)


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize(
    ("scale", "white_cells"), [(0.3, 12), (0.5, 6), (1.0, 3), (1.6, 2), (2.2, 1)]
)
def test_finds_every_cell_in_any_stain_at_any_scale(
    stain: str, scale: float, white_cells: int
) -> None:
    for seed in (1, 2, 3):
        smear = make_smear(seed, stain=stain, scale=scale, white_cells=white_cells)
        assert matches(smear, find_cells(smear.image))


@pytest.mark.parametrize("stain", STAINS)
def test_red_cells_and_small_platelets_are_no_white_cells(stain: str) -> None:
    smear = make_smear(5, stain=stain, white_cells=0)

    assert find_cells(smear.image) == []
    assert find_cells(smear.image, smallest=SMALLEST_PLATELET) != []


def test_black_corners_of_a_rotated_picture_are_no_cells(smear: SyntheticSmear) -> None:
    height, width = smear.image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 20, 1)
    rotated = cv2.warpAffine(smear.image, turn, (width, height)).astype(np.uint8)

    assert find_cells(rotated)
    for cell in find_cells(rotated):
        box = cell.box
        inside = rotated[box.y : box.y + box.height, box.x : box.x + box.width]
        assert (inside.max(axis=2) > 24).mean() > 0.8
    assert len(find_cells(rotated)) <= len(smear.boxes)


def test_a_large_picture_gives_the_boxes_of_its_reduced_copy(smear: SyntheticSmear) -> None:
    large = cv2.resize(smear.image, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC)
    small_boxes = [cell.box for cell in find_cells(smear.image)]
    large_boxes = [cell.box for cell in find_cells(large.astype(np.uint8))]

    assert len(large_boxes) == len(small_boxes)
    for small, big in zip(small_boxes, large_boxes, strict=True):
        assert abs(big.x / 5 - small.x) <= 4
        assert abs(big.width / 5 - small.width) <= 6


def test_small_cells_of_a_wide_field_are_found() -> None:
    smear = make_smear(3, width=1600, height=1200, scale=0.4, white_cells=15)

    assert matches(smear, find_cells(smear.image))


def test_the_main_cell_is_the_one_in_the_middle(smear: SyntheticSmear) -> None:
    target = smear.boxes[0]
    middle_x, middle_y = target.x + target.width // 2, target.y + target.height // 2
    reach = min(middle_x, middle_y, 110)
    around = smear.image[middle_y - reach : middle_y + reach, middle_x - reach : middle_x + reach]
    main = find_cells(np.ascontiguousarray(around))[0].box

    assert main.x <= reach <= main.x + main.width
    assert main.y <= reach <= main.y + main.height


def test_a_cell_cut_off_by_the_edge_is_marked(smear: SyntheticSmear) -> None:
    target = min(smear.boxes, key=lambda box: box.x)
    cut = np.ascontiguousarray(smear.image[:, target.x + target.width // 3 :])
    at_edge = [cell for cell in find_cells(cut) if cell.box.x == 0]

    assert len(at_edge) == 1
    assert at_edge[0].touches_border
    assert any(not cell.touches_border for cell in find_cells(smear.image))


@pytest.mark.parametrize("value", [0, 30, 128, 255])
@pytest.mark.parametrize("size", [(16, 16), (240, 320), (1000, 37)])
def test_a_blank_picture_has_no_cells(value: int, size: tuple[int, int]) -> None:
    assert find_cells(np.full((*size, 3), value, np.uint8)) == []


def test_a_grey_picture_has_no_cells(smear: SyntheticSmear) -> None:
    grey = np.repeat(cv2.cvtColor(smear.image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)

    assert find_cells(np.ascontiguousarray(grey, np.uint8)) == []


@pytest.mark.property
@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(16, 90),
    width=st.integers(16, 90),
    seed=st.integers(0, 2**32 - 1),
    grain=st.integers(1, 16),
)
def test_boxes_lie_inside_the_picture_whatever_it_shows(
    height: int, width: int, seed: int, grain: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (grain, grain, 3), dtype=np.uint8)
    image = cv2.resize(noise, (width, height)).astype(np.uint8)

    for cell in find_cells(image, smallest=SMALLEST_PLATELET):
        box = cell.box
        assert box.width >= 1
        assert box.height >= 1
        assert 0 <= box.x <= box.x + box.width <= width
        assert 0 <= box.y <= box.y + box.height <= height


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((100, 100), np.uint8),
        np.zeros((100, 100, 4), np.uint8),
        np.zeros((100, 100, 3), np.float32),
        np.zeros((15, 100, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"uint8|16x16"):
        find_cells(image)


def test_background_is_the_colour_of_the_field(smear: SyntheticSmear) -> None:
    expected = np.array(STAINS["may-gruenwald"].field)

    assert np.abs(background_colour(smear.image) - expected).max() < 8


def test_score_is_high_on_nuclei_and_low_elsewhere() -> None:
    for stain in STAINS.values():
        colours = np.array([[stain.field, stain.red_cell, stain.nucleus]], np.uint8)
        field, red_cell, nucleus = nucleus_score(colours, np.array(stain.field, np.float32))[
            0
        ].tolist()

        assert field < 5
        assert red_cell < 40
        assert nucleus > 60


@pytest.mark.real_images
@pytest.mark.parametrize(("scale", "recall"), [(1.0, 0.99), (0.5, 0.98), (2.0, 0.99)])
def test_targets_on_annotated_fields(test_data: Path, scale: float, recall: float) -> None:
    fields = sorted((test_data / "bccd_fields" / "Annotations").glob("*.xml"))
    scores = [score_field((path, scale)) for path in fields]

    assert len(scores) > 250
    assert sum(s.found for s in scores) / sum(s.annotated for s in scores) >= recall
    assert sum(s.false for s in scores) / len(scores) <= 0.03


@pytest.mark.real_images
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("dataset", ["bccd/TRAIN", "pbc"])
def test_targets_on_single_cells(test_data: Path, dataset: str, scale: float) -> None:
    pictures = [
        path
        for folder in sorted((test_data / dataset).glob("*/"))
        if folder.name != "platelet"
        for path in sorted(folder.glob("*.jp*g"))[::25]
    ]
    counts = np.array([count_cells((path, scale)) for path in pictures])

    assert len(counts) >= 100
    assert (counts == 1).mean() >= 0.95
