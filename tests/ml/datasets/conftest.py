"""Drawn pictures, their augmented copies, and datasets of them."""

import hashlib
import io
from collections.abc import Sequence

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference.ml.datasets.facts import PictureFacts, measure
from inference.ml.datasets.manifest import Entry
from inference.ml.datasets.tables import Part
from inference.ml.smear import make_smear

Picture = NDArray[np.uint8]


def cell_picture(
    seed: int, *, stain: str = "wright", width: int = 160, height: int = 120, scale: float = 0.5
) -> Picture:
    """A picture of one cell and what is around it."""
    return make_smear(
        seed, white_cells=1, stain=stain, scale=scale, width=width, height=height
    ).image


def turned(image: Picture, angle: float, *, flip: bool = False) -> Picture:
    """A copy as augmentation makes it: turned about the middle, black where nothing is."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    copy = cv2.warpAffine(image, matrix, (width, height)).astype(np.uint8, copy=False)
    return np.ascontiguousarray(copy[:, ::-1]) if flip else copy


def as_png(image: Picture) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def entry(
    image: Picture, label: str = "a", group: str = "", part: Part = "", name: str = ""
) -> Entry:
    sha256 = hashlib.sha256(image.tobytes()).hexdigest()
    return Entry(sha256, label, group, part, None, name or f"{label}/{sha256[:8]}.png")


@pytest.fixture(scope="session")
def independent() -> list[tuple[Entry, PictureFacts]]:
    """Forty pictures of as many smears, in two classes."""
    rows = []
    for seed in range(40):
        image = cell_picture(seed, stain="giemsa")
        rows.append((entry(image, "ab"[seed % 2]), measure(image)))
    return rows


@pytest.fixture(scope="session")
def augmented() -> list[tuple[Entry, PictureFacts]]:
    """Four pictures, each turned into ten."""
    rows = []
    for seed in range(4):
        image = cell_picture(100 + seed)
        for number in range(10):
            copy = turned(image, 4 + 9 * number, flip=number % 2 == 1)
            rows.append((entry(copy, "ab"[seed % 2]), measure(copy)))
    return rows


Rows = Sequence[tuple[Entry, PictureFacts]]


def apart(rows: Rows) -> tuple[list[Entry], list[PictureFacts]]:
    return [row[0] for row in rows], [row[1] for row in rows]
