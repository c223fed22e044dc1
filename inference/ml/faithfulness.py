"""Measure heat maps: does what they point at matter to the model, and is it the cell?

Deletion covers the hottest pixels first and follows the class's probability: a map that
points at what matters makes it fall fast, so a small area under the curve is good.
Insertion uncovers the hottest first on a covered crop: a large area is good. Read both
beside the two references. A random map is what a map must beat. A blob in the middle is
hard to beat, since the crop is centred on the cell: the test rewards covering the whole
cell, while a heat map says which part of it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.engine import Engine
from inference.ml.evaluation.intervals import Photographs
from inference.ml.explain import MAP_VIEWS, heat_map, spread
from inference.ml.finder import Box

SHARES = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0])
"""Shares of the pixels that are covered or uncovered: closer where the map is hottest."""

Cover = Literal["field", "blur"]
_HOTTEST = 90  # percentile: the hottest tenth
_RANDOM_GRID = 8


def faithfulness(
    engine: Engine,
    crops: NDArray[np.uint8],
    labels: NDArray[np.integer],
    boxes: Sequence[Box],
    groups: Sequence[str],
    *,
    seed: int,
    at_most: int = 100,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Deletion, insertion and share in the cell of the heat maps of held-back crops.

    Only crops that the model names rightly are judged: where it does not see the class,
    there is nothing to delete. They are drawn evenly over photographs. What covers is a
    heavy blur; the heat map itself covers with the empty field's colour, which would
    make its own test easy.

    Parameters
    ----------
    engine : Engine
    crops : uint8 array of shape (N, S, S, 3)
        Of cells that the model was not trained on.
    labels : integer array of shape (N,)
        Positions in the bundle's classes.
    boxes : sequence of Box
        Round each cell, in pixels of its crop: see `preprocess.box_in_crop`.
    groups : sequence of str
        Source photograph of each crop.
    seed, resamples : int
        Of the choice of crops, the random maps and the bootstrap over photographs.
    at_most : int
        Crops that are judged; each takes 65 runs of the network for its heat map, and 55
        answers of as many runs as the model has views: 120 with one view, 285 with four.

    Returns
    -------
    dict
        Ready for JSON: ``cells`` and ``photographs`` that were judged, ``shares`` of the
        pixels, over how many ``views`` the map and the answers average, the mean share of
        the crop that the box takes, and ``maps`` with figures
        for the ``heat map``, a ``random`` one and one of the ``middle``: ``deletion``
        and ``insertion`` with the mean probability at each share (``curve``) and the
        ``area`` under it, ``mass_in_box`` and ``hottest_in_box`` (of the map's hottest
        tenth), each with its 95 % ``interval`` as in `evaluation.intervals`.

    Raises
    ------
    ValueError
        If the model names none of the crops rightly.

    References
    ----------
    Petsiuk, Das, Saenko: RISE: randomized input sampling for explanation of black-box
    models. BMVC 2018.
    """
    rng = np.random.default_rng(seed)
    right = engine.probabilities(crops).argmax(axis=1) == labels
    chosen = spread_over(groups, np.flatnonzero(right), rng)[:at_most]
    if not len(chosen):
        raise ValueError("The model names none of these crops rightly: no heat map to judge.")
    size = crops.shape[1]
    maps: dict[str, Callable[[int], NDArray[np.float32]]] = {
        "heat map": lambda at: heat_map(engine, crops[at], int(labels[at])),
        "random": lambda _: random_map(size, rng),
        "middle": lambda _: middle_map(size),
    }
    photographs = Photographs([groups[at] for at in chosen], seed=seed, resamples=resamples)

    def figure(values: Sequence[float]) -> dict[str, Any]:
        ones = photographs.sums(np.ones(len(chosen)))
        return photographs.share(photographs.sums(np.asarray(values)), ones)

    def judged(method: Callable[[int], NDArray[np.float32]]) -> dict[str, Any]:
        heats = [method(at) for at in chosen]
        told: dict[str, Any] = {}
        curves = np.array(
            [
                deletion_insertion(engine, crops[at], int(labels[at]), heat, cover="blur")
                for at, heat in zip(chosen, heats, strict=True)
            ]
        )
        for position, name in enumerate(("deletion", "insertion")):
            told[name] = {
                "curve": [round(float(mean), 4) for mean in curves[:, position].mean(axis=0)],
                "area": figure(np.trapezoid(curves[:, position], SHARES).tolist()),
            }
        inside = [boxes[at] for at in chosen]
        pairs = list(zip(heats, inside, strict=True))
        told["mass_in_box"] = figure([mass_in_box(heat, box) for heat, box in pairs])
        told["hottest_in_box"] = figure([hottest_in_box(heat, box) for heat, box in pairs])
        return told

    even = np.ones((size, size), np.float32)
    return {
        "cells": len(chosen),
        "photographs": len(photographs),
        "shares": SHARES.tolist(),
        "views": {"map": MAP_VIEWS, "answers": engine.bundle.card.network["views"]},
        "box_share": round(float(np.mean([mass_in_box(even, boxes[at]) for at in chosen])), 4),
        "maps": {name: judged(method) for name, method in maps.items()},
    }


def deletion_insertion(
    engine: Engine,
    crop: NDArray[np.uint8],
    class_index: int,
    heat: NDArray[np.float32],
    *,
    cover: Cover,
) -> NDArray[np.float32]:
    """A class's probability while the hottest pixels are covered, and uncovered, first.

    Parameters
    ----------
    crop : uint8 array of shape (S, S, 3)
    class_index : int
    heat : float32 array of shape (S, S)
    cover : str
        ``field``, the empty field's colour, or ``blur``, a heavy one.

    Returns
    -------
    float32 array of shape (2, len(SHARES))
    """
    if cover == "field":
        covered = np.full_like(crop, engine.bundle.card.preprocessing.background)
    else:
        covered = cv2.GaussianBlur(crop, (0, 0), len(crop) / 8).astype(np.uint8, copy=False)
    order = np.argsort(-heat, axis=None, kind="stable")
    rank = np.empty(order.size)
    rank[order] = np.arange(order.size) / order.size
    hot = rank.reshape(*heat.shape, 1) < SHARES[:, None, None, None]
    stages = [np.where(hot, covered, crop), np.where(hot, crop, covered)]
    return np.stack([engine.probabilities(stage)[:, class_index] for stage in stages])


def mass_in_box(heat: NDArray[np.float32], box: Box) -> float:
    """Share of a map (S, S) that lies in a box."""
    inside = heat[box.y : box.y + box.height, box.x : box.x + box.width]
    return float(inside.sum() / heat.sum())


def hottest_in_box(heat: NDArray[np.float32], box: Box) -> float:
    """Share of the hottest tenth of a map (S, S) that lies in a box."""
    return mass_in_box((heat >= np.percentile(heat, _HOTTEST)).astype(np.float32), box)


def random_map(size: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A map (S, S) that knows nothing, as coarse as the heat map."""
    return spread(rng.random((_RANDOM_GRID, _RANDOM_GRID)), size)


def middle_map(size: int) -> NDArray[np.float32]:
    """A map (S, S) of a blob in the middle, whatever the cell."""
    line = np.exp(-(np.linspace(-2, 2, size) ** 2) / 2)
    return spread(np.outer(line, line), size)


def spread_over(
    groups: Sequence[str], candidates: NDArray[np.integer], rng: np.random.Generator
) -> list[int]:
    """The candidates in random order, but one of every group before a second of any."""
    seen: dict[str, int] = {}
    ranked = []
    for at in rng.permutation(candidates).tolist():
        seen[groups[at]] = seen.get(groups[at], 0) + 1
        ranked.append((seen[groups[at]], at))
    return [at for _, at in sorted(ranked, key=lambda pair: pair[0])]
