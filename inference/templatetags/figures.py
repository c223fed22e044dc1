"""A model's measured figures in words."""

from typing import Any

from django import template

from inference.cells import cell_class

register = template.Library()


@register.filter
def with_interval(figure: dict[str, Any]) -> str:
    """The value and its 95 % interval, as in "88.1 % (84.0-91.7)"."""
    low, high = figure["interval"]
    if figure["value"] is None:
        return "–"
    if low is None:
        return f"{100 * figure['value']:.1f} %"
    return f"{100 * figure['value']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


@register.filter
def as_percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


@register.filter
def class_name(label: str) -> str:
    return cell_class(label).name
