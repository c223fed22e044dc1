"""How much a site gains from so many labelled cells, before it adapts a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.ml.adapt import Settings, divide, widened
from inference.ml.bundle import Bundle
from inference.ml.last_layer import fit_to_site, fit_with_replay
from inference.ml.sidecar import VALIDATION, Head, TrainingFeatures

SIZES = (0, 20, 50, 100, 200)
"""Numbers of cells of the learning curve."""


def learning_curve(
    bundle: Bundle,
    cells: TrainingFeatures,
    *,
    classes: int,
    sizes: Sequence[int] = SIZES,
    draws: int = 5,
    held_out: float = 0.5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """How accuracy on a site's unseen photographs, and at home, grows with labelled cells.

    Parameters
    ----------
    bundle : Bundle
    cells : TrainingFeatures
        Of the site.
    classes : int
        How many there are, the bundle's first.
    sizes : sequence of int
        Numbers of cells; those that the site does not have are left out.
    draws : int
        Of photographs to hold out and of cells to learn from. The cells of a smaller size
        are among those of a larger one.
    held_out : float
        Share of the photographs.
    seed : int
        Of the first draw; by its cells the penalty is chosen, for all sizes.

    Returns
    -------
    list of dict
        For each size ``cells``, and ``site`` and ``home`` (its validation side): mean
        and standard deviation over the draws of the macro recall.
    """
    home = TrainingFeatures.load(bundle.features_path)
    old = Head.load(bundle.head_path)
    choice: dict[str, Any] = {}
    figures: dict[int, list[tuple[float, float]]] = {}
    for draw in range(draws):
        told = Settings(bundle.path, (), bundle.path, held_out=held_out, seed=seed + draw)
        order, rest = divide(cells, told)
        unseen = cells.where(rest)
        for size in [size for size in sizes if size <= len(order)]:
            if size and not choice:
                largest = cells.where(order[: max(sizes)])
                fit = fit_to_site(home, largest, old, classes=classes, seed=seed)
                choice = {"strength": fit.strength, "prior": old if fit.from_old else None}
            head = widened(old, classes)
            if size:
                some = cells.where(order[:size])
                head = fit_with_replay(home, some, classes=classes, **choice)
            recalls = [macro_recall(head, one) for one in (unseen, home.of_side(VALIDATION))]
            figures.setdefault(size, []).append((recalls[0], recalls[1]))
    return [
        {
            "cells": size,
            **{
                name: {"mean": float(np.mean(values)), "spread": float(np.std(values))}
                for name, values in zip(("site", "home"), zip(*rows, strict=True), strict=True)
            },
        }
        for size, rows in figures.items()
    ]


def macro_recall(head: Head, cells: TrainingFeatures) -> float:
    """Mean over the classes that occur of the share that is answered rightly."""
    right = head.logits(cells.features.astype(np.float32)).argmax(axis=1) == cells.labels
    return float(np.mean([right[cells.labels == one].mean() for one in np.unique(cells.labels)]))
