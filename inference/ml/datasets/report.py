"""The exploratory analysis as one page that needs nothing else. Needs matplotlib and Jinja2."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inference.ml.datasets.explore import Exploration


def render(exploration: Exploration, thumbnails: Mapping[str, bytes], *, title: str) -> str:
    """The page.

    Parameters
    ----------
    exploration : dict
        From `summarise`.
    thumbnails : mapping from SHA-256 to JPEG bytes
        Of the pictures in ``exploration["samples"]``; what is missing is not shown.
    title : str
        Name and version of the dataset.
    """
    raise NotImplementedError


def write(
    exploration: Exploration, thumbnails: Mapping[str, bytes], *, title: str, out: Path
) -> None:
    """Write ``report.html``, ``report.json`` and the plots as ``*.svg`` into a folder."""
    raise NotImplementedError
