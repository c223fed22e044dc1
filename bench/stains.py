"""Ways to bring a field's stain to a common one, compared in ``bench/recipes.py``.

Each takes and gives a picture, uint8 (H, W, 3), whose background is white-balanced.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml import finder
from inference.ml.finder import background_colour, nucleus_mask

Image = NDArray[np.uint8]

# Densities (natural logarithm; red, green, blue) and Lab statistics between the two sets'.
RED_CELL = np.array([0.17, 0.28, 0.19])
NUCLEUS = np.array([0.60, 1.00, 0.20])
LAB = np.array([[210.0, 135.0, 122.0], [32.0, 10.0, 12.0]])


def unchanged(image: Image) -> Image:
    return image


def reinhard(image: Image) -> Image:
    """Mean and spread of each Lab channel (Reinhard et al., IEEE CG&A 21, 2001)."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    mean, spread = lab.mean(axis=(0, 1)), lab.std(axis=(0, 1)) + 1
    moved = (lab - mean) * np.clip(LAB[1] / spread, 0.5, 2) + LAB[0]
    whole = np.clip(moved, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(whole, cv2.COLOR_LAB2RGB), np.uint8)


def red_cells(image: Image) -> Image:
    """Each channel's density scaled so that red cells have a common colour."""
    seen = _anchors(image)
    if seen is None:
        return image
    gain = np.clip(RED_CELL / np.maximum(seen[0], 0.02), 0.5, 2)
    return _with_mixing(image, np.diag(gain))


def macenko(image: Image) -> Image:
    """Two stains by the extreme angles of the densities (Macenko et al., ISBI 2009)."""
    density = _density(image)[::3, ::3].reshape(-1, 3)
    stained = density[density.sum(axis=1) > 0.45]
    if len(stained) < 200:
        return image
    _, vectors = np.linalg.eigh(np.cov(stained.T))
    plane = vectors[:, [2, 1]]
    plane *= np.sign(plane.sum(axis=0) + 1e-9)
    along = stained @ plane
    angles = np.arctan2(along[:, 1], along[:, 0])
    ends = [plane @ [math.cos(a), math.sin(a)] for a in np.percentile(angles, [1, 99])]
    ends = sorted((np.abs(e) / np.linalg.norm(e) for e in ends), key=lambda e: float(e[0]))
    red, blue = ends  # eosin absorbs no red light, azure does
    amounts = np.linalg.lstsq(np.stack([red, blue]).T, stained.T, rcond=None)[0]
    top = np.maximum(np.percentile(amounts, 97, axis=1), 0.05)
    target = np.stack([RED_CELL / np.linalg.norm(RED_CELL) * 0.8, NUCLEUS])
    return _mapped(image, np.stack([red * top[0], blue * top[1]]), target)


NORMALISERS: dict[str, Callable[[Image], Image]] = {
    "reinhard": reinhard,
    "macenko": macenko,
    "red cells": red_cells,
}


def red_cell_radius(image: Image) -> float:
    """Radius of a typical red cell in pixels of the picture; 0 if none is seen."""
    small, mask, green, field = _masks(image)
    radius = finder.red_cell_radius(green, field, mask, quantile=0.5)
    return float(radius * image.shape[1] / small.shape[1])


def _masks(image: Image) -> tuple[Image, NDArray[np.uint8], NDArray[np.uint8], float]:
    small = finder.reduced(image, 320)
    smooth = cv2.GaussianBlur(small, (3, 3), 0).astype(np.uint8)
    background = background_colour(small)
    mask = nucleus_mask(smooth, background)
    return small, mask, smooth[..., 1], float(background[1])


def _density(image: Image) -> NDArray[np.float32]:
    background = background_colour(image)
    levels = np.maximum(np.arange(256, dtype=np.float32), 6)[:, None]
    table = -np.log(levels / background)
    return np.asarray(cv2.LUT(image, table[None].astype(np.float32)))


def _anchors(image: Image) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Median densities of red cells and of nuclei; None where one of them is missing."""
    small, mask, green, field = _masks(image)
    density = _density(small)
    red = (green < 0.88 * field) & (green > 60) & (cv2.dilate(mask, np.ones((15, 15))) == 0)
    if red.sum() < 150 or mask.sum() < 80:
        return None
    return np.median(density[red], axis=0), np.median(density[mask > 0], axis=0)


def _mapped(image: Image, seen: NDArray[np.float64], target: NDArray[np.float64]) -> Image:
    """The linear map of densities that takes the two seen to the two targets."""
    first = np.column_stack([seen[0], seen[1], _across(seen)])
    second = np.column_stack([target[0], target[1], _across(target)])
    if np.linalg.cond(first) > 60:
        return image
    return _with_mixing(image, second @ np.linalg.inv(first))


def _across(pair: NDArray[np.float64]) -> NDArray[np.float64]:
    normal = np.cross(pair[0], pair[1])
    return np.asarray(normal / (np.linalg.norm(normal) + 1e-9) * 0.5)


def _with_mixing(image: Image, mixing: NDArray[np.float64]) -> Image:
    mixed = cv2.transform(_density(image), mixing.astype(np.float32))
    return np.asarray(np.clip(background_colour(image) * cv2.exp(-mixed), 0, 255), np.uint8)
