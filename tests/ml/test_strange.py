"""The bench's strange pictures are pictures, and the same ones each time."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bench import strange
from inference.ml.smear import SyntheticSmear

pytestmark = pytest.mark.unit


def test_every_kind_gives_pictures_that_differ_and_come_again() -> None:
    first, again = strange.pictures(2), strange.pictures(2)

    assert len(first) >= 6
    for name, made in first.items():
        for picture, same in zip(made, again[name], strict=True):
            assert picture.shape == (240, 320, 3)
            assert picture.dtype == np.uint8
            assert np.array_equal(picture, same)
        assert not np.array_equal(made[0], made[1])


def test_x_rays_are_grey() -> None:
    picture = strange.x_ray(np.random.default_rng(0))

    assert (picture == picture[..., :1]).all()


def test_changed_crops_keep_what_is_not_changed(smear: SyntheticSmear) -> None:
    crops = np.stack([cv2.resize(smear.image[:200, :200], (64, 64)).astype(np.uint8)] * 3)
    turned, soft = strange.recoloured(crops), strange.blurred(crops)

    assert turned.shape == soft.shape == crops.shape
    assert turned.dtype == soft.dtype == np.uint8
    values = [one[0].max(axis=-1).astype(int) for one in (crops, turned)]
    assert np.abs(values[0] - values[1]).max() <= 2
    assert soft.std() < crops.std()


def test_photographs_are_made_small_and_others_passed_over(tmp_path: Path) -> None:
    Image.new("RGB", (1600, 800), "red").save(tmp_path / "large.jpg")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"nothing")
    (tmp_path / "words.txt").write_text("words")

    assert [one.shape for one in strange.photographs(tmp_path)] == [(320, 640, 3), (64, 64, 3)]
