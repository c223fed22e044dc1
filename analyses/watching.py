"""How the models in use fare, week by week and site by site, against a band of their own first
weeks. The rules stand in docs/watching.md."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from django.db.models import Avg, Count, F, Q, TextField
from django.db.models.functions import Cast, TruncWeek
from django.utils import timezone

from accounts.permissions import Permission, has_permission
from accounts.selectors import sites_for
from analyses.models import Cell, Prediction, WatchAlert
from analyses.selectors import flagged_as, with_flags_as_text
from inference.cells import UNFAMILIAR, cell_class, in_order
from inference.ml.evaluation.intervals import wilson
from inference.sites.selectors import standings_of

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from accounts.models import Site, User
    from inference.models import ModelVersion

WEEKS = 12
"""So many are shown."""

FEWEST = {"override": 20, "confidence": 50, "unfamiliar": 50}
"""Cells that a week needs before its figure is shown and judged, by measure."""

REFERENCE = {"override": 100, "confidence": 200, "unfamiliar": 200}
"""Cells of the first weeks that the band is made of, by measure."""

SIGMAS = 3.0

ONE_SIDED = frozenset({"override", "unfamiliar"})
"""Measures of which less is no alarm."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Cells of a week (or several) and the sums over them of a figure and its square."""

    cells: int = 0
    total: float = 0.0
    squares: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.cells + other.cells, self.total + other.total, self.squares + other.squares
        )

    @property
    def mean(self) -> float:
        return self.total / self.cells


def shares(cells: int, hits: int) -> Tally:
    """A share is a mean of ones and noughts."""
    return Tally(cells, hits, hits)


@dataclass(frozen=True, slots=True)
class Week:
    """A figure of one week: None where there are too few cells to show one.

    ``interval`` is that of a share (Wilson, 95 %); ``band`` is where the first weeks let it be
    expected, None for those weeks themselves.
    """

    start: date
    cells: int
    hits: int
    value: float | None
    interval: tuple[float, float] | None
    band: tuple[float, float] | None
    outside: bool


@dataclass(frozen=True, slots=True)
class Series:
    """A measure of one model at one site, of a class or of all ("")."""

    measure: WatchAlert.Measure
    label: str
    weeks: list[Week]
    all_time: Tally

    @property
    def name(self) -> str:
        return cell_class(self.label).name if self.label else str(self.measure.label)

    @property
    def shown(self) -> list[Week]:
        return self.weeks[-WEEKS:]

    @property
    def overall(self) -> float | None:
        enough = self.all_time.cells >= FEWEST[self.measure.value]
        return self.all_time.mean if enough else None

    @property
    def overall_interval(self) -> tuple[float, float]:
        return wilson(self.all_time.total, self.all_time.cells)


@dataclass(frozen=True, slots=True)
class Watched:
    """A site, the model that serves it, and its series."""

    site: Site
    model_version: ModelVersion
    override: Series
    classes: list[Series]
    confidence: Series
    unfamiliar: Series

    def __iter__(self) -> Iterator[Series]:
        yield from (self.override, *self.classes, self.confidence, self.unfamiliar)


def sites_watched_by(person: User) -> QuerySet[Site]:
    if not has_permission(person, Permission.WATCH_MODELS):
        return sites_for(person).none()
    return sites_for(person)


def alerts_for(person: User) -> QuerySet[WatchAlert]:
    """The alerts about this person's sites, the newest first."""
    return WatchAlert.objects.filter(site__in=sites_watched_by(person)).select_related(
        "site", "model_version", "acknowledged_by"
    )


def open_alerts_for(person: User) -> QuerySet[WatchAlert]:
    return alerts_for(person).filter(acknowledged_at=None)


def watch(sites: QuerySet[Site]) -> list[Watched]:
    """How the model that serves each site fares there; in a fixed number of queries."""
    answered, reviewed = _answered(sites), _reviewed(sites)
    told = []
    for standing in standings_of(sites):
        if standing.model_version is None:
            continue
        key = (standing.site.pk, standing.model_version.pk)
        by_class, by_week = reviewed.get(key, {}), answered.get(key, _Answered())
        together: dict[date, Tally] = defaultdict(Tally)
        for weeks in by_class.values():
            for week, tally in weeks.items():
                together[week] += tally
        told.append(
            Watched(
                standing.site,
                standing.model_version,
                override=_series(WatchAlert.Measure.OVERRIDE, "", together),
                classes=[
                    _series(WatchAlert.Measure.OVERRIDE, label, by_class[label])
                    for label in in_order(list(by_class))
                ],
                confidence=_series(WatchAlert.Measure.CONFIDENCE, "", by_week.confidence),
                unfamiliar=_series(WatchAlert.Measure.UNFAMILIAR, "", by_week.unfamiliar),
            )
        )
    return told


# --- Counting --------------------------------------------------------------------------------
Key = tuple[int, int]
"""Site and model version."""


@dataclass(slots=True)
class _Answered:
    confidence: dict[date, Tally] = field(default_factory=dict)
    unfamiliar: dict[date, Tally] = field(default_factory=dict)


def _answered(sites: QuerySet[Site]) -> dict[Key, _Answered]:
    """Every answer of a model to a patient's cell, by week."""
    said = Prediction.objects.filter(
        cell__sample_image__sample__site__in=sites,
        cell__sample_image__sample__is_synthetic=False,
    )
    rows = (
        with_flags_as_text(said)
        .annotate(week=TruncWeek("created_at"))
        .values_list("cell__sample_image__sample__site", "model_version", "week")
        .annotate(
            cells=Count("pk"),
            mean=Avg("confidence"),
            square=Avg(F("confidence") * F("confidence")),
            unfamiliar=Count("pk", filter=flagged_as(UNFAMILIAR)),
        )
        .order_by()
    )
    found: dict[Key, _Answered] = defaultdict(_Answered)
    for site, version, week, cells, mean, square, unfamiliar in rows:
        of_pair = found[site, version]
        of_pair.confidence[week.date()] = Tally(cells, cells * mean, cells * square)
        of_pair.unfamiliar[week.date()] = shares(cells, unfamiliar)
    return found


def _reviewed(sites: QuerySet[Site]) -> dict[Key, dict[str, dict[date, Tally]]]:
    """Cells whose newest review is of an answer of the model, by its class and week.

    One that was unfamiliar to the model had no answer to change, and that a cell is there twice
    is the finder's mistake.
    """
    cells = Cell.objects.filter(
        sample_image__sample__site__in=sites,
        sample_image__sample__is_synthetic=False,
        review__prediction__isnull=False,
    ).exclude(review__label="duplicate")
    said = cells.alias(flags_text=Cast("review__prediction__flags", TextField()))
    rows = (
        said.exclude(flagged_as(UNFAMILIAR))
        .annotate(week=TruncWeek("review__at"))
        .values_list(
            "sample_image__sample__site",
            "review__prediction__model_version",
            "review__prediction__label",
            "week",
        )
        .annotate(
            cells=Count("pk"),
            changed=Count("pk", filter=~Q(review__label=F("review__prediction__label"))),
        )
        .order_by()
    )
    found: dict[Key, dict[str, dict[date, Tally]]] = defaultdict(lambda: defaultdict(dict))
    for site, version, label, week, count, changed in rows:
        found[site, version][label][week.date()] = shares(count, changed)
    return found


# --- Judging ---------------------------------------------------------------------------------
def _series(measure: WatchAlert.Measure, label: str, weeks: dict[date, Tally]) -> Series:
    return Series(
        measure,
        label,
        [*judged(measure, weeks, until=_this_week())],
        sum(weeks.values(), Tally()),
    )


def _this_week() -> date:
    today = timezone.localdate()
    return today - timedelta(days=today.weekday())


def judged(
    measure: WatchAlert.Measure, tallies: dict[date, Tally], *, until: date
) -> Iterator[Week]:
    """Each week from the first one, against the band of the first ones."""
    if not tallies:
        return
    is_share = measure != WatchAlert.Measure.CONFIDENCE
    reference = Tally()
    week = min(tallies)
    while week <= until:
        tally = tallies.get(week, Tally())
        enough = tally.cells >= FEWEST[measure.value]
        band = None
        if reference.cells >= REFERENCE[measure.value]:
            band = band_of(reference, tally.cells, is_share=is_share) if tally.cells else None
        else:
            reference += tally
        value = tally.mean if enough else None
        yield Week(
            start=week,
            cells=tally.cells,
            hits=round(tally.total) if is_share else 0,
            value=value,
            interval=wilson(tally.total, tally.cells) if enough and is_share else None,
            band=band,
            outside=value is not None and band is not None and _is_outside(measure, value, band),
        )
        week += timedelta(days=7)


def band_of(reference: Tally, cells: int, *, is_share: bool) -> tuple[float, float]:
    """Where the mean of so many cells is expected, if nothing has changed since the reference.

    Three standard errors to either side (Shewhart's limits); the error of the reference itself
    counts, too. Those of a share are taken on the scale of its angle, where they do not depend on
    the share: around a small one the plain limits are left by chance ten times as often as
    around a large one.

    References:
        Anscombe: The transformation of Poisson, binomial and negative-binomial data.
        Biometrika 35 (1948) 246-254.
    """
    if is_share:
        return _band_of_share(reference, cells)
    mean = reference.mean
    variance = max(reference.squares / reference.cells - mean * mean, 0.0)
    reach = SIGMAS * math.sqrt(variance * (1 / cells + 1 / reference.cells))
    return max(0.0, mean - reach), min(1.0, mean + reach)


def _band_of_share(reference: Tally, cells: int) -> tuple[float, float]:
    middle = math.asin(math.sqrt((reference.total + 3 / 8) / (reference.cells + 3 / 4)))
    reach = SIGMAS * math.sqrt(1 / (4 * cells + 2) + 1 / (4 * reference.cells + 2))
    angles = max(0.0, middle - reach), min(math.pi / 2, middle + reach)
    low, high = ((math.sin(angle) ** 2 * (cells + 3 / 4) - 3 / 8) / cells for angle in angles)
    return max(0.0, low), min(1.0, high)


def _is_outside(measure: WatchAlert.Measure, value: float, band: tuple[float, float]) -> bool:
    low, high = band
    return value > high or (value < low and measure.value not in ONE_SIDED)


def outside(watched: Iterable[Watched]) -> list[tuple[Watched, Series, Week]]:
    """Series whose newest judged week, of this week and the last, lies outside its band."""
    recent = _this_week() - timedelta(days=7)
    found = []
    for one in watched:
        for series in one:
            judged_weeks: Sequence[Week] = [
                week
                for week in series.weeks
                if week.start >= recent and week.value is not None and week.band
            ]
            if judged_weeks and judged_weeks[-1].outside:
                found.append((one, series, judged_weeks[-1]))
    return found
