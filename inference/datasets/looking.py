"""What the page of a version shows, read from what its job has saved: no picture is opened."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from inference.cells import in_order
from inference.ml.datasets.kinds import KINDS
from inference.models import DatasetImage, DatasetVersion

MANIFEST_NAME = "manifest.jsonl"
REPORT_NAME = "report.html"
FIGURES_NAME = "report.json"

PAIRS_SHOWN = 24
GROUPS_SHOWN = 12
OUTLIERS_SHOWN = 12  # of each kind
SAMPLES_SHOWN = 8  # of each class
PLOTS = {
    "pictures": "Pictures of each class",
    "photographs": "Source photographs of each class",
    "intensities": "Grey values of the pixels",
    "brightness": "Brightness of the pictures: median, and 90 % of each class",
    "colours": "Mean colour of each class, as it is",
    "sizes": "Sizes of the pictures",
}


@dataclass(frozen=True)
class Pair:
    """Two pictures of one cell."""

    pictures: list[DatasetImage]
    identical: bool


@dataclass(frozen=True)
class Outliers:
    """Pictures that differ from the others of their class in one way, the farthest first."""

    title: str
    count: int
    pictures: list[tuple[DatasetImage, str]]


class Look:
    """The saved figures of a version, with rows in place of the positions that they name."""

    def __init__(self, version: DatasetVersion, figures: dict[str, Any]) -> None:
        self.version = version
        self.figures = figures

    @property
    def plots(self) -> list[tuple[str, str]]:
        """Caption and SVG of each plot."""
        found = ((text, self.version.folder / f"{name}.svg") for name, text in PLOTS.items())
        return [(text, path.read_text()) for text, path in found if path.exists()]

    @property
    def samples(self) -> list[tuple[str, list[DatasetImage]]]:
        """Each class with some of its pictures."""
        samples = self.figures["samples"]
        return [
            (label, self._pictures(samples[label][:SAMPLES_SHOWN])) for label in in_order(samples)
        ]

    @property
    def two_labels(self) -> list[Pair]:
        return self._pairs("two_labels")

    @property
    def across(self) -> list[Pair]:
        """Pairs of train and test."""
        return self._pairs("across")

    @property
    def identical(self) -> list[list[DatasetImage]]:
        return self._groups("identical")

    @property
    def near(self) -> list[list[DatasetImage]]:
        return self._groups("near")

    @property
    def outliers(self) -> list[Outliers]:
        """Every kind of which there are any, each picture with its reason."""
        return [
            Outliers(
                title,
                found["count"],
                [(self._pictures([row["at"]])[0], row["reason"]) for row in self._outliers(kind)],
            )
            for kind, title in KINDS.items()
            if (found := self.figures["outliers"][kind])["count"]
        ]

    def _outliers(self, kind: str) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = self.figures["outliers"][kind]["shown"]
        return shown[:OUTLIERS_SHOWN]

    def _pairs(self, kind: str) -> list[Pair]:
        shown = self.figures["duplicates"][kind]["shown"][:PAIRS_SHOWN]
        return [Pair(self._pictures(row["pair"]), row["identical"]) for row in shown]

    def _groups(self, kind: str) -> list[list[DatasetImage]]:
        shown = self.figures["duplicates"][kind]["shown"][:GROUPS_SHOWN]
        return [self._pictures(positions) for positions in shown]

    def _pictures(self, positions: Iterable[int]) -> list[DatasetImage]:
        return [self._rows[self._keys[position]] for position in positions]

    @cached_property
    def _keys(self) -> list[int]:
        """The key of each picture's row, by its position in the figures."""
        return list(self.version.images.order_by("pk").values_list("pk", flat=True))

    @cached_property
    def _rows(self) -> dict[int, DatasetImage]:
        """The rows that the page names, in one query."""
        duplicates = self.figures["duplicates"]
        positions = {at for shown in self.figures["samples"].values() for at in shown}
        for kind in ("two_labels", "across"):
            shown = duplicates[kind]["shown"][:PAIRS_SHOWN]
            positions |= {at for row in shown for at in row["pair"]}
        for kind in ("identical", "near"):
            positions |= {at for row in duplicates[kind]["shown"][:GROUPS_SHOWN] for at in row}
        positions |= {row["at"] for kind in KINDS for row in self._outliers(kind)}
        keys = [self._keys[at] for at in positions]
        rows = DatasetImage.objects.defer("facts").filter(pk__in=keys)
        return {row.pk: row for row in rows}


def look_at(version: DatasetVersion) -> Look | None:
    """None where the saved figures are no longer there."""
    try:
        figures = json.loads((version.folder / FIGURES_NAME).read_bytes())
    except OSError:
        return None
    return Look(version, figures)
