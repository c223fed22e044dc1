"""Bring a field's stain to a common one, by its own red cells and nuclei.

Laboratories differ in stain, lamp and camera, and a network learns those along with the
cells. Every field carries two references of its own: red cells, which take eosin, and
nuclei, which take azure. Optical densities add up where stains overlap (Lambert and
Beer), so one linear map of the three channels' densities takes both references to
common ones. Macenko's method takes the two stains from the extremes of the field's
colours instead; ``docs/model/experiments.md`` compares.

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

Mixing = NDArray[np.float32]
"""Matrix (3, 3) from the densities of red, green and blue of a field to the common ones."""

# Densities (natural logarithm; red, green, blue): between those of the two training sets.
_RED_CELL = np.array([0.17, 0.28, 0.19])
_NUCLEUS = np.array([0.60, 1.00, 0.20])

_SIDE = 320  # the picture is measured on a copy with this longest side
_DARKEST = 6  # grey values under this are noise: their density would be enormous
_STAINED = 0.88  # of the field's green: what is darker is a cell
_BLACK = 60  # and what is darker than this is no red cell
_RIM = 15  # pixels round a nucleus that are its cytoplasm, not red cells
_FEWEST_RED = 150
_FEWEST_NUCLEUS = 80
_WORST_CONDITION = 60.0  # of the two references: alike in colour, they tell nothing


def stain_mixing(image: NDArray[np.uint8], background: NDArray[np.float32]) -> Mixing | None:
    """The map of densities that gives this field's stain the common look.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
    background : float32 array of shape (3,)
        Colour of its empty field.

    Returns
    -------
    float32 array of shape (3, 3) or None
        None where red cells or nuclei are missing or have the same colour: such a
        field keeps the stain that it has.
    """
    small = reduced(image, _SIDE)
    smooth = cv2.GaussianBlur(small, (3, 3), 0).astype(np.uint8, copy=False)
    nuclei = nucleus_mask(smooth, background)
    near_nucleus = cv2.dilate(nuclei, np.ones((_RIM, _RIM), np.uint8))
    green = smooth[..., 1]
    red_cells = (green < _STAINED * background[1]) & (green > _BLACK) & (near_nucleus == 0)
    if np.count_nonzero(red_cells) < _FEWEST_RED or np.count_nonzero(nuclei) < _FEWEST_NUCLEUS:
        return None
    seen = _basis(
        _typical_density(small[red_cells], background),
        _typical_density(small[nuclei > 0], background),
    )
    if np.linalg.cond(seen) > _WORST_CONDITION:
        return None
    return (_basis(_RED_CELL, _NUCLEUS) @ np.linalg.inv(seen)).astype(np.float32)


def restained(
    image: NDArray[np.uint8], mixing: Mixing, background: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Give a picture or a crop the look that a mixing stands for.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
    mixing : float32 array of shape (3, 3)
    background : float32 array of shape (3,)
        Colour of the empty field, which stays.

    Returns
    -------
    uint8 array of shape (H, W, 3)
    """
    levels = np.maximum(np.arange(256, dtype=np.float32), _DARKEST)[:, None]
    table = np.log(levels / background).astype(np.float32)
    lightness = cv2.transform(cv2.LUT(image, table[None]), mixing)
    return np.clip(background * cv2.exp(lightness), 0, 255).astype(np.uint8)


def _typical_density(
    pixels: NDArray[np.uint8], background: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Of pixels (N, 3): the density of their median colour."""
    median = np.maximum(np.median(pixels, axis=0), _DARKEST)
    return np.asarray(-np.log(median / background), np.float64)


def _basis(red_cell: NDArray[np.float64], nucleus: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two references as columns, and a third across both for what is neither."""
    across = np.cross(red_cell, nucleus)
    across *= 0.5 / (np.linalg.norm(across) + 1e-9)
    return np.column_stack([red_cell, nucleus, across])
