"""White balance and crops: the same in training and serving."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.data import cut_crops, list_items
from inference.ml.engine import Engine
from inference.ml.finder import Box, background_colour, find_cells
from inference.ml.preprocess import Prepared, Preprocessing, crop_cell, prepare, to_network
from inference.ml.smear import STAINS, SyntheticSmear, make_smear

pytestmark = pytest.mark.unit
PARAMETERS = Preprocessing()


@pytest.mark.parametrize("stain", STAINS)
def test_prepare_brings_the_field_to_one_grey(stain: str) -> None:
    prepared = prepare(make_smear(0, stain=stain).image, PARAMETERS)

    assert np.abs(background_colour(prepared.pixels) - PARAMETERS.background).max() <= 3


def test_prepare_fills_black_corners_but_no_dark_nuclei(smear: SyntheticSmear) -> None:
    image = smear.image.copy()
    image[:80, :80] = 0  # meets the edge
    box = smear.boxes[0]
    image[box.y + 30 : box.y + 40, box.x + 30 : box.x + 40] = 0  # does not
    prepared = prepare(image, PARAMETERS).pixels

    assert (prepared[:80, :80] == PARAMETERS.background).all()
    assert (prepared[box.y + 30 : box.y + 40, box.x + 30 : box.x + 40] == 0).all()


def test_training_and_serving_cut_the_same_crop(
    class_folders: Callable[..., Path], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = class_folders("set", {"a": 0, "b": 10}, pictures=3)
    with Image.open(folder / "a" / "0.png") as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # lies on its side
        image.rotate(90, expand=True).save(folder / "a" / "0.png", exif=exif)
    items = list_items([folder]).items
    crops, kept = cut_crops(items, engine.bundle.card.preprocessing, decode=decode)
    served: list[NDArray[np.uint8]] = []
    answer = engine.features

    def overheard(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        served.append(crops[0])
        return answer(crops)

    monkeypatch.setattr(engine, "features", overheard)
    for position in kept:
        engine.classify(decode(items[position].path.read_bytes()))

    assert len(kept) == len(items) == 6
    assert np.array_equal(crops, np.stack(served))


def test_a_crop_depends_on_the_box_alone_and_not_on_who_drew_it(smear: SyntheticSmear) -> None:
    prepared = prepare(smear.image, PARAMETERS)
    found = find_cells(smear.image)[0].box
    by_hand = Box(found.x, found.y, found.width, found.height)

    assert np.array_equal(
        crop_cell(prepared, found, PARAMETERS), crop_cell(prepared, by_hand, PARAMETERS)
    )


def test_a_crop_is_the_same_at_another_magnification(smear: SyntheticSmear) -> None:
    box = smear.boxes[0]
    doubled = cv2.resize(smear.image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    one = crop_cell(Prepared(smear.image), box, PARAMETERS)
    two = crop_cell(
        Prepared(doubled.astype(np.uint8)),
        Box(2 * box.x, 2 * box.y, 2 * box.width, 2 * box.height),
        PARAMETERS,
    )

    assert np.abs(one.astype(int) - two).mean() < 3


def test_outside_the_picture_is_field(smear: SyntheticSmear) -> None:
    crop = crop_cell(Prepared(smear.image), Box(0, 0, 40, 40), PARAMETERS)

    assert (crop[:8] == PARAMETERS.background).all()
    assert (crop[:, :8] == PARAMETERS.background).all()
    assert crop[-8:].std() > 0


@pytest.mark.property
@settings(max_examples=80, deadline=None)
@given(data=st.data(), width=st.integers(16, 200), height=st.integers(16, 200))
def test_any_box_inside_the_picture_gives_a_crop(
    data: st.DataObject, width: int, height: int
) -> None:
    x, y = data.draw(st.integers(0, width - 4)), data.draw(st.integers(0, height - 4))
    side = data.draw(st.integers(4, min(width - x, height - y)))
    box = Box(x, y, side, side)
    parameters = replace(PARAMETERS, size=32)
    crop = crop_cell(Prepared(np.full((height, width, 3), 7, np.uint8)), box, parameters)

    assert crop.shape == (32, 32, 3)
    assert crop.dtype == np.uint8
    assert crop[16, 16].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "box", [Box(-1, 0, 5, 5), Box(0, 0, 0, 5), Box(60, 0, 5, 5), Box(0, 0, 5, 65)]
)
def test_a_box_outside_the_picture_is_refused(box: Box) -> None:
    with pytest.raises(ValueError, match="box"):
        crop_cell(Prepared(np.zeros((64, 64, 3), np.uint8)), box, PARAMETERS)


def test_the_network_sees_minus_one_to_one() -> None:
    crops = np.zeros((2, 128, 128, 3), np.uint8)
    crops[1] = 255
    inputs = to_network(crops, PARAMETERS)

    assert inputs.dtype == np.float32
    assert inputs[0].max() == -1
    assert inputs[1].min() == 1


def test_crops_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(N, 128, 128, 3\)"):
        to_network(np.zeros((1, 64, 64, 3), np.uint8), PARAMETERS)


def test_parameters_survive_the_card() -> None:
    parameters = Preprocessing(size=96, context=2.0, background=240)

    assert Preprocessing.from_dict(parameters.to_dict()) == parameters


@pytest.mark.parametrize(
    "change", [{"stain": "wright"}, {"size": 4}, {"context": 0.0}, {"background": 0}]
)
def test_parameters_of_another_program_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Preprocessing"):
        Preprocessing.from_dict({**PARAMETERS.to_dict(), **change})
