"""Cheap augmentation of crops: one warp and one table of grey values for each."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

WIDER = 1.25
"""Training crops are cut this much wider, so that a warp finds pixels at its rim."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How strongly training crops vary; 0 switches a kind of variation off.

    Attributes
    ----------
    colour : float
        Brightness, gamma and shifts between the channels: lamps and cameras.
    stain : float
        Mixing of the three optical densities: another stain, another camera's filters.
        Hue carries the eosinophil, so more is not always better.
    focus : float
        Chance of a blur or of a loss of resolution: focus and magnification.
    """

    colour: float = 1.5
    stain: float = 1.0
    focus: float = 0.5

    def __post_init__(self) -> None:
        if min(self.colour, self.stain, self.focus) < 0 or self.focus > 1:
            raise ValueError("Augmentation must not be negative, and focus is 1 at most.")


def augment(
    crops: NDArray[np.uint8],
    size: int,
    background: int,
    rng: np.random.Generator,
    how: Augmentation | None = None,
) -> NDArray[np.uint8]:
    """A random variant of each crop.

    A cell has no up and no left, so every rotation and reflection is as likely as
    any other. Zoom and shift stand for boxes that sit a little off, a cut for cells at
    the edge of a picture; the rest is `Augmentation`.

    Parameters
    ----------
    crops : uint8 array of shape (N, L, L, 3)
        `WIDER` times as wide as what comes back.
    size : int
        Side S of the result.
    background : int
        Grey value of what lies outside a picture.
    rng : numpy Generator
    how : Augmentation, optional

    Returns
    -------
    uint8 array of shape (N, S, S, 3)
    """
    how = how or Augmentation()
    return np.stack([_variant(crop, size, background, rng, how) for crop in crops])


def centre(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The middle of each crop of shape (N, L, L, 3), as (N, S, S, 3)."""
    start = (crops.shape[1] - size) // 2
    return crops[:, start : start + size, start : start + size]


def _variant(
    crop: NDArray[np.uint8],
    size: int,
    background: int,
    rng: np.random.Generator,
    how: Augmentation,
) -> NDArray[np.uint8]:
    if rng.random() < 0.2:
        crop = crop.copy()
        crop[: int(rng.uniform(0.15, 0.45) * len(crop))] = background
    moved: NDArray[np.uint8] = cv2.warpAffine(
        crop,
        _random_warp(crop.shape[0], size, rng),
        (size, size),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    ).astype(np.uint8, copy=False)
    if rng.random() < how.focus:
        moved = _unsharp(moved, rng)
    if how.stain:
        moved = _restained(moved, background, rng, how.stain)
    return cv2.LUT(moved, _random_table(rng, how.colour)).astype(np.uint8, copy=False)


def _unsharp(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Out of focus, or taken with fewer pixels: half of each."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(crop, (0, 0), rng.uniform(0.4, 2.2)).astype(np.uint8, copy=False)
    size = len(crop)
    coarse = max(8, round(size * rng.uniform(0.25, 0.8)))
    small = cv2.resize(crop, (coarse, coarse), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR).astype(
        np.uint8, copy=False
    )


def _restained(
    crop: NDArray[np.uint8], background: int, rng: np.random.Generator, strength: float
) -> NDArray[np.uint8]:
    """Scale and mix the optical densities of the channels: the empty field stays as it is."""
    depth = np.exp(strength * rng.uniform(-0.5, 0.5))
    mixing = depth * np.diag(np.exp(strength * rng.normal(0, 0.15, 3)))
    mixing += strength * rng.normal(0, 0.08, (3, 3)) * (1 - np.eye(3))
    table = np.log(np.maximum(np.arange(256, dtype=np.float32), 4) / background)
    density = cv2.transform(table[crop], mixing.astype(np.float32))
    return np.clip(background * np.exp(density), 0, 255).astype(np.uint8)


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


def _random_table(rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Grey values (1, 256, 3) for brightness, gamma and shifts between the channels."""
    levels = np.linspace(0, 1, 256)[:, None]
    gamma = np.exp(strength * (rng.uniform(-0.2, 0.2) + rng.uniform(-0.07, 0.07, 3)))
    gain = np.exp(strength * (rng.uniform(-0.08, 0.06) + rng.uniform(-0.03, 0.03, 3)))
    return np.clip(np.rint(255 * gain * levels**gamma), 0, 255).astype(np.uint8)[None]
