"""Cheap augmentation of crops: one warp and one table of grey values for each."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

WIDER = 1.25
"""Training crops are cut this much wider, so that a warp finds pixels at its rim."""


def augment(
    crops: NDArray[np.uint8], size: int, background: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A random variant of each crop.

    A cell has no up and no left, so every rotation and reflection is as likely as
    any other. Zoom and shift stand for boxes that sit a little off, brightness, gamma
    and a slight shift between the channels for lamps, cameras and stains, blur for
    focus, a cut for cells at the edge of a picture. Hue carries the eosinophil, so
    colour changes little.

    Parameters
    ----------
    crops : uint8 array of shape (N, L, L, 3)
        `WIDER` times as wide as what comes back.
    size : int
        Side S of the result.
    background : int
        Grey value of what lies outside a picture.
    rng : numpy Generator

    Returns
    -------
    uint8 array of shape (N, S, S, 3)
    """
    return np.stack([_variant(crop, size, background, rng) for crop in crops])


def centre(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle of each crop of shape (N, L, L, 3), as (N, S, S, 3)."""
    start = (crops.shape[1] - size) // 2
    return crops[:, start : start + size, start : start + size]


def _variant(
    crop: NDArray[np.uint8], size: int, background: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    if rng.random() < 0.2:
        crop = crop.copy()
        crop[: int(rng.uniform(0.15, 0.45) * len(crop))] = background
    moved = cv2.warpAffine(
        crop,
        _random_warp(crop.shape[0], size, rng),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    if rng.random() < 0.3:
        moved = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.4, 1.6))
    return cv2.LUT(moved, _random_table(rng)).astype(np.uint8, copy=False)


def _random_warp(wide: int, size: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Matrix (2, 3) from pixels of the result to pixels of the wide crop."""
    angle = rng.uniform(0, 2 * math.pi)
    zoom = math.exp(rng.uniform(-0.2, 0.2))
    turn = zoom * np.array(
        [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    )
    if rng.random() < 0.5:
        turn[:, 0] *= -1
    middle = np.full(2, (size - 1) / 2)
    target = (wide - 1) / 2 + rng.uniform(-0.06, 0.06, 2) * size
    return np.column_stack([turn, target - turn @ middle])


def _random_table(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Grey values (1, 256, 3) for brightness, gamma and a mild shift of stain."""
    levels = np.linspace(0, 1, 256)[:, None]
    gamma = math.exp(rng.uniform(-0.2, 0.2)) * np.exp(rng.uniform(-0.07, 0.07, 3))
    gain = rng.uniform(0.92, 1.06) * rng.uniform(0.97, 1.03, 3)
    return np.clip(np.rint(255 * gain * levels**gamma), 0, 255).astype(np.uint8)[None]
