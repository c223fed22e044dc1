"""The exploratory analysis as one page that needs nothing else. Needs matplotlib and Jinja2."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from inference.ml import page
from inference.ml.datasets.drawings import plots
from inference.ml.datasets.explore import Exploration
from inference.ml.datasets.kinds import KINDS

_SHOWN = 30  # rows of each list of files; report.json has more
_MOST_BYTES = 20_000  # of a thumbnail: the page must stay one that can be sent


def render(
    exploration: Exploration,
    thumbnails: Mapping[str, bytes],
    *,
    title: str,
    drawn: Mapping[str, str] | None = None,
) -> str:
    """The page.

    Parameters
    ----------
    exploration : dict
        From `summarise`.
    thumbnails : mapping from SHA-256 to JPEG bytes
        Of the pictures in ``exploration["samples"]``; what is missing or large is not shown.
    title : str
        Name and version of the dataset.
    drawn : mapping, optional
        What `plots` gave, if it was called before.
    """
    images = {
        sha: "data:image/jpeg;base64," + base64.b64encode(data).decode()
        for sha, data in thumbnails.items()
        if len(data) <= _MOST_BYTES
    }
    drawings = drawn if drawn is not None else plots(exploration)
    return (
        page.environment()
        .get_template("dataset.html.j2")
        .render(
            data=exploration,
            files=exploration["files"],
            images=images,
            plots={name: Markup(text) for name, text in drawings.items()},  # noqa: S704  our drawing
            kinds=KINDS,
            most=_SHOWN,
            title=title,
        )
    )


def write(
    exploration: Exploration, thumbnails: Mapping[str, bytes], *, title: str, out: Path
) -> None:
    """Write ``report.html``, ``report.json`` and each plot as ``<name>.svg`` into a folder."""
    drawn = plots(exploration)
    page = render(exploration, thumbnails, title=title, drawn=drawn)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in drawn.items():
        (out / f"{name}.svg").write_text(text, encoding="utf-8")
    told = json.dumps(exploration, indent=1, ensure_ascii=False)
    (out / "report.json").write_text(told, encoding="utf-8")
    (out / "report.html").write_text(page, encoding="utf-8")
