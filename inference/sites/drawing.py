"""The learning curve of an adaptation as a drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.drawing import HEIGHT, WIDTH, Scale


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean recall over the classes, at the site and at home, by number of cells.

    ``rows`` are those of `inference.ml.learning_curve`; the rest are places in the drawing.
    """

    rows: Sequence[dict[str, Any]]
    site: str
    site_band: str
    home: str
    across: list[tuple[float, int]]
    up: list[tuple[float, str]]
    width: float = WIDTH
    height: float = HEIGHT


def curve_of(rows: Sequence[dict[str, Any]]) -> Curve:
    """The drawing of a learning curve of one row at least."""
    sizes = [row["cells"] for row in rows]
    lowest = min(row[name]["mean"] - (row[name]["spread"] or 0) for row in rows for name in SIDES)
    floor = max(0.0, int(10 * lowest) / 10)
    scale = Scale((0, max(sizes)), (floor, 1.0))
    ticks = [floor + (1 - floor) * step / 2 for step in range(3)]
    return Curve(
        rows=rows,
        site=scale.points([(row["cells"], row["site"]["mean"]) for row in rows]),
        site_band=scale.area([(row["cells"], *_band(row["site"])) for row in rows]),
        home=scale.points([(row["cells"], row["home"]["mean"]) for row in rows]),
        across=[(scale.x(size), size) for size in sizes],
        up=[(scale.y(tick), f"{100 * tick:.0f} %") for tick in ticks],
    )


SIDES = ("site", "home")


def _band(figure: dict[str, Any]) -> tuple[float, float]:
    spread = figure["spread"] or 0
    return figure["mean"] - spread, figure["mean"] + spread
