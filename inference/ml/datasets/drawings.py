"""Plots of a dataset as SVG. Needs matplotlib: the training side."""

from __future__ import annotations

from inference.ml.datasets.explore import Exploration


def plots(exploration: Exploration) -> dict[str, str]:
    """SVG text by name; it takes its colours from the page around it (``var(--accent)`` ...).

    Names: ``classes``, ``photographs`` (if known), ``intensities``, ``colours``, ``sizes``.
    """
    raise NotImplementedError
