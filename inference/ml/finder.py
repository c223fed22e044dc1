"""Find the white blood cells of a stained smear with classical image processing.

Nuclei of white cells are the only large things in a Romanowsky-stained smear that
absorb red and green light but let blue light pass. Measured as optical density
against the field's own background, ``red + green - 2 * blue`` is therefore high on
a nucleus, low on red cells, and zero on anything grey, such as the black corners
that a rotated picture has. The steps: that score, a threshold by Otsu's method,
closing to join and opening to clean, connected components, lobes whose boxes meet
joined into one cell, and a smallest size measured in red cells of the same picture.

Sizes are relative to the nuclei in the picture, so the magnification is free.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

FINDER_VERSION = "classical-1"

SMALLEST_CELL = 0.5
"""Smallest nucleus of a white cell (or erythroblast), in areas of a red cell."""
SMALLEST_PLATELET = 0.05
"""The same, when platelets are wanted too: single-platelet pictures in training."""

# A picture is searched on a copy with this longest side, and on copies twice as
# large as long as the largest nucleus measures less than `_CLEAR_NUCLEUS` across.
_FIRST_SIDE = 320
_LAST_SIDE = 2560
_CLEAR_NUCLEUS = 14.0

_BLACK = 30  # green of a missing corner of a rotated picture, blurred
_DENSITY_FLOOR = 12  # grey values under this are noise and JPEG ringing
_SCORE_SCALE = 100.0  # score 1.0 is stored as 100 in eight bits
_THRESHOLD_SHARE = 0.6  # of Otsu's threshold: pale rims of the nucleus belong to it
_THRESHOLD_RANGE = (35.0, 100.0)  # what a stain can be like; under it is no nucleus
_CLOSING = 0.12  # radius over the square root of the largest area
_OPENING = 0.10
_LOBE_SHARE = 0.5  # a piece this much smaller than a cell may still be a lobe
_LONGEST_PAIR = 1.8  # sides of the box of joined lobes; longer are two cells
_SMALL_BESIDE_LARGE = 0.25  # a nucleus is no smaller than this beside the largest,
_SMALL_AT_EDGE = 0.4  # and one cut off by the picture's edge is of no use below this
_PICTURE_SHARE = 0.002  # smallest area over the picture's where there are no red cells
_PEAK_QUANTILE = 0.25  # of the half widths of what is stained, weighted by area
_MARGIN = 0.1  # of the nucleus box, for the cytoplasm around it


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the picture, inside it."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class FoundCell:
    """A white cell: the box around it and the area of its nucleus in pixels."""

    box: Box
    touches_border: bool
    area: int


@dataclass(slots=True)
class _Piece:
    """A connected piece of nucleus: corners (right and bottom exclusive) and area."""

    left: int
    top: int
    right: int
    bottom: int
    area: float

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def meets(self, other: _Piece) -> bool:
        return min(self.right, other.right) > max(self.left, other.left) and min(
            self.bottom, other.bottom
        ) > max(self.top, other.top)

    def joined(self, other: _Piece) -> _Piece:
        return _Piece(
            min(self.left, other.left),
            min(self.top, other.top),
            max(self.right, other.right),
            max(self.bottom, other.bottom),
            self.area + other.area,
        )


def find_cells(image: NDArray[np.uint8], *, smallest: float = SMALLEST_CELL) -> list[FoundCell]:
    """Find the white cells of a picture.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
        RGB, at least 16 x 16.
    smallest : float
        Smallest nucleus, in areas of a red cell. Training lowers it to
        `SMALLEST_PLATELET` for pictures that are labelled as platelets.

    Returns
    -------
    list of FoundCell
        The main cell first: large, near the middle and not cut off.

    Raises
    ------
    ValueError
        If the image is no RGB picture of eight bits or is too small.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError("The finder takes an RGB picture: uint8, (height, width, 3).")
    height, width = image.shape[:2]
    if min(height, width) < 16:
        raise ValueError(f"The picture is {width}x{height} pixels; the finder needs 16x16.")

    side = _FIRST_SIDE
    while True:
        small = reduced(image, side)
        pieces = _nuclei(small, smallest)
        largest = max((piece.area for piece in pieces), default=0.0)
        if math.sqrt(largest) >= _CLEAR_NUCLEUS or side >= min(max(height, width), _LAST_SIDE):
            break
        side *= 2

    ratio = width / small.shape[1], height / small.shape[0]
    cells = [_to_cell(piece, ratio, (height, width)) for piece in pieces]
    return sorted(cells, key=lambda cell: _prominence(cell, height, width), reverse=True)


def background_colour(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colour of the empty field between the cells.

    The median of the brighter quarter (by green, which every stained thing absorbs)
    of all pixels that are not black.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)

    Returns
    -------
    float32 array of shape (3,)
        RGB in 60 to 255; white where the picture is black.
    """
    step = max(1, min(image.shape[:2]) // 64)
    pixels = image[::step, ::step].reshape(-1, 3)
    lit = pixels[pixels.max(axis=1) > 40]
    if len(lit) < 16:
        return np.full(3, 255, np.float32)
    green = lit[:, 1]
    bright = lit[green >= np.percentile(green, 75)]
    return np.maximum(np.median(bright, axis=0), 60).astype(np.float32)


def nucleus_score(image: NDArray[np.uint8], background: NDArray[np.float32]) -> NDArray[np.uint8]:
    """How much each pixel looks like the nucleus of a white cell.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
    background : float32 array of shape (3,)

    Returns
    -------
    uint8 array of shape (H, W)
        Optical density, red + green - 2 * blue, times 100; negative ones are 0.
    """
    levels = np.maximum(np.arange(256, dtype=np.float32), _DENSITY_FLOOR)
    density = np.log(background / levels[:, None]).clip(0)
    weighted = (density * np.array([1, 1, -2], np.float32) * _SCORE_SCALE).astype(np.float32)
    red, green, blue = cv2.split(cv2.LUT(image, weighted[None]))
    return np.clip(red + green + blue, 0, 255).astype(np.uint8)


def nucleus_mask(image: NDArray[np.uint8], background: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Where the picture is stained as nuclei are, by Otsu's method within a stain's limits.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
        A slightly smoothed copy of the picture.
    background : float32 array of shape (3,)

    Returns
    -------
    uint8 array of shape (H, W)
        0 or 1, with specks and gaps.
    """
    score = cv2.blur(nucleus_score(image, background), (3, 3))
    otsu, _ = cv2.threshold(score, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    threshold = np.clip(otsu * _THRESHOLD_SHARE, *_THRESHOLD_RANGE)
    return (score > threshold).astype(np.uint8)


def red_cell_radius(
    green: NDArray[np.uint8],
    field: float,
    nuclei: NDArray[np.uint8],
    *,
    quantile: float = _PEAK_QUANTILE,
) -> float:
    """Radius of a typical red cell, whether it lies free, in a clump or at the edge.

    The distance of a stained pixel from the nearest clear one peaks in the middle of a
    red cell, near its radius. Of these peaks, weighted by area, a quantile is taken:
    dust weighs little, and where cells lie on each other some still show their own size.

    Parameters
    ----------
    green : uint8 array of shape (H, W)
    field : float
        Green of the background.
    nuclei : uint8 array of shape (H, W)
        Not 0 where a white cell's nucleus lies.
    quantile : float
        Of the peaks. Low ones are never too large, the median varies least between fields.

    Returns
    -------
    float
        In pixels; 0 if nothing but nuclei is stained.
    """
    stained = ((green < 0.88 * field) & (green > _BLACK) & (nuclei == 0)).astype(np.uint8)
    contours, tree = cv2.findContours(stained, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    for index, contour in enumerate(contours):
        is_hole = tree[0, index, 3] >= 0
        # The pale centre of a red cell is round; the field between touching cells is not.
        round_enough = 0.6 * cv2.arcLength(contour, True) ** 2
        if is_hole and 4 * math.pi * cv2.contourArea(contour) > round_enough:
            cv2.drawContours(stained, [contour], 0, 1, cv2.FILLED)
    distance = cv2.distanceTransform(stained, cv2.DIST_L2, 3)
    highest_around = cv2.dilate(distance, np.ones((9, 9), np.uint8))
    peaks = np.sort(distance[(distance >= highest_around) & (distance > 3)])
    if not len(peaks):
        return 0.0
    weight = np.cumsum(peaks**2)
    return float(peaks[np.searchsorted(weight, quantile * weight[-1])])


def reduced(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """A copy whose longest side is `side` pixels, or the picture itself if it is no larger."""
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _nuclei(image: NDArray[np.uint8], smallest: float) -> list[_Piece]:
    """Nuclei of a picture that has its working size."""
    smooth = cv2.GaussianBlur(image, (3, 3), 0).astype(np.uint8, copy=False)
    background = background_colour(image)
    mask = nucleus_mask(smooth, background)

    largest = max((piece.area for piece in _pieces(mask)), default=0.0)
    if not largest:
        return []
    pieces = _pieces(_cleaned(mask, math.sqrt(largest)))
    largest = max((piece.area for piece in pieces), default=0.0)

    radius = red_cell_radius(smooth[..., 1], float(background[1]), mask)
    least = smallest * math.pi * radius**2 if radius else _PICTURE_SHARE * mask.size
    least = max(least, _SMALL_BESIDE_LARGE * largest)
    joined = _lobes_joined([piece for piece in pieces if piece.area >= _LOBE_SHARE * least])

    height, width = mask.shape
    return [
        piece
        for piece in joined
        if piece.area >= least
        and (piece.area >= _SMALL_AT_EDGE * largest or not _at_edge(piece, height, width))
    ]


def _pieces(mask: NDArray[np.uint8]) -> list[_Piece]:
    _, _, rows, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return [
        _Piece(int(x), int(y), int(x + width), int(y + height), float(area))
        for x, y, width, height, area in rows[1:]
    ]


def _cleaned(mask: NDArray[np.uint8], size: float) -> NDArray[np.uint8]:
    """Close gaps and remove specks, both measured against a nucleus `size` across."""

    def disc(share: float) -> NDArray[np.uint8]:
        across = 2 * max(1, round(share * size)) + 1
        return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, across)).astype(np.uint8)

    # Closing must not grow the mask along the picture's edge, hence the frame.
    frame = 2 * round(_CLOSING * size) + 3
    framed = np.pad(mask, frame)
    closed = cv2.morphologyEx(framed, cv2.MORPH_CLOSE, disc(_CLOSING))
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, disc(_OPENING))
    return opened[frame:-frame, frame:-frame].astype(np.uint8)


def _lobes_joined(pieces: list[_Piece]) -> list[_Piece]:
    """Join pieces whose boxes meet, unless the result is too long for one cell."""
    cells: list[_Piece] = []
    for candidate in sorted(pieces, key=lambda piece: piece.area, reverse=True):
        cell = candidate
        while True:
            partner = next((other for other in cells if _one_cell(cell, other)), None)
            if partner is None:
                break
            cells.remove(partner)
            cell = cell.joined(partner)
        cells.append(cell)
    return cells


def _one_cell(first: _Piece, second: _Piece) -> bool:
    if not first.meets(second):
        return False
    both = first.joined(second)
    return max(both.width, both.height) <= _LONGEST_PAIR * min(both.width, both.height)


def _at_edge(piece: _Piece, height: int, width: int) -> bool:
    return piece.left <= 0 or piece.top <= 0 or piece.right >= width or piece.bottom >= height


def _to_cell(piece: _Piece, ratio: tuple[float, float], shape: tuple[int, int]) -> FoundCell:
    """Scale a piece to the whole picture and widen its box to the cell's outline."""
    height, width = shape
    across, down = ratio
    margin = _MARGIN * math.sqrt(piece.width * across * piece.height * down)
    left = max(0, math.floor(piece.left * across - margin))
    top = max(0, math.floor(piece.top * down - margin))
    right = min(width, math.ceil(piece.right * across + margin))
    bottom = min(height, math.ceil(piece.bottom * down + margin))
    return FoundCell(
        box=Box(left, top, right - left, bottom - top),
        touches_border=left == 0 or top == 0 or right == width or bottom == height,
        area=round(piece.area * across * down),
    )


def _prominence(cell: FoundCell, height: int, width: int) -> float:
    """Size, less for a cell far from the middle and for one that is cut off."""
    box = cell.box
    off_x = abs(box.x + box.width / 2 - width / 2) / (width / 2)
    off_y = abs(box.y + box.height / 2 - height / 2) / (height / 2)
    centrality = 1 - 0.7 * max(off_x, off_y)
    return math.sqrt(cell.area) * centrality * (0.7 if cell.touches_border else 1.0)
