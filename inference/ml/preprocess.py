"""From a picture and a box to what the network sees; one code for training and serving.

``prepare`` works on the whole picture once, ``crop_cell`` on each box, ``to_network``
on a batch of crops. All they know beside the pixels is a `Preprocessing`, which
travels in the card of the model that was trained with it.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.finder import Box, background_colour
from inference.ml.stain import Density, red_cell_density, restained_cell

OWN_STAIN = "own"
COMMON_STAIN = "anchors-1"
STAINS = (OWN_STAIN, COMMON_STAIN)
CELL, IMAGE = "cell", "image"
REGIONS = (CELL, IMAGE)
AREA, BILINEAR, NEAREST = "area", "bilinear", "nearest"
INTERPOLATIONS = (AREA, BILINEAR, NEAREST)

_BLACK = 24  # a missing corner of a rotated picture, with some JPEG noise
_BLACK_RIM = 5  # pixels over which JPEG smears such a corner


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Parameters of the way from the picture to the network.

    Attributes
    ----------
    size : int
        Side of a crop in pixels.
    context : float
        Side of the square that is cut out, over the longer side of the cell's box.
    background : int
        Grey value to which white balance brings the empty field; also what lies
        outside the picture.
    stain : str
        ``anchors-1``: brought to a common look, see `inference.ml.stain`; ``own``: left.
    region : str
        What the network is shown. ``cell``: the square round a cell. ``image``: the whole
        picture in its own colours, squeezed into a square, as classifiers take it that were
        trained without looking for cells; `context` and `stain` then mean nothing.
    interpolation : str
        How it is scaled. ``area``: by area when it shrinks, linearly when it grows;
        ``bilinear``: linearly between the nearest four pixels, also when it shrinks;
        ``nearest``: the nearest pixel.
    """

    size: int = 128
    context: float = 1.5
    background: int = 235
    stain: str = COMMON_STAIN
    region: str = CELL
    interpolation: str = AREA

    def __post_init__(self) -> None:
        if not (16 <= self.size <= 1024 and 0.5 <= self.context <= 8):
            raise ValueError("Preprocessing: size must be 16 to 1024 and context 0.5 to 8.")
        if not 1 <= self.background <= 255:
            raise ValueError("Preprocessing: background must be 1 to 255.")
        if self.stain not in STAINS:
            raise ValueError(f"Preprocessing: this program knows the stains {STAINS}.")
        if self.region not in REGIONS or self.interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"Preprocessing: this program knows the regions {REGIONS} and the "
                f"interpolations {INTERPOLATIONS}."
            )
        if self.region == IMAGE and self.stain != OWN_STAIN:
            raise ValueError("Preprocessing: a whole picture keeps its own stain.")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read the parameters from a card.

        Raises
        ------
        ValueError
            If a parameter is missing, unknown or out of range: a card from another
            version of the program must not be half understood.
        """
        expected = {field.name for field in fields(cls)}
        if set(values) != expected:
            raise ValueError(f"Preprocessing needs {sorted(expected)}, not {sorted(values)}.")
        return cls(
            size=int(values["size"]),
            context=float(values["context"]),
            background=int(values["background"]),
            stain=str(values["stain"]),
            region=str(values["region"]),
            interpolation=str(values["interpolation"]),
        )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture from which cells can be cut.

    Attributes
    ----------
    pixels : uint8 array of shape (H, W, 3)
        White-balanced, unless the region is the whole picture.
    red_cell : float64 array of shape (3,) or None
        Density of its red cells, if stains are brought to a common look and there are
        some. Without red cells a picture keeps its stain.
    """

    pixels: NDArray[np.uint8]
    red_cell: Density | None = None


def prepare(image: NDArray[np.uint8], parameters: Preprocessing) -> Prepared:
    """White-balance a whole picture to its background, fill black corners, measure its stain.

    Where the region is the whole picture nothing is done to it.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
        RGB.
    """
    if parameters.region == IMAGE:
        return Prepared(image)
    gain = parameters.background / background_colour(image)
    levels = np.arange(256, dtype=np.float32)[:, None] * gain
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    balanced = cv2.LUT(image, table[None]).astype(np.uint8, copy=False)
    outside = black_outside(image)
    if outside is not None:
        balanced[outside] = parameters.background
    if parameters.stain == OWN_STAIN:
        return Prepared(balanced)
    return Prepared(balanced, red_cell_density(balanced, _field(parameters)))


def _field(parameters: Preprocessing) -> NDArray[np.float32]:
    return np.full(3, parameters.background, np.float32)


def crop_square(box: Box, context: float) -> tuple[int, int, int]:
    """The square that is cut out round a box: left, top and side, in pixels of the picture.

    Its side is ``context`` times the box's longer one; it may reach outside the picture.
    """
    side = max(2, math.ceil(context * max(box.width, box.height)))
    left = round(box.x + (box.width - side) / 2)
    top = round(box.y + (box.height - side) / 2)
    return left, top, side


def box_in_crop(box: Box, parameters: Preprocessing) -> Box:
    """Where the box of a cell lies in its crop, in whole pixels of the crop."""
    left, top, side = crop_square(box, parameters.context)
    scale = parameters.size / side
    x, y = round((box.x - left) * scale), round((box.y - top) * scale)
    right = round((box.x + box.width - left) * scale)
    bottom = round((box.y + box.height - top) * scale)
    return Box(x, y, max(1, right - x), max(1, bottom - y))


def crop_cell(prepared: Prepared, box: Box, parameters: Preprocessing) -> NDArray[np.uint8]:
    """Cut a cell out, with some of what is around it, at the common scale.

    Where the region is the whole picture, that is what is scaled, whatever the box.

    Parameters
    ----------
    prepared : Prepared
        What `prepare` made of the picture.
    box : Box
        Round the cell: from the finder or drawn by a person.

    Returns
    -------
    uint8 array of shape (S, S, 3)

    Raises
    ------
    ValueError
        If the box is empty or lies outside the picture.
    """
    pixels = prepared.pixels
    height, width = pixels.shape[:2]
    if box.width < 1 or box.height < 1:
        raise ValueError(f"The box {box} is empty.")
    if box.x < 0 or box.y < 0 or box.x + box.width > width or box.y + box.height > height:
        raise ValueError(f"The box {box} reaches outside the picture of {width}x{height} pixels.")

    if parameters.region == IMAGE:
        return _scaled(pixels, parameters)
    left, top, side = crop_square(box, parameters.context)
    inner = pixels[max(0, top) : top + side, max(0, left) : left + side]
    if inner.shape[:2] != (side, side):
        square = np.full((side, side, 3), parameters.background, np.uint8)
        row, column = max(0, -top), max(0, -left)
        square[row : row + inner.shape[0], column : column + inner.shape[1]] = inner
    else:
        square = inner
    scaled = _scaled(square, parameters)
    if prepared.red_cell is None:
        return scaled
    margin = round((1 - 1 / parameters.context) / 2 * parameters.size)
    inside = slice(max(0, margin), parameters.size - max(0, margin))
    return restained_cell(scaled, inside, prepared.red_cell, _field(parameters))


def _scaled(pixels: NDArray[np.uint8], parameters: Preprocessing) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) as a crop (S, S, 3)."""
    size = parameters.size
    shrinks = max(pixels.shape[:2]) > size
    interpolation = {
        AREA: cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        BILINEAR: cv2.INTER_LINEAR,
        NEAREST: cv2.INTER_NEAREST_EXACT,
    }[parameters.interpolation]
    crop = cv2.resize(pixels, (size, size), interpolation=interpolation)
    return crop.astype(np.uint8, copy=False)


def to_network(crops: NDArray[np.uint8], parameters: Preprocessing) -> NDArray[np.float32]:
    """Scale crops to the numbers that MobileNetV2 takes.

    Parameters
    ----------
    crops : uint8 array of shape (N, S, S, 3)

    Returns
    -------
    float32 array of shape (N, S, S, 3)
        In -1 to 1.

    Raises
    ------
    ValueError
        If the crops have another shape or type.
    """
    size = parameters.size
    if crops.ndim != 4 or crops.shape[1:] != (size, size, 3) or crops.dtype != np.uint8:
        raise ValueError(f"Crops must be uint8 (N, {size}, {size}, 3), not {crops.shape}.")
    return crops.astype(np.float32) / np.float32(127.5) - np.float32(1)


def black_outside(image: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """Where a rotated or shifted picture has no picture: black that meets the edge.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)

    Returns
    -------
    bool array of shape (H, W) or None
        None if no black meets the edge.
    """
    black = cv2.inRange(image, (0, 0, 0), (_BLACK, _BLACK, _BLACK))
    frame = (black[0], black[-1], black[:, 0], black[:, -1])
    if not any(np.count_nonzero(line) > _BLACK_RIM for line in frame):
        return None
    _, labels = cv2.connectedComponents(black, connectivity=8)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    of_edge = np.unique(edge[edge > 0])
    outside = np.isin(labels, of_edge).astype(np.uint8)
    rim = np.ones((2 * _BLACK_RIM + 1, 2 * _BLACK_RIM + 1), np.uint8)
    return cv2.dilate(outside, rim).astype(bool)
