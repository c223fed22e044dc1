"""Small line drawings for pages: figures put into a box of SVG units, drawn by a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 320.0, 120.0


@dataclass(frozen=True, slots=True)
class Scale:
    """From figures to places in the box; the largest value is at the top."""

    across: tuple[float, float]
    up: tuple[float, float]

    def x(self, value: float) -> float:
        return _place(value, self.across, WIDTH)

    def y(self, value: float) -> float:
        return round(HEIGHT - _place(value, self.up, HEIGHT), 1)

    def points(self, pairs: Sequence[tuple[float, float]]) -> str:
        """For a polyline."""
        return " ".join(f"{self.x(x)},{self.y(y)}" for x, y in pairs)

    def area(self, rows: Sequence[tuple[float, float, float]]) -> str:
        """For a polygon between a lower and an upper value at each place."""
        return self.points([(x, low) for x, low, _ in rows] + [(x, h) for x, _, h in rows[::-1]])


def _place(value: float, bounds: tuple[float, float], size: float) -> float:
    low, high = bounds
    share = (value - low) / (high - low) if high > low else 0.5
    return round(size * min(1.0, max(0.0, share)), 1)
