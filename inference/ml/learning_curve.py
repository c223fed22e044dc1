"""How much a site gains from so many labelled cells, before it adapts a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inference.ml.adapt import Report, Settings, divide, thinned, widened
from inference.ml.bundle import Bundle
from inference.ml.last_layer import choose, fit_with_replay
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
    report: Report = lambda *_: None,
) -> list[dict[str, Any]]:
    """How accuracy on a site's unseen photographs, and at home, grows with labelled cells.

    Each model is made as `adapt.adapt` would make it of these cells alone; penalty and prior,
    too, are chosen by no others. With the features of a whole training this takes minutes.

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
        Of the first draw.
    report : callable
        Told how many of how many models are fitted.

    Returns
    -------
    list of dict
        For each size ``cells``, and ``site`` and ``home`` (its validation side): mean
        and standard deviation (n - 1; not a number for one draw) over the draws of the
        macro recall.
    """
    home = TrainingFeatures.load(bundle.features_path)
    old = Head.load(bundle.head_path)
    figures: dict[int, list[tuple[float, float]]] = {}
    for draw in range(draws):
        told = Settings(bundle.path, bundle.path, held_out=held_out, seed=seed + draw)
        order, rest = divide(cells, told)
        unseen = cells.where(rest)
        possible = [size for size in sizes if size <= len(order)]
        for place, size in enumerate(possible):
            report(draw * len(possible) + place, draws * len(possible))
            head = widened(old, classes)
            if size:
                kept, some = thinned(home, cells.where(order[:size]))
                choice = choose(kept, some, old, classes=classes, seed=seed + draw)
                head = fit_with_replay(
                    kept, some, classes=classes, strength=choice.strength, prior=choice.prior
                ).head
            recalls = [macro_recall(head, one) for one in (unseen, home.of_side(VALIDATION))]
            figures.setdefault(size, []).append((recalls[0], recalls[1]))
    return [
        {
            "cells": size,
            **{
                name: {
                    "mean": float(np.mean(values)),
                    "spread": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
                }
                for name, values in zip(("site", "home"), zip(*rows, strict=True), strict=True)
            },
        }
        for size, rows in figures.items()
    ]


def macro_recall(head: Head, cells: TrainingFeatures) -> float:
    """Mean over the classes that occur of the share that is answered rightly."""
    right = head.logits(cells.features.astype(np.float32)).argmax(axis=1) == cells.labels
    return float(np.mean([right[cells.labels == one].mean() for one in np.unique(cells.labels)]))
