"""Figures by week as small drawings and words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TypeVar

from django import template

from analyses.models import WatchAlert
from analyses.watching import Series, Week
from inference.cells import cell_class
from inference.drawing import HEIGHT, WIDTH, Scale

register = template.Library()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sparkline:
    """Weeks from left to right: lines between neighbours that have a figure, the band, dots."""

    lines: list[str]
    bands: list[str]
    dots: list[tuple[float, float, bool, Week]]
    up: list[tuple[float, str]]
    first: Week
    last: Week
    width: float = WIDTH
    height: float = HEIGHT


@register.filter
def sparkline(series: Series) -> Sparkline | None:
    """None where no week has enough cells for a figure."""
    weeks = series.shown
    values = [week.value for week in weeks if week.value is not None]
    if not values:
        return None
    limits = [limit for week in weeks if week.band for limit in week.band]
    if series.measure == WatchAlert.Measure.CONFIDENCE:
        bounds = int(10 * min(values + limits)) / 10, 1.0
    else:
        bounds = 0.0, min(1.0, max(0.1, *values, *limits) * 1.1)
    scale = Scale((0, max(len(weeks) - 1, 1)), bounds)
    places = list(enumerate(weeks))
    shown = [(x, week.value) if week.value is not None else None for x, week in places]
    banded = [(x, *week.band) if week.band else None for x, week in places]
    return Sparkline(
        lines=[scale.points(run) for run in _runs(shown)],
        bands=[scale.area(run) for run in _runs(banded)],
        dots=[
            (scale.x(x), scale.y(week.value), week.outside, week)
            for x, week in places
            if week.value is not None
        ],
        up=[(scale.y(bound), f"{100 * bound:.0f} %") for bound in bounds],
        first=weeks[0],
        last=weeks[-1],
    )


def _runs(places: list[T | None]) -> list[list[T]]:
    """The unbroken stretches of a list."""
    runs: list[list[T]] = [[]]
    for place in places:
        if place is None:
            runs.append([])
        else:
            runs[-1].append(place)
    return [run for run in runs if run]


@register.filter
def span(limits: tuple[float, float] | None) -> str:
    """ "2.1–7.9 %"."""
    return "–" if limits is None else f"{100 * limits[0]:.1f}–{100 * limits[1]:.1f} %"


@register.filter
def alert_words(alert: WatchAlert) -> str:
    """What left its band, in a sentence."""
    of_class = f" among cells called {cell_class(alert.label).name.lower()}" if alert.label else ""
    return (
        f"{alert.get_measure_display()}{of_class}: {100 * alert.value:.1f} % in the week of "
        f"{alert.week:%Y-%m-%d} ({alert.cells} cells); expected {span((alert.low, alert.high))}."
    )


@register.filter
def in_week(series: Series, start: date) -> Week | None:
    return next((week for week in series.weeks if week.start == start), None)
