"""Plots of a dataset as SVG. Needs matplotlib: the training side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from inference.ml.datasets.explore import Exploration
from inference.ml.datasets.facts import BINS
from inference.ml.svg import ACCENT, INK, LINE, SERIES, SOFT, STYLES, WASH, percent, svg

_MOST_LINES = 9  # distributions in one plot; of more classes the largest are drawn
_BAR = 0.34  # inches for each class
_MOST_BARS = 40


def plots(exploration: Exploration) -> dict[str, str]:
    """SVG text by name; it takes its colours from the page around it (``var(--accent)`` ...).

    Returns
    -------
    dict
        ``pictures`` (of each class, train and test apart), ``photographs`` (where known),
        ``intensities`` (distribution of each class), ``brightness`` (median and 90 % of each
        class), ``colours`` (average of each class, as it is), ``sizes``.
    """
    classes = exploration["classes"]
    drawn = {
        "pictures": _bars(classes, "pictures", "pictures"),
        "intensities": _intensities(classes),
        "brightness": _brightness(classes),
        "colours": _colours(classes),
        "sizes": _sizes(exploration["sizes"]["rows"]),
    }
    if exploration["photographs"] is not None:
        drawn["photographs"] = _bars(classes, "photographs", "source photographs")
    return drawn


def _bars(classes: Sequence[dict[str, Any]], key: str, what: str) -> str:
    rows = classes[:_MOST_BARS]
    apart = key == "pictures" and all(any(row[part] for row in rows) for part in ("train", "test"))

    def draw(axes: Axes) -> None:
        counts = [row[key] or 0 for row in rows]
        axes.barh(range(len(rows)), counts, color=ACCENT, alpha=0.75)
        if apart:
            test = [row["test"] for row in rows]
            left = [row[key] - row["test"] for row in rows]
            axes.barh(range(len(rows)), test, left=left, color=SOFT, hatch="//", edgecolor=WASH)
            axes.legend(
                handles=[
                    Patch(facecolor=ACCENT, alpha=0.75, label="train"),
                    Patch(facecolor=SOFT, hatch="//", edgecolor=WASH, label="test"),
                ],
                fontsize=9,
                ncols=2,
                loc="lower right",
                bbox_to_anchor=(1, 1),  # above the bars, which fill the width
            )
        for at, count in enumerate(counts):
            axes.annotate(
                f"{count:,}",
                (count, at),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                color=SOFT,
                fontsize=9,
            )
        axes.set(xlabel=what, xlim=(0, 1.12 * max([*counts, 1])))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        _name_rows(axes, [row["label"] for row in rows])

    return svg(draw, f"dataset-{key}", size=_tall(len(rows)))


def _intensities(classes: Sequence[dict[str, Any]]) -> str:
    rows = sorted(classes, key=lambda row: -row["pictures"])[:_MOST_LINES]
    middles = (np.arange(BINS) + 0.5) * 256 / BINS

    def draw(axes: Axes) -> None:
        for number, row in enumerate(rows):
            axes.plot(
                middles,
                row["histogram"],
                color=SERIES[number % len(SERIES)],
                linestyle=STYLES[number % len(STYLES)],
                label=row["label"],
            )
        axes.set(xlabel="grey value", ylabel="of pixels", xlim=(0, 255), ylim=(0, None))
        axes.legend(loc="upper left", fontsize=9)
        percent(axes, "y")

    return svg(draw, "dataset-intensities")


def _brightness(classes: Sequence[dict[str, Any]]) -> str:
    rows = classes[:_MOST_BARS]

    def draw(axes: Axes) -> None:
        for at, row in enumerate(rows):
            told = row["intensity"]
            axes.plot([told["low"], told["high"]], [at, at], color=ACCENT, alpha=0.35, linewidth=6)
            axes.plot(told["median"], at, "o", color=INK, markersize=5)
        axes.set(xlabel="mean grey value of a picture", xlim=(0, 255))
        _name_rows(axes, [row["label"] for row in rows])

    return svg(draw, "dataset-brightness", size=_tall(len(rows)))


def _colours(classes: Sequence[dict[str, Any]]) -> str:
    rows = classes[:_MOST_BARS]

    def draw(axes: Axes) -> None:
        for at, row in enumerate(rows):
            red, green, blue = (level / 255 for level in row["rgb"])
            axes.barh(at, 1, color=(red, green, blue), edgecolor=LINE)
        axes.set(xlim=(0, 1), xticks=[])
        axes.grid(visible=False)
        _name_rows(axes, [row["label"] for row in rows])

    return svg(draw, "dataset-colours", size=_tall(len(rows)))


def _sizes(rows: Sequence[dict[str, Any]]) -> str:
    def draw(axes: Axes) -> None:
        most = max(row["pictures"] for row in rows)
        widths, heights = zip(*(map(int, row["size"].split("×")) for row in rows), strict=True)
        areas = [30 + 370 * row["pictures"] / most for row in rows]
        axes.scatter(widths, heights, s=areas, color=ACCENT, alpha=0.5)
        axes.set(xlabel="width, pixels", ylabel="height, pixels")
        axes.set(xlim=(0, 1.15 * max(widths)), ylim=(0, 1.15 * max(heights)))

    return svg(draw, "dataset-sizes")


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")


def _tall(rows: int) -> tuple[float, float]:
    return 5.0, max(1.6, 0.9 + _BAR * rows)
