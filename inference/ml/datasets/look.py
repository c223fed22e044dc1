"""What a picture looks like, in 144 bytes: the same however it is turned, flipped or shifted.

The usual perceptual hash, the signs of a picture's 64 lowest cosine frequencies, finds pictures
that were saved anew, but hardly any that were turned by some degrees or taken again a few
micrometres aside, even when all eight views are tried; ``docs/datasets.md`` compares. So this one
is of the main cell and what lies around it: the picture is unrolled around the cell's middle, ring
by ring, and of each ring the strengths of its first frequencies are kept. Turning shifts a ring and
flipping reverses it, and neither changes how strong a frequency is (Fourier's shift theorem). The
radius is measured in nuclei, so the magnification is free.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.finder import FoundCell, nucleus_score
from inference.ml.preprocess import black_outside

_REACH = 3.4  # radius that is looked at, in radii of a disc of the nucleus' area
_SIDE = 96  # pixels of the copy that is unrolled
_ANGLES, _RADII, _RINGS = 64, 24, 8
_FREQUENCIES = 9
_LEAST_STRUCTURE = 0.5  # mean strength of the frequencies but the first: less shows nothing
_SCALE = 256  # of a unit vector's parts, in eight bits; none reaches half

# Mean and standard deviation of the frequencies' roots over every second picture of PBC and every
# fifth of BCCD: of darkness in green light, and of the nucleus score.
_MEAN = np.array(
    [
        [8.29, 3.23, 2.95, 2.63, 2.47, 2.25, 2.09, 1.97, 1.90],
        [4.77, 1.74, 1.66, 1.44, 1.35, 1.23, 1.16, 1.11, 1.08],
    ],
    np.float32,
)[..., None]
_SPREAD = np.array(
    [
        [5.18, 1.38, 1.40, 1.09, 1.01, 0.92, 0.89, 0.84, 0.82],
        [4.21, 1.20, 1.20, 0.93, 0.83, 0.74, 0.70, 0.65, 0.63],
    ],
    np.float32,
)[..., None]


def look_of(
    image: NDArray[np.uint8], cells: Sequence[FoundCell], background: NDArray[np.float32]
) -> str:
    """Describe a picture around its main cell, or as a whole if no cell was found.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
    cells : sequence of FoundCell
        Of the finder, the main one first.
    background : float32 array of shape (3,)
        Colour of its empty field.

    Returns
    -------
    str
        144 bytes in base 64; "" if there is nothing to see.
    """
    strengths = ring_strengths(image, cells, background)
    if strengths[:, 1:].mean() < _LEAST_STRUCTURE:
        return ""
    vector = ((strengths - _MEAN) / _SPREAD).ravel()
    vector *= _SCALE / float(np.linalg.norm(vector))
    return base64.b64encode(np.clip(np.rint(vector), -127, 127).astype(np.int8)).decode()


def vectors_of(looks: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors (N, 144) of looks that are not empty; products of them are their likeness."""
    raw = np.frombuffer(b"".join(base64.b64decode(look) for look in looks), np.int8)
    vectors = raw.reshape(len(looks), -1).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def ring_strengths(
    image: NDArray[np.uint8], cells: Sequence[FoundCell], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Roots of the strengths: float32 (2, 9, 8), by channel, frequency and ring."""
    patch = _patch(image, cells, background)
    green = np.maximum(np.arange(256, dtype=np.float32), 12)
    darkness = 255 * np.log(np.maximum(background[1] / green, 1))
    channels = darkness[patch[..., 1]], nucleus_score(patch, background).astype(np.float32)
    middle = _SIDE / 2, _SIDE / 2
    unrolled = [
        cv2.warpPolar(channel, (_RADII, _ANGLES), middle, _SIDE / 2, cv2.WARP_POLAR_LINEAR)
        for channel in channels
    ]
    strengths = np.abs(np.fft.rfft(np.stack(unrolled), axis=1)[:, :_FREQUENCIES]) / _ANGLES
    rings = np.sqrt(strengths).reshape(2, _FREQUENCIES, _RINGS, _RADII // _RINGS)
    return rings.mean(axis=-1).astype(np.float32)


def _patch(
    image: NDArray[np.uint8], cells: Sequence[FoundCell], background: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """The square around the main cell's middle; empty field where there is no picture."""
    height, width = image.shape[:2]
    if cells:
        box = cells[0].box
        x, y = box.x + box.width / 2, box.y + box.height / 2
        radius = _REACH * math.sqrt(cells[0].area / math.pi)
    else:
        x, y, radius = width / 2, height / 2, min(width, height) / 2
    left, top = math.floor(x - radius), math.floor(y - radius)
    side = max(2, round(2 * radius))
    inner = image[max(0, top) : top + side, max(0, left) : left + side]
    square = np.full((side, side, 3), background.astype(np.uint8), np.uint8)
    row, column = max(0, -top), max(0, -left)
    there = square[row : row + inner.shape[0], column : column + inner.shape[1]]
    outside = black_outside(inner)
    np.copyto(there, inner, where=True if outside is None else ~outside[..., None])
    way = cv2.INTER_AREA if side > _SIDE else cv2.INTER_LINEAR
    return cv2.resize(square, (_SIDE, _SIDE), interpolation=way).astype(np.uint8, copy=False)
