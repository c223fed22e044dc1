"""The eight symmetries of the square, over which the network's answer can be averaged.

A smear has no up and no left: every flip of a cell is the same cell.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

VIEWS = (1, 2, 4, 8)
"""How many may be averaged: as it is, left-right flip, both flips, and all of them transposed."""

Number = TypeVar("Number", np.uint8, np.float32)


def view(pictures: NDArray[Number], index: int) -> NDArray[Number]:
    """One of the eight views, 0 to 7, of square pictures (..., S, S, channels); 0 is as it is."""
    if index & 4:
        pictures = pictures.swapaxes(-3, -2)
    if index & 2:
        pictures = pictures[..., ::-1, :, :]
    if index & 1:
        pictures = pictures[..., ::-1, :]
    return pictures


def view_back(maps: NDArray[Number], index: int) -> NDArray[Number]:
    """Turn maps (..., h, h, channels) of a view back, so that they lie over the picture."""
    if index & 1:
        maps = maps[..., ::-1, :]
    if index & 2:
        maps = maps[..., ::-1, :, :]
    if index & 4:
        maps = maps.swapaxes(-3, -2)
    return maps
