"""What a picture looks like, in 152 bytes, to find it again turned, flipped, shifted or resaved.

Two descriptions, each good at what the other misses; ``docs/datasets.md`` measures both.

**Rings around the main cell**: the picture is unrolled around the cell's middle, ring by ring, and
of each ring the strengths of its first frequencies are kept. Turning shifts a ring and flipping
reverses it, and neither changes how strong a frequency is (Fourier's shift theorem). The radius is
measured in nuclei, so the magnification is free. A picture that was turned by some degrees, or
taken again a few micrometres aside, is found by it.

**The whole picture**, by the usual perceptual hash: the signs of its 63 lowest cosine frequencies.
It hardly changes when a picture is saved anew, resized or brightened, even if the finder then
outlines the nucleus a little differently. Flipping changes the signs of odd frequencies and turning
by 90 degrees swaps the axes, so all eight views follow from one hash.

References
----------
Zauner: Implementation and benchmarking of perceptual image hash functions. Upper Austria University
of Applied Sciences, 2010 (pHash).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence

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
_PARTS = 2 * _FREQUENCIES * _RINGS
_WAVES = 8  # of the whole picture, along each side
_HASHED = 32  # side of the copy that they are taken of
_SCALE = 256  # of a unit vector's parts, in eight bits; none reaches half

# Mean and standard deviation of the frequencies' roots over every second picture of PBC and every
# fifth of BCCD: of darkness in green light, and of the nucleus score.
_MEAN = np.array(
    [
        [8.30, 3.19, 2.94, 2.61, 2.46, 2.24, 2.09, 1.97, 1.90],
        [4.77, 1.71, 1.65, 1.43, 1.34, 1.22, 1.16, 1.10, 1.08],
    ],
    np.float32,
)[..., None]
_SPREAD = np.array(
    [
        [5.18, 1.35, 1.39, 1.08, 1.00, 0.92, 0.89, 0.84, 0.83],
        [4.22, 1.17, 1.19, 0.92, 0.82, 0.74, 0.70, 0.65, 0.63],
    ],
    np.float32,
)[..., None]


def look_of(
    image: NDArray[np.uint8],
    cells: Sequence[FoundCell],
    background: NDArray[np.float32],
    grey: NDArray[np.uint8],
) -> str:
    """Describe a picture; the rings are around its middle if no cell was found.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
    cells : sequence of FoundCell
        Of the finder, the main one first.
    background : float32 array of shape (3,)
        Colour of its empty field.
    grey : uint8 array of shape (h, w)
        A copy of the whole in grey, its black corners filled.

    Returns
    -------
    str
        In base 64; "" if there is nothing to see.
    """
    strengths = ring_strengths(image, cells, background)
    if strengths[:, 1:].mean() < _LEAST_STRUCTURE:
        return ""
    vector = ((strengths - _MEAN) / _SPREAD).ravel()
    vector *= _SCALE / float(np.linalg.norm(vector))
    rings = np.clip(np.rint(vector), -127, 127).astype(np.int8)
    return base64.b64encode(rings.tobytes() + _packed(_signs(grey)[None]).tobytes()).decode()


class Looks:
    """Looks of N pictures, none of them empty, to be compared.

    Attributes
    ----------
    rings : float32 array of shape (N, 144)
        Unit vectors; their products are how alike the surroundings of two cells are.
    """

    def __init__(self, looks: Sequence[str]) -> None:
        raw = np.frombuffer(b"".join(base64.b64decode(look) for look in looks), np.uint8)
        raw = raw.reshape(len(looks), -1)
        rings = raw[:, :_PARTS].copy().view(np.int8).astype(np.float32)
        self.rings = rings / np.linalg.norm(rings, axis=1, keepdims=True)
        bits = np.unpackbits(raw[:, _PARTS:], axis=1).astype(bool).reshape(-1, _WAVES, _WAVES)
        self._hashes = _packed(bits)
        self._views = np.stack([_packed(view) for view in _views(bits)])

    def apart(self, these: NDArray[np.integer], those: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Bits by which whole pictures differ in the nearest of eight views, uint8 (K,)."""
        hashes = self._hashes[these]
        nearest = np.full(len(these), 255, np.uint8)
        for view in self._views:
            np.minimum(nearest, np.bitwise_count(hashes ^ view[those]), out=nearest)
        return nearest


def _signs(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Signs of the lowest cosine frequencies (8, 8); that of the mean says nothing."""
    small = cv2.resize(grey, (_HASHED, _HASHED), interpolation=cv2.INTER_AREA)
    signs = cv2.dct(small.astype(np.float32))[:_WAVES, :_WAVES] > 0
    signs[0, 0] = False
    return signs


def _views(signs: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """The signs (N, 8, 8) of a picture in all eight ways to turn and flip it."""
    odd = np.arange(_WAVES) % 2 == 1
    for axes in (signs, signs.transpose(0, 2, 1)):
        for down in (False, True):
            for across in (False, True):
                yield axes ^ (odd & down)[:, None] ^ (odd & across)[None, :]


def _packed(signs: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Signs (N, 8, 8) as 64 bits each."""
    return np.packbits(signs.reshape(len(signs), -1), axis=1).view(np.uint64)[:, 0]


def ring_strengths(
    image: NDArray[np.uint8], cells: Sequence[FoundCell], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Roots of the strengths: float32 (2, 9, 8), by channel, frequency and ring."""
    patch, middle, radius = _patch(image, cells, background)
    green = np.maximum(np.arange(256, dtype=np.float32), 12)
    darkness = 255 * np.log(np.maximum(background[1] / green, 1))
    channels = darkness[patch[..., 1]], nucleus_score(patch, background).astype(np.float32)
    unrolled = [
        cv2.warpPolar(channel, (_RADII, _ANGLES), middle, radius, cv2.WARP_POLAR_LINEAR)
        for channel in channels
    ]
    strengths = np.abs(np.fft.rfft(np.stack(unrolled), axis=1)[:, :_FREQUENCIES]) / _ANGLES
    rings = np.sqrt(strengths).reshape(2, _FREQUENCIES, _RINGS, _RADII // _RINGS)
    return rings.mean(axis=-1).astype(np.float32)


def _patch(
    image: NDArray[np.uint8], cells: Sequence[FoundCell], background: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], tuple[float, float], float]:
    """A copy of what lies around the main cell, and the circle in it: middle and radius.

    Empty field where there is no picture.
    """
    height, width = image.shape[:2]
    if cells:
        box = cells[0].box
        x, y = box.x + box.width / 2, box.y + box.height / 2
        radius = _REACH * math.sqrt(cells[0].area / math.pi)
    else:
        x, y, radius = width / 2, height / 2, min(width, height) / 2
    left, top = math.floor(x - radius), math.floor(y - radius)
    side = math.ceil(2 * radius) + 1
    inner = image[max(0, top) : top + side, max(0, left) : left + side]
    square = np.full((side, side, 3), background.astype(np.uint8), np.uint8)
    row, column = max(0, -top), max(0, -left)
    there = square[row : row + inner.shape[0], column : column + inner.shape[1]]
    outside = black_outside(inner)
    np.copyto(there, inner, where=True if outside is None else ~outside[..., None])
    way = cv2.INTER_AREA if side > _SIDE else cv2.INTER_LINEAR
    patch = cv2.resize(square, (_SIDE, _SIDE), interpolation=way).astype(np.uint8, copy=False)
    scale = _SIDE / side
    # Coordinates of a picture's corners, as boxes have them, are half a pixel from those of pixels.
    return patch, ((x - left) * scale - 0.5, (y - top) * scale - 0.5), radius * scale
