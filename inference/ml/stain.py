"""Bring a cell's stain to a common one, by the field's red cells and its own nucleus.

Laboratories differ in stain, lamp and camera, and a network learns those along with the
cells. Every picture carries two references of its own: red cells, which take eosin, and
nuclei, which take azure. Optical densities add up where stains overlap (Lambert and
Beer), so one linear map of the three channels' densities takes both references to
common ones. Macenko's method takes the two stains from the extremes of the field's
colours instead; ``docs/model/experiments.md`` compares.

The nucleus is the cell's own, not the field's: the same cell must look the same whatever
lies beside it. What is lost is how dark its chromatin is as a whole; that differs more
between laboratories than between kinds of cells.

References
----------
Ruifrok, Johnston: Quantification of histochemical staining by color deconvolution.
Anal. Quant. Cytol. Histol. 23 (2001) 291-299. Macenko et al.: A method for normalizing
histology slides for quantitative analysis. ISBI 2009, 1107-1110.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.finder import nucleus_mask, reduced

Density = NDArray[np.float64]
"""Optical densities (3,) of red, green and blue: natural logarithm of field over pixel."""

# Between those of the two training sets.
_RED_CELL = np.array([0.17, 0.28, 0.19])
_NUCLEUS = np.array([0.60, 1.00, 0.20])

_SIDE = 320  # red cells are measured on a copy of the picture with this longest side
_DARKEST = 6  # grey values under this are noise: their density would be enormous
_STAINED = 0.88  # of the field's green: what is darker is a cell
_BLACK = 60  # and what is darker than this is no red cell
_CYTOPLASM = 0.5  # of a nucleus' box on each side of it: not red cells either
_FEWEST_RED = 0.005  # of the picture
_FEWEST_NUCLEUS = 0.03  # of the cell's box
_WORST_CONDITION = 60.0  # of the two references: alike in colour, they tell nothing


def red_cell_density(image: NDArray[np.uint8], background: NDArray[np.float32]) -> Density | None:
    """Typical density of a picture's red cells.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
    background : float32 array of shape (3,)
        Colour of its empty field.

    Returns
    -------
    float64 array of shape (3,) or None
        None if hardly any are to be seen.
    """
    small = reduced(image, _SIDE)
    smooth = cv2.GaussianBlur(small, (3, 3), 0).astype(np.uint8, copy=False)
    green = smooth[..., 1]
    red_cells = (green < _STAINED * background[1]) & (green > _BLACK)
    _, _, boxes, _ = cv2.connectedComponentsWithStats(nucleus_mask(smooth, background))
    for left, top, width, height, _ in boxes[1:]:
        across, down = round(_CYTOPLASM * width), round(_CYTOPLASM * height)
        rows = slice(max(0, top - down), top + height + down)
        red_cells[rows, max(0, left - across) : left + width + across] = False
    if np.count_nonzero(red_cells) < _FEWEST_RED * red_cells.size:
        return None
    return _typical(small[red_cells], background)


def restained_cell(
    crop: NDArray[np.uint8], box: slice, red_cell: Density, background: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """A crop with the common look; as it is if its box holds hardly any nucleus.

    Parameters
    ----------
    crop : uint8 array of shape (S, S, 3)
    box : slice
        Rows, and columns, of the crop that the cell's box takes up.
    red_cell : float64 array of shape (3,)
        From `red_cell_density`.
    background : float32 array of shape (3,)
        Colour of the empty field, which stays.

    Returns
    -------
    uint8 array of shape (S, S, 3)
    """
    cell = np.ascontiguousarray(crop[box, box])
    smooth = cv2.GaussianBlur(cell, (3, 3), 0).astype(np.uint8, copy=False)
    nucleus = nucleus_mask(smooth, background) > 0
    if np.count_nonzero(nucleus) < _FEWEST_NUCLEUS * nucleus.size:
        return crop
    seen = _basis(red_cell, _typical(cell[nucleus], background))
    if np.linalg.cond(seen) > _WORST_CONDITION:
        return crop
    mixing = _basis(_RED_CELL, _NUCLEUS) @ np.linalg.inv(seen)
    levels = np.maximum(np.arange(256, dtype=np.float32), _DARKEST)[:, None]
    table = np.log(levels / background).astype(np.float32)
    lightness = cv2.transform(cv2.LUT(crop, table[None]), mixing.astype(np.float32))
    return np.clip(background * cv2.exp(lightness), 0, 255).astype(np.uint8)


def _typical(pixels: NDArray[np.uint8], background: NDArray[np.float32]) -> Density:
    """Density of the median colour of pixels (N, 3)."""
    median = np.maximum(np.median(pixels, axis=0), _DARKEST)
    return np.asarray(-np.log(median / background), np.float64)


def _basis(red_cell: Density, nucleus: Density) -> NDArray[np.float64]:
    """The two references as columns, and a third across both for what is neither."""
    across = np.cross(red_cell, nucleus)
    across *= 0.5 / (np.linalg.norm(across) + 1e-9)
    return np.column_stack([red_cell, nucleus, across])
