"""Pictures that differ from the others of their class: each with the reason, to look at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.kinds import KINDS
from inference.ml.datasets.manifest import Entry

FAR = 5.0
"""Robust standard deviations from the class's median: by chance one picture in two million."""

_FEWEST = 20  # pictures of a class; fewer are compared with all
_RARE_SIZE = 0.01  # of the pictures; a size that more have is no outlier, but another microscope
_OTHER_SIZE = 1.5  # times the usual area, or less than that part of it
_MANY = 3  # cells, where most pictures show one
_TO_SIGMA = 1.4826  # a normal distribution's standard deviation over its median deviation

Floats = NDArray[np.float64]


def find_outliers(
    entries: Sequence[Entry], facts: Sequence[PictureFacts], *, shown: int
) -> dict[str, Any]:
    """Pictures far from their class's median.

    Returns
    -------
    dict
        For each of `KINDS`: ``{"count": int, "shown": [{"at": position, "reason": str}, ...]}``,
        the farthest first.
    """
    rows: dict[str, list[tuple[float, int, str]]] = {kind: [] for kind in KINDS}
    for kind, score, at, reason in _all(entries, facts):
        rows[kind].append((score, at, reason))
    return {
        kind: {
            "count": len(found),
            "shown": [
                {"at": at, "reason": reason}
                for _, at, reason in sorted(found, key=lambda row: (-row[0], row[1]))[:shown]
            ],
        }
        for kind, found in rows.items()
    }


def robust_scores(values: Floats, labels: Sequence[str], *, floor: float) -> Floats:
    """How many robust standard deviations each value lies from its class's median.

    A class of fewer than 20 is compared with all pictures. `floor` is the least standard
    deviation: where nearly all values are the same, the smallest difference would be far.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for at, label in enumerate(labels):
        members[label].append(at)
    scores = np.zeros(len(values))
    for places in members.values():
        reference = values[places] if len(places) >= _FEWEST else values
        middle = np.median(reference)
        spread = _TO_SIGMA * np.median(np.abs(reference - middle))
        scores[places] = (values[places] - middle) / max(float(spread), floor)
    return scores


def _all(
    entries: Sequence[Entry], facts: Sequence[PictureFacts]
) -> Iterator[tuple[str, float, int, str]]:
    labels = [entry.label for entry in entries]
    yield from _sizes(facts)

    bright = np.array([fact.intensity for fact in facts])
    for at, score in _far(robust_scores(bright, labels, floor=1.0)):
        word = "brighter" if score > 0 else "darker"
        yield "intensity", abs(score), at, f"{word} than its class: {bright[at]:.0f} of 255"

    colours = np.array([fact.lab[1:] for fact in facts]).reshape(-1, 2)
    by_channel = np.stack([robust_scores(column, labels, floor=0.7) for column in colours.T])
    for at, score in _far(np.abs(by_channel).max(axis=0)):
        a, b = colours[at]
        yield "colour", score, at, f"another tint than its class: a* {a:+.0f}, b* {b:+.0f}"

    edges = np.log(np.array([max(fact.sharpness, 0.1) for fact in facts]))
    for at, score in _far(robust_scores(edges, labels, floor=0.1)):
        word = "sharper" if score > 0 else "more blurred"
        yield "sharpness", abs(score), at, f"{word} than its class"

    one_each = float(np.median([fact.cells for fact in facts])) <= 1
    for at, fact in enumerate(facts):
        if fact.cells == 0:
            yield "no_cell", 1.0, at, "the finder sees no white cell; training leaves it out"
        elif one_each and fact.cells >= _MANY:
            reason = f"{fact.cells} cells; only the main one is used, under this class"
            yield "many_cells", float(fact.cells), at, reason


def _sizes(facts: Sequence[PictureFacts]) -> Iterator[tuple[str, float, int, str]]:
    counts = Counter(fact.size for fact in facts)
    usual = float(np.median([fact.width * fact.height for fact in facts]))
    for at, fact in enumerate(facts):
        ratio = fact.width * fact.height / usual
        other = max(ratio, 1 / ratio)
        if other > _OTHER_SIZE and counts[fact.size] <= _RARE_SIZE * len(facts):
            yield "size", other, at, f"{fact.size} pixels, {ratio:.2g} times the usual area"


def _far(scores: Floats) -> Iterator[tuple[int, float]]:
    for at in np.flatnonzero(np.abs(scores) > FAR).tolist():
        yield at, float(scores[at])
