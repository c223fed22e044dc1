"""What the page of a version shows, read from what its job has saved: no picture is opened."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from inference.models import DatasetVersion

MANIFEST_NAME = "manifest.jsonl"
REPORT_NAME = "report.html"
FIGURES_NAME = "report.json"


@dataclass(frozen=True)
class Look:
    """The figures of a version, its plots, and the rows of the pictures that they name."""

    figures: dict[str, Any]
    plots: dict[str, str]


def look_at(version: DatasetVersion) -> Look | None:
    """None where the saved report is no longer there."""
    try:
        figures = json.loads((version.folder / FIGURES_NAME).read_bytes())
        plots = {path.stem: path.read_text() for path in sorted(version.folder.glob("*.svg"))}
    except OSError:
        return None
    return Look(figures, plots)
