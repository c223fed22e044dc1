"""Show where the model looked: cover a crop patch by patch and see what it costs.

The last feature map of a crop of 128 pixels has 4 x 4 places, so the class activation
map is a blob. Covering 8 x 8 overlapping patches takes 64 runs of the network, needs
nothing but the served network and points better; ``bench/heat_map.py`` compares, and
``docs/model/README.md`` has the figures.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.engine import Engine

GRID = 8
MAP_VIEWS = 1
"""Of a map: it takes 65 runs, and eight views of each would take seconds."""

_PATCH_CELLS = 3.0  # side of a patch in cells of the grid: neighbours overlap
_FLAT = 1e-6


def heat_map(engine: Engine, crop: NDArray[np.uint8], class_index: int) -> NDArray[np.float32]:
    """How much each place of a crop speaks for a class.

    The map is that of the crop as it lies, one view, while the model's answer averages
    over its card's ``views``: it shows where the network looks, not each view's share.

    Parameters
    ----------
    engine : Engine
    crop : uint8 array of shape (S, S, 3)
        From `crop_cell`.
    class_index : int
        Position in the bundle's classes.

    Returns
    -------
    float32 array of shape (S, S)
        From 0, where covering harms the class least, to 1, where it harms it most.
        All 1 if every place counts the same; never all 0.

    Raises
    ------
    ValueError
        If there is no such class or the crop has another shape or type.
    """
    classes = len(engine.bundle.classes)
    if not 0 <= class_index < classes:
        raise ValueError(f"There is no class {class_index}; the model has {classes}.")
    # Covering is compared within the view, so nothing is lost but some smoothness.
    covered = covered_crops(crop, engine.bundle.card.preprocessing.background)
    logits, _ = engine.run(covered, views=MAP_VIEWS)
    margins = class_margin(logits, class_index)
    drops = (margins[0] - margins[1:]).reshape(GRID, GRID)
    return spread(drops, crop.shape[0])


def covered_crops(crop: NDArray[np.uint8], background: int) -> NDArray[np.uint8]:
    """A crop as it is, and with each patch of the grid covered by background.

    Returns
    -------
    uint8 array of shape (1 + GRID * GRID, S, S, 3)
        The patches row by row. Their rims are soft: a sharp square is something
        that the network has never seen, and it answers to its edges.
    """
    size = crop.shape[0]
    centres = (np.arange(GRID) + 0.5) * size / GRID
    reach = _PATCH_CELLS * size / GRID / 2
    distance = np.abs(np.arange(size)[None] + 0.5 - centres[:, None])
    soft = np.clip((reach - distance) / (0.25 * reach) + 0.5, 0, 1).astype(np.float32)
    masks = (soft[:, None, :, None] * soft[None, :, None, :]).reshape(-1, size, size, 1)
    covered = crop[None] + masks * (np.float32(background) - crop[None])
    return np.concatenate([crop[None], np.rint(covered).astype(np.uint8)])


def class_margin(logits: NDArray[np.float32], class_index: int) -> NDArray[np.float32]:
    """Log odds (N,) of a class against all others, from logits (N, C).

    Unlike the probability they do not saturate, so that a cell of which the model is
    certain has a heat map as well.
    """
    others = np.delete(logits, class_index, axis=1)
    top = others.max(axis=1)
    return logits[:, class_index] - top - np.log(np.exp(others - top[:, None]).sum(axis=1))


def spread(values: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """Scale a coarse map (g, g) to 0 to 1 and enlarge it smoothly to (size, size)."""
    values = np.asarray(values, np.float32)
    smooth = cv2.resize(values, (size, size), interpolation=cv2.INTER_CUBIC)
    low, high = float(smooth.min()), float(smooth.max())
    if not high - low > _FLAT:
        return np.ones((size, size), np.float32)
    return ((smooth - low) / (high - low)).astype(np.float32, copy=False)


def overlay(crop: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture of the heat to lay over a crop, clear where the model did not look.

    Parameters
    ----------
    crop : uint8 array of shape (S, S, 3)
    heat : float32 array of shape (S, S)
        In 0 to 1.

    Returns
    -------
    uint8 array of shape (S, S, 4)
        RGBA. The colours run from dark to light, so they read without colour vision.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    if heat.shape != crop.shape[:2]:
        raise ValueError(f"The heat map {heat.shape} does not fit the crop {crop.shape[:2]}.")
    levels = np.rint(np.clip(heat, 0, 1) * 255).astype(np.uint8)
    colours = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)
    opacity = np.rint(levels * 0.65).astype(np.uint8)
    return np.dstack([colours, opacity]).astype(np.uint8, copy=False)
