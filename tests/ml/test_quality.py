"""Focus, exposure and colour of pictures: good ones pass, spoilt ones do not, at any size."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bench.quality import blurred, exchanged, exposed, grey, nonsense, scaled
from hematovision.files.gate import decode
from inference.cells import PICTURE_FLAGS
from inference.ml.quality import (
    BLURRED,
    TOO_BRIGHT,
    TOO_DARK,
    UNUSUAL_COLOUR,
    Quality,
    measure_quality,
)
from inference.ml.smear import STAINS, SyntheticSmear, make_smear

pytestmark = pytest.mark.unit

RADIUS = 22.0  # of a red cell of a synthetic smear at scale 1
Image = NDArray[np.uint8]


def blur(image: Image) -> float:
    measured = measure_quality(image).blur
    assert measured is not None
    return measured


@pytest.mark.parametrize("stain", STAINS)
@pytest.mark.parametrize("size", [(320, 240), (1000, 600)])
def test_a_good_picture_has_no_flag(stain: str, size: tuple[int, int]) -> None:
    for seed in range(2):
        image = make_smear(seed, width=size[0], height=size[1], stain=stain).image
        assert measure_quality(image).flags == ()


@pytest.mark.property
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    stain=st.sampled_from(sorted(STAINS)),
    shares=st.tuples(st.floats(0.02, 0.25), st.floats(0.02, 0.25)),
)
def test_more_blur_never_raises_the_focus(
    seed: int, stain: str, shares: tuple[float, float]
) -> None:
    image = make_smear(seed, width=400, height=300, stain=stain).image
    less, more = sorted(shares)
    sharp, soft, softer = (
        blur(image),
        blur(blurred(image, less * RADIUS)),
        blur(blurred(image, more * RADIUS)),
    )
    tolerance = 0.01  # the size of a red cell is measured anew on each
    assert sharp <= soft + tolerance
    assert soft <= softer + tolerance


@pytest.mark.parametrize("factor", [0.5, 0.75, 1.5, 2.0, 4.0])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_the_scale_of_a_picture_changes_no_flag(factor: float, share: float) -> None:
    image = make_smear(4, width=400, height=300).image
    if share:
        image = blurred(image, share * RADIUS)
    assert measure_quality(scaled(image, factor)).flags == ((BLURRED,) if share else ())
    assert blur(scaled(image, factor)) == pytest.approx(blur(image), abs=0.08)


def test_small_cells_of_a_large_field_are_looked_at_closely() -> None:
    field = np.tile(make_smear(5, width=400, height=300).image, (9, 9, 1))
    assert measure_quality(field).flags == ()
    assert measure_quality(blurred(field, 0.3 * RADIUS)).flags == (BLURRED,)


def test_exposure() -> None:
    image = make_smear(2, stain="wright").image
    brightness = [measure_quality(exposed(image, stops)).brightness for stops in range(-4, 4)]
    assert brightness == sorted(brightness)
    for stops in (-4, -3):
        assert TOO_DARK in measure_quality(exposed(image, stops)).flags
    for stops in (-1, 0, 1):
        flags = measure_quality(exposed(image, stops)).flags
        assert TOO_DARK not in flags
        assert TOO_BRIGHT not in flags
    assert TOO_BRIGHT in measure_quality(exposed(image, 3)).flags
    assert measure_quality(np.zeros((240, 320, 3), np.uint8)).flags == (TOO_DARK,)


def test_colours_of_no_stain(smear: SyntheticSmear) -> None:
    assert measure_quality(grey(smear.image)).flags == (UNUSUAL_COLOUR,)
    assert UNUSUAL_COLOUR in measure_quality(exchanged(smear.image)).flags
    tungsten = (smear.image * np.array([1, 0.7, 0.4])).astype(np.uint8)
    assert UNUSUAL_COLOUR in measure_quality(tungsten).flags


def test_noise_is_flagged_and_an_empty_field_is_not() -> None:
    expected = {"coloured noise": (UNUSUAL_COLOUR,), "grey noise": (UNUSUAL_COLOUR,)}
    for name, image in list(nonsense())[:20]:
        if "text" not in name:  # written in violet ink it has the colours of a stain
            assert measure_quality(image).flags == expected.get(name, ())


def test_missing_corners_of_a_rotated_picture_are_no_fault(smear: SyntheticSmear) -> None:
    height, width = smear.image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 25, 1.0)
    turned = cv2.warpAffine(smear.image, turn, (width, height))
    rotated = np.asarray(cv2.imdecode(cv2.imencode(".jpg", turned)[1], 1), np.uint8)
    assert measure_quality(rotated).flags == ()
    assert blur(rotated) == pytest.approx(blur(smear.image), abs=0.03)


def test_nothing_is_measured_where_nothing_is() -> None:
    empty = measure_quality(np.full((240, 320, 3), 228, np.uint8))
    assert (empty.blur, empty.chroma, empty.foreign) == (None, None, None)
    assert isinstance(empty, Quality)


@pytest.mark.parametrize("shape", [(16, 16), (16, 6000), (6000, 16), (17, 333), (700, 90)])
def test_any_shape_can_be_measured(shape: tuple[int, int]) -> None:
    smear = make_smear(3, width=400, height=300).image
    tiled = np.tile(smear, (20, 20, 1))[: shape[0], : shape[1]]
    measure_quality(tiled)
    measure_quality(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))


def test_the_picture_stays_as_it_is(smear: SyntheticSmear) -> None:
    before = smear.image.copy()
    first = measure_quality(smear.image)
    assert np.array_equal(smear.image, before)
    assert measure_quality(smear.image) == first


def test_what_is_no_picture_is_refused() -> None:
    for array in (
        np.zeros((240, 320), np.uint8),
        np.zeros((240, 320, 4), np.uint8),
        np.zeros((240, 320, 3), np.float32),
    ):
        with pytest.raises(ValueError, match="RGB"):
            measure_quality(array)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="16x16"):
        measure_quality(np.zeros((8, 320, 3), np.uint8))


def test_every_flag_has_its_words() -> None:
    assert set(PICTURE_FLAGS) == {BLURRED, TOO_DARK, TOO_BRIGHT, UNUSUAL_COLOUR}


@pytest.mark.real_images
@pytest.mark.parametrize("folder", ["bccd/TRAIN", "pbc", "bccd_fields/JPEGImages"])
def test_few_real_pictures_are_flagged(test_data: Path, folder: str) -> None:
    paths = sorted((test_data / folder).rglob("*.jp*g"))
    found = [
        measure_quality(decode(path.read_bytes())).flags for path in paths[:: len(paths) // 200]
    ]
    assert sum(map(bool, found)) <= 0.03 * len(found)
