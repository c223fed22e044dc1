"""What is measured of each picture of a dataset, in the one pass that decodes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.data import PLATELET
from inference.ml.datasets.look import look_of
from inference.ml.finder import (
    SMALLEST_CELL,
    SMALLEST_PLATELET,
    background_colour,
    find_cells,
    nucleus_mask,
    red_cell_radius,
    reduced,
)
from inference.ml.preprocess import black_outside

BINS = 32
_SIDE = 320  # of the copy that sharpness is measured on
_SMALL = 160  # and of the one for colours and red cells
_CUT_OFF = 0.04  # of a side: less is no corner that was cut off
_STRAIGHT = 0.06  # of a cut's width, which its middle may lie beside the line
_RIM = 6  # pixels at a cut's end, where black was widened against the smear of JPEG
_ROUND = 0.15  # of their size, by which four corners of a round field may differ
_GREY = 2.0  # levels between red and blue
_FEWEST = 30  # pixels of which a median is taken
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # from RGB to grey, as OpenCV does
_STAINED, _BLACK = 0.88, 60  # of the field's green, as in `inference.ml.stain`


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """A picture in figures.

    Attributes
    ----------
    width, height : int
        Pixels, upright.
    grey : bool
        Whether it has no colour.
    intensity : float
        Mean grey value, 0 to 255; black outside of a turned picture does not count.
    rgb, lab : tuple of 3 floats
        Mean colour likewise, 0 to 255 and CIE L*a*b*.
    histogram : tuple of 32 ints
        Grey values likewise, in shares of 1/10,000.
    black : float
        Share of the pixels along the border that are black.
    corners : int
        Corners that a straight black edge cuts off, as turning leaves them: 0 to 4.
    sharpness : float
        Standard deviation of the Laplacian on a copy of at most 320 pixels.
    red_cell : float
        Radius of a typical red cell in pixels; 0 where none is seen.
    cells : int
        White cells that the finder found.
    box : tuple of 4 ints or None
        x, y, width and height of the main one.
    at_border : bool
        Whether that one is cut off by the picture's edge.
    look : str
        See `look.look_of`; "" where there is nothing to see.
    palette : tuple of 9 ints
        Median colours of empty field, red cells and nuclei, RGB; 0 for what is not there.
    """

    width: int
    height: int
    grey: bool
    intensity: float
    rgb: tuple[float, float, float]
    lab: tuple[float, float, float]
    histogram: tuple[int, ...]
    black: float
    corners: int
    sharpness: float
    red_cell: float
    cells: int
    box: tuple[int, int, int, int] | None
    at_border: bool
    look: str
    palette: tuple[int, ...]

    @property
    def size(self) -> str:
        return f"{self.width}×{self.height}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> PictureFacts:
        """The facts that `to_dict` wrote, through JSON or not."""
        lists = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
        return cls(**{**row, **lists})


def measure(image: NDArray[np.uint8], label: str = "") -> PictureFacts:
    """Measure a picture.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
        RGB, at least 16 x 16.
    label : str
        A picture that is labelled as a platelet is searched for smaller things, as in training.

    Raises
    ------
    ValueError
        If the image is no such picture.
    """
    cells = find_cells(image, smallest=SMALLEST_PLATELET if label == PLATELET else SMALLEST_CELL)
    copy = reduced(image, _SIDE)
    small = reduced(copy, _SMALL)
    field = background_colour(small)
    outside = black_outside(copy)
    shape = small.shape[1], small.shape[0]
    black = np.zeros(small.shape[:2], bool)
    if outside is not None and not outside.all():
        black = cv2.resize(outside.astype(np.uint8), shape).astype(bool)
    lit = (~black).astype(np.uint8)
    colour = np.array(cv2.mean(small, lit)[:3], np.float32)
    levels = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)
    counts = cv2.calcHist([levels], [0], lit, [BINS], [0, 256]).ravel() / lit.sum()
    nuclei = nucleus_mask(small, field)
    radius = red_cell_radius(np.ascontiguousarray(small[..., 1]), float(field[1]), nuclei)
    filled = levels.copy()
    filled[black] = round(float(field @ _LUMA))
    edge = np.concatenate([black[0], black[-1], black[:, 0], black[:, -1]])
    box = cells[0].box if cells else None
    return PictureFacts(
        width=image.shape[1],
        height=image.shape[0],
        grey=cv2.norm(small[..., 0], small[..., 2], cv2.NORM_L1) < _GREY * levels.size,
        intensity=round(cv2.mean(levels, lit)[0], 2),
        rgb=_three(colour),
        lab=_three(cv2.cvtColor(colour[None, None] / 255, cv2.COLOR_RGB2LAB)[0, 0]),
        histogram=tuple(np.rint(10_000 * counts).astype(int).tolist()),
        black=round(float(edge.mean()), 4),
        corners=0 if outside is None else _cut_corners(outside),
        sharpness=round(_sharpness(copy, outside), 3),
        red_cell=round(radius * image.shape[1] / small.shape[1], 1),
        cells=len(cells),
        box=None if box is None else (box.x, box.y, box.width, box.height),
        at_border=bool(cells) and cells[0].touches_border,
        look=look_of(image, cells, field, filled),
        palette=_palette(small, black, nuclei > 0, field),
    )


def _three(values: NDArray[np.floating]) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 2) for value in values)
    return first, second, third


def _sharpness(copy: NDArray[np.uint8], outside: NDArray[np.bool_] | None) -> float:
    edges = cv2.Laplacian(copy[..., 1], cv2.CV_16S)
    inside = edges if outside is None or outside.all() else edges[~outside]
    return float(inside.std())


def _cut_corners(black: NDArray[np.bool_]) -> int:
    """Corners that a straight line cuts off, as turning by some degrees does.

    A round field leaves four black corners, too: all of one size, and curved.
    """
    height, width = black.shape
    sizes = []
    straight = 0
    for corner in (black, black[::-1], black[:, ::-1], black[::-1, ::-1]):
        across = width if corner[0].all() else int(np.argmin(corner[0]))
        down = height if corner[:, 0].all() else int(np.argmin(corner[:, 0]))
        if across < _CUT_OFF * width or down < _CUT_OFF * height or black.all():
            continue
        box = corner[:down, :across]
        box = box if down >= across else box.T
        runs = np.where(box.all(axis=1), box.shape[1], np.argmin(box, axis=1))
        runs = runs[: -_RIM if len(runs) > 3 * _RIM else None]
        beside = runs[len(runs) // 2] - (runs[0] + runs[-1]) / 2
        straight += bool(abs(beside) <= _STRAIGHT * max(1, runs[0] - runs[-1]))
        sizes.append((across, down))
    is_round = len(sizes) == 4 and (np.ptp(sizes, axis=0) < _ROUND * np.max(sizes, axis=0)).all()
    return 0 if is_round else straight


def _palette(
    small: NDArray[np.uint8],
    black: NDArray[np.bool_],
    nuclei: NDArray[np.bool_],
    field: NDArray[np.float32],
) -> tuple[int, ...]:
    green = small[..., 1]
    red = (green < _STAINED * field[1]) & (green > _BLACK) & ~nuclei & ~black
    colours = field.tolist()
    for where in (red, nuclei):
        enough = np.count_nonzero(where) >= _FEWEST
        colours += np.median(small[where], axis=0).tolist() if enough else (0, 0, 0)
    return tuple(round(level) for level in colours)
