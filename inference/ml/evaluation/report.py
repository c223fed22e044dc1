"""Write an evaluation as one page that needs nothing else: no script, no request."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from inference.ml import page
from inference.ml.evaluation import plots

_HOW = {
    "wilson": "Wilson's interval over photographs: few of them, or few errors",
    "combined": "combined from the intervals of the classes",
    "bootstrap": "bootstrap over photographs",
    "wider bootstrap": "the wider of plain and basic bootstrap over photographs",
    "agresti-min": "Agresti and Min's interval for paired shares",
    "none": "too little to give an interval",
}


def render(result: Mapping[str, Any], pictures: NDArray[np.uint8]) -> str:
    """The page.

    Parameters
    ----------
    result : mapping
        What `run.run` gives.
    pictures : uint8 array of shape (M, S, S, 3)
        Crops of the mistakes of all sets, in their order.
    """
    environment = page.environment()
    environment.filters |= {"pct": percent, "num": number, "points": points, "signed": signed}
    environment.globals |= {"plots": {name: _drawn(name) for name in _DRAWINGS}}
    images = iter([_jpeg(picture) for picture in pictures])
    galleries = [[next(images) for _ in one["mistakes"]] for one in result["sets"]]
    return environment.get_template("report.html.j2").render(
        result=result, galleries=galleries, crop=pictures.shape[1]
    )


def percent(figure: Mapping[str, Any]) -> Markup:
    """A share with its interval."""
    return _told(figure, lambda value: f"{100 * value:.1f}", " %")


def number(figure: Mapping[str, Any]) -> Markup:
    """A plain number with its interval."""
    return _told(figure, lambda value: f"{value:.3f}", "")


def signed(figure: Mapping[str, Any]) -> Markup:
    """A difference of shares in percentage points, with its interval."""
    return _told(figure, lambda value: f"{100 * value:+.1f}".replace("-", "−"), "")


def points(share: float | None) -> str:
    """A share without an interval."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _told(figure: Mapping[str, Any], write: Any, unit: str) -> Markup:
    if figure["value"] is None:
        return Markup("–")
    low, high = figure["interval"]
    interval = "no interval" if low is None else f"{write(low)}–{write(high)}"
    title = _HOW.get(figure.get("by", ""), "95 % interval")
    return Markup('<span class="figure">{}{} <small title="{}">{}</small></span>').format(
        write(figure["value"]), unit, title, interval
    )


_DRAWINGS = ("reliability", "risk_coverage", "class_curves", "deletion_insertion")


def _drawn(name: str) -> Any:
    draw = getattr(plots, name)
    return lambda *given: Markup(draw(*given))  # noqa: S704  our own drawing, of numbers


def _jpeg(picture: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
