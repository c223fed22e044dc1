"""Is a model fit for use at a site? The rules of docs/first-day.md, applied to figures of a site's
own cells (`inference.ml.evaluation.local`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.db.models import TextChoices

from inference.cells import cell_class

FEWEST_CELLS = 20
"""Counted once for each photograph and class."""

ACCURACY = 0.85
"""Of cells that are not flagged: the whole interval has to lie above."""

RECALL = 0.7
"""Of each class of which there are `CELLS_OF_CLASS` cells: not fit if the whole interval lies
below, fit if it is reached."""

CELLS_OF_CLASS = 5
CLASSES = 2
"""So many classes need `CELLS_OF_CLASS` cells."""

CALIBRATION_ERROR = 0.1
"""The whole interval must not lie above."""

SHARE_BELIEVED = 0.5
"""Of cells that are not flagged, in the same way: a model that passes on more than half is of
little use."""


class Verdict(TextChoices):
    FIT = "fit", "Fit for use here"
    NOT_FIT = "not_fit", "Not fit for use here"
    UNKNOWN = "unknown", "Too few cells to say"


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule: whether it is met (None: the cells do not say), and a sentence."""

    met: bool | None
    sentence: str


def judge(figures: dict[str, Any]) -> dict[str, Any]:
    """``verdict``, ``findings`` (a rule each) and ``advice``, ready for JSON.

    Not fit if a rule is broken; fit if every rule is met; else the cells do not say.
    """
    findings = [*_findings(figures)]
    if any(finding.met is False for finding in findings):
        verdict = Verdict.NOT_FIT
    elif all(finding.met for finding in findings):
        verdict = Verdict.FIT
    else:
        verdict = Verdict.UNKNOWN
    return {
        "verdict": verdict.value,
        "findings": [asdict(finding) for finding in findings],
        "advice": ADVICE[verdict],
    }


ADVICE = {
    Verdict.FIT: (
        "You can accept it for this site. Go on looking at what it flags; the page “Watch” tells "
        "when it begins to fare otherwise."
    ),
    Verdict.NOT_FIT: (
        "Do not rely on its answers here: have people review every cell. Adapt it to this site's "
        "cells below; if that does not help, check stain, focus and light of the pictures, and "
        "that the labels are right."
    ),
    Verdict.UNKNOWN: (
        "Give more cells, of more smears and of every class that you report, and measure again. "
        "Until then have people review every cell."
    ),
}


def _findings(figures: dict[str, Any]) -> Iterator[Finding]:
    yield _enough(figures)
    if figures["cells"]:
        yield _accuracy(figures["believed"]["accuracy"])
        yield _share(figures["believed"]["share"])
    if known := figures["known"]:
        yield _classes(known["classes"])
        yield _calibration(known["calibration_error"])


def _enough(figures: dict[str, Any]) -> Finding:
    count = figures["photographs"]
    classes = figures["known"]["classes"] if figures["known"] else {}
    full = [name for name, row in classes.items() if row["images"] >= CELLS_OF_CLASS]
    if count < FEWEST_CELLS:
        return Finding(
            None,
            f"{count} independent cells (those of one class in one smear or photograph count "
            f"once): fewer than {FEWEST_CELLS}, which say nothing.",
        )
    if len(full) < CLASSES:
        return Finding(
            None,
            f"Only {len(full)} of its classes has {CELLS_OF_CLASS} cells or more: cells of "
            f"{CLASSES} classes at least are needed.",
        )
    return Finding(True, f"{count} independent cells of {len(classes)} of its classes.")


def _accuracy(figure: dict[str, Any]) -> Finding:
    if figure["value"] is None:
        return Finding(False, "It flags every single cell, so there is nothing to rely on.")
    low, high = figure["interval"]
    found = f"Of the cells that it does not flag it gets {_percent(figure['value'])} right"
    between = f"(95 % interval {_percent(low)} to {_percent(high)})"
    if low >= ACCURACY:
        return Finding(True, f"{found} {between}, surely more than {_percent(ACCURACY)}.")
    if high < ACCURACY:
        return Finding(False, f"{found} {between}, surely less than {_percent(ACCURACY)}.")
    return Finding(None, f"{found} {between}: it may be more or less than {_percent(ACCURACY)}.")


def _share(figure: dict[str, Any]) -> Finding:
    _, high = figure["interval"]
    flagged = f"It flags {_percent(1 - figure['value'])} of the cells for a person to decide"
    if high < SHARE_BELIEVED:
        return Finding(False, f"{flagged}: surely more than half.")
    if figure["value"] < SHARE_BELIEVED:
        return Finding(None, f"{flagged}: with so few cells it may be more or less than half.")
    return Finding(True, f"{flagged}.")


def _classes(classes: dict[str, dict[str, Any]]) -> Finding:
    """A class is weak if its whole interval says so: of five cells chance alone misses two."""
    full = {name: row for name, row in classes.items() if row["images"] >= CELLS_OF_CLASS}
    weak = {name: row for name, row in full.items() if row["recall"]["interval"][1] < RECALL}
    if weak:
        return Finding(False, f"It surely recognises fewer than {_percent(RECALL)} of {_of(weak)}.")
    unclear = {name: row for name, row in full.items() if row["recall"]["value"] < RECALL}
    if unclear:
        return Finding(
            None, f"It may recognise more or fewer than {_percent(RECALL)} of {_of(unclear)}."
        )
    return Finding(
        True,
        f"It recognises {_percent(RECALL)} or more of every class with {CELLS_OF_CLASS} cells or "
        "more.",
    )


def _of(classes: dict[str, dict[str, Any]]) -> str:
    return ", ".join(
        f"{cell_class(name).plural.lower()} ({_percent(row['recall']['value'])} of {row['images']})"
        for name, row in classes.items()
    )


def _calibration(figure: dict[str, Any]) -> Finding:
    low, high = figure["interval"]
    if low is None:
        return Finding(None, "Too few cells to say whether its confidence means what it says.")
    between = f"(calibration error {100 * figure['value']:.0f} points, {100 * low:.0f} to "
    between += f"{100 * high:.0f})"
    if low > CALIBRATION_ERROR:
        return Finding(False, f"Its confidence does not mean what it says {between}.")
    return Finding(True, f"Nothing shows that its confidence is misleading {between}.")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
