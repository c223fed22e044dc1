"""Look at a dataset: figures, tables, outliers and what a person should do about them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.datasets.alike import Findings, findings
from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.copies import Suspicion, suspicion
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry
from inference.ml.datasets.outliers import find_outliers

Exploration = dict[str, Any]
"""JSON-able; see `summarise`."""

SAMPLES = 12  # pictures of each class to show
_MOST_SIZES = 12
_UNEVEN = 3.0  # times the smallest class
_FEWEST_EACH = 3  # photographs of a class: one for each side of a split
_FEW_EACH = 20
_OTHER_SCALE = 1.4  # between red cells' radii of classes, or of pictures of one size
_MIXED_SCALES = 1.6  # between the quartiles of all
_FEWEST_OF_SIZE = 20  # pictures of a size; of fewer nothing is said
_OTHER_FIELD = 12.0  # levels between a class's field and that of all, in some channel,
_OTHER_FIELD_SPREADS = 3.0  # and so many times as far as its own pictures lie apart
_FEW_CELLS = 0.02

Array = NDArray[np.float64]


def summarise(
    entries: Sequence[Entry],
    facts: Sequence[PictureFacts],
    *,
    left_out: Sequence[LeftOut] = (),
    notes: Sequence[str] = (),
    shown: int = 200,
) -> Exploration:
    """The exploratory analysis of a dataset's version.

    Parameters
    ----------
    entries, facts : sequences of the same length
    left_out : sequence of LeftOut
        Every file that was not taken.
    notes : sequence of str
        `Layout.notes`.
    shown : int
        Most rows of each list of files.

    Returns
    -------
    dict
        ``pictures`` : int
        ``photographs`` : int or None
            None where no picture's is known; where some are, the others count as their own.
        ``parts`` : pictures of ``train``, ``test`` and ``none``
        ``classes`` : list
            For each class ``label, pictures, photographs, train, test, intensity`` (mean, low,
            median, high: 5th and 95th percentile), ``rgb`` (mean), ``lab``, ``histogram`` (32
            shares), ``sharpness``, ``red_cell`` (medians), ``no_cell``, ``one_cell``,
            ``more_cells`` and ``at_border`` (pictures), ``size`` (the most frequent).
        ``balance`` : ``largest, smallest, ratio``
        ``sizes`` : ``count`` and ``rows`` (``size, pictures, red_cell``), the most frequent
        ``resolution`` : quartiles ``low, median, high`` of red cells' radii in pixels, in
            ``measured`` pictures, and ``consistent``: whether one magnification explains them
        ``outliers`` : see `outliers.find_outliers`
        ``left_out`` : ``count``, ``reasons`` (``reason, files``), ``shown`` (``name, reason``)
        ``duplicates`` : `Findings.to_dict`
        ``copies`` : `Suspicion.to_dict`
        ``samples`` : for each class positions of pictures to show, of different photographs first
        ``files`` : ``sha256, name, label, part, group`` by position (as text) of every picture
            that is named anywhere above
        ``notes`` : list of str
        ``sentences`` : ``[{"kind": "bad" | "warn" | "good", "text": str}]``, the worst first

    Raises
    ------
    ValueError
        If there are no pictures.
    """
    if not entries or len(entries) != len(facts):
        raise ValueError("There must be pictures, and facts for each of them.")
    found = findings(entries, facts, shown=shown)
    suspected = suspicion(entries, facts, found)
    members = _by_label(entries)
    result: Exploration = {
        "pictures": len(entries),
        "photographs": _photographs(entries, range(len(entries))),
        "parts": {
            name: sum(entry.part == part for entry in entries)
            for name, part in (("train", "train"), ("test", "test"), ("none", ""))
        },
        "classes": [_class(label, at, entries, facts) for label, at in members.items()],
        "balance": _balance({label: len(at) for label, at in members.items()}),
        "sizes": _sizes(facts),
        "resolution": {},
        "outliers": find_outliers(entries, facts, shown=shown),
        "left_out": _left_out(left_out, shown),
        "duplicates": found.to_dict(),
        "copies": suspected.to_dict(),
        "samples": {label: _samples(at, entries) for label, at in members.items()},
        "notes": list(notes),
    }
    result["resolution"] = _resolution(facts, [*result["classes"], *result["sizes"]["rows"]])
    sentences = [*_sentences(result, entries, facts, found, suspected)]
    if not sentences:
        text = "Nothing was found that speaks against training with it."
        sentences.append({"kind": "good", "text": text})
    order = ("bad", "warn", "good")
    result["sentences"] = sorted(sentences, key=lambda row: order.index(row["kind"]))
    result["files"] = {
        str(at): {
            "sha256": entries[at].sha256,
            "name": entries[at].name,
            "label": entries[at].label,
            "part": entries[at].part,
            "group": entries[at].group,
        }
        for at in sorted(_named(result))
    }
    return result


def _by_label(entries: Sequence[Entry]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = defaultdict(list)
    for at, entry in enumerate(entries):
        members[entry.label].append(at)
    return dict(sorted(members.items()))


def _photographs(entries: Sequence[Entry], places: Sequence[int]) -> int | None:
    if not any(entries[at].group for at in places):
        return None
    return len({(entries[at].group, "" if entries[at].group else at) for at in places})


def _class(
    label: str, places: Sequence[int], entries: Sequence[Entry], facts: Sequence[PictureFacts]
) -> dict[str, Any]:
    own = [facts[at] for at in places]
    bright = np.array([fact.intensity for fact in own])
    low, middle, high = np.percentile(bright, [5, 50, 95])
    shares = np.array([fact.histogram for fact in own], np.float64).mean(axis=0) / 10_000
    return {
        "label": label,
        "pictures": len(places),
        "photographs": _photographs(entries, places),
        "train": sum(entries[at].part == "train" for at in places),
        "test": sum(entries[at].part == "test" for at in places),
        "intensity": {
            "mean": _round(bright.mean()),
            "low": _round(low),
            "median": _round(middle),
            "high": _round(high),
        },
        "rgb": [round(float(level)) for level in np.mean([fact.rgb for fact in own], axis=0)],
        "lab": [_round(value) for value in np.mean([fact.lab for fact in own], axis=0)],
        "histogram": [round(float(share), 5) for share in shares],
        "sharpness": _round(np.median([fact.sharpness for fact in own])),
        "red_cell": _radius([fact.red_cell for fact in own]),
        "no_cell": sum(fact.cells == 0 for fact in own),
        "one_cell": sum(fact.cells == 1 for fact in own),
        "more_cells": sum(fact.cells > 1 for fact in own),
        "at_border": sum(fact.at_border for fact in own),
        "size": Counter(fact.size for fact in own).most_common(1)[0][0],
    }


def _round(value: float | np.floating) -> float:
    return round(float(value), 1)


def _balance(counts: dict[str, int]) -> dict[str, Any]:
    ordered = sorted(counts.items(), key=lambda row: row[1])
    (smallest, least), (largest, most) = ordered[0], ordered[-1]
    return {"largest": largest, "smallest": smallest, "ratio": round(most / least, 2)}


def _sizes(facts: Sequence[PictureFacts]) -> dict[str, Any]:
    radii: dict[str, list[float]] = defaultdict(list)
    for fact in facts:
        radii[fact.size].append(fact.red_cell)
    rows = [
        {"size": size, "pictures": len(own), "red_cell": _radius(own)}
        for size, own in sorted(radii.items(), key=lambda row: (-len(row[1]), row[0]))
    ]
    return {"count": len(rows), "rows": rows[:_MOST_SIZES]}


def _radius(radii: Sequence[float]) -> float | None:
    """Median radius of red cells, where they were seen."""
    seen = [radius for radius in radii if radius]
    return _round(np.median(seen)) if seen else None


def _resolution(facts: Sequence[PictureFacts], parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How large red cells are, in all and in `parts`: rows of classes and of sizes."""
    radii = [fact.red_cell for fact in facts if fact.red_cell]
    if not radii:
        return {"measured": 0, "low": None, "median": None, "high": None, "consistent": True}
    low, middle, high = np.percentile(radii, [25, 50, 75])
    medians = [
        row["red_cell"] for row in parts if row["red_cell"] and row["pictures"] >= _FEWEST_OF_SIZE
    ]
    even = not medians or max(medians) <= _OTHER_SCALE * min(medians)
    return {
        "measured": len(radii),
        "low": _round(low),
        "median": _round(middle),
        "high": _round(high),
        "consistent": bool(even and high <= _MIXED_SCALES * low),
    }


def _left_out(files: Sequence[LeftOut], shown: int) -> dict[str, Any]:
    reasons = Counter(file.reason for file in files)
    return {
        "count": len(files),
        "reasons": [{"reason": text, "files": n} for text, n in reasons.most_common(20)],
        "shown": [{"name": file.name, "reason": file.reason} for file in files[:shown]],
    }


def _samples(places: Sequence[int], entries: Sequence[Entry]) -> list[int]:
    """Positions spread over a class, of photographs that were not shown yet where there are."""
    first: dict[str, int] = {}
    for at in places:
        first.setdefault(entries[at].group or str(at), at)
    fresh = list(first.values())
    rest = [at for at in places if at not in set(fresh)] if len(fresh) < SAMPLES else []
    step = max(1, len(fresh) // SAMPLES)
    return sorted([*fresh[::step][:SAMPLES], *rest[: max(0, SAMPLES - len(fresh))]])


def _named(result: Exploration) -> set[int]:
    duplicates = result["duplicates"]
    groups = [*duplicates["identical"]["shown"], *duplicates["near"]["shown"]]
    groups += [
        row["pair"] for kind in ("two_labels", "across") for row in duplicates[kind]["shown"]
    ]
    groups += [[row["at"] for row in kind["shown"]] for kind in result["outliers"].values()]
    groups += result["samples"].values()
    return {at for group in groups for at in group}


def _sentences(
    result: Exploration,
    entries: Sequence[Entry],
    facts: Sequence[PictureFacts],
    found: Findings,
    suspected: Suspicion,
) -> Iterator[dict[str, str]]:
    classes = result["classes"]
    if suspected.warn:
        yield {"kind": "bad", "text": suspected.sentence}
    elif result["photographs"] is None:
        yield _warn(
            "Nobody has told which source photograph or patient each picture is of: every file "
            "counts as its own, and figures will be somewhat too good. A table can tell it."
        )
    yield from found.sentences
    if len(classes) == 1:
        yield {
            "kind": "bad",
            "text": f"All pictures are of one class, {classes[0]['label']}. Alone they train no "
            "model; they can be added to other datasets.",
        }
    yield from _on_support(classes)
    balance = result["balance"]
    if balance["ratio"] > _UNEVEN:
        yield _warn(
            f"There are {balance['ratio']:.1f} times as many pictures of {balance['largest']} as "
            f"of {balance['smallest']}. Training can draw classes alike, but of a small class "
            "little can be learnt and measured."
        )
    yield from _on_pictures(result, facts)
    yield from _on_fields(entries, facts)
    if left_out := result["left_out"]["count"]:
        were = "file was" if left_out == 1 else "files were"
        yield _warn(f"{left_out:,} {were} left out; the list below says why.")


def _warn(text: str) -> dict[str, str]:
    return {"kind": "warn", "text": text}


def _on_support(classes: Sequence[dict[str, Any]]) -> Iterator[dict[str, str]]:
    scarce: dict[bool, list[str]] = {True: [], False: []}  # too few for anything, or only few
    for row in classes:
        known = row["photographs"] is not None
        count = row["photographs"] if known else row["pictures"]
        if count < _FEW_EACH:
            what = "source photograph" if known else "picture"
            told = f"{row['label']} ({count:,} {what}{'' if count == 1 else 's'})"
            scarce[count < _FEWEST_EACH].append(told)
    if scarce[True]:
        yield {
            "kind": "bad",
            "text": f"Too few to train and to measure: {', '.join(scarce[True])}. Add more, or "
            "leave out what has too few.",
        }
    if scarce[False]:
        yield _warn(f"Few, so figures will have wide intervals: {', '.join(scarce[False])}.")


def _on_pictures(result: Exploration, facts: Sequence[PictureFacts]) -> Iterator[dict[str, str]]:
    resolution, sizes = result["resolution"], result["sizes"]
    if not resolution["consistent"]:
        yield _warn(
            "Red cells differ in size between classes, between sizes of pictures or among all "
            f"(half measure {resolution['low']:.0f} to {resolution['high']:.0f} pixels in radius): "
            "there seem to be several magnifications. Cells are cut out at a common scale, so "
            "this can be used; look whether a class comes from one of them alone."
        )
    elif sizes["count"] > 1:
        yield _warn(f"The pictures have {sizes['count']:,} sizes, at about the same magnification.")
    grey = sum(fact.grey for fact in facts)
    if grey:
        yield _warn(f"{grey:,} pictures have no colour; the stain cannot be judged in them.")
    empty = sum(fact.cells == 0 for fact in facts)
    if empty > _FEW_CELLS * len(facts):
        yield _warn(
            f"In {empty:,} pictures ({empty / len(facts):.0%}) the finder sees no white cell; "
            "training leaves them out. Look whether they are stained smears."
        )


def _on_fields(entries: Sequence[Entry], facts: Sequence[PictureFacts]) -> Iterator[dict[str, str]]:
    """A class from a microscope or stain of its own is recognised by that, not by its cells."""
    fields = np.array([fact.palette[:3] for fact in facts], np.float64)
    members = _by_label(entries)
    if len(members) < 2:
        return
    middles = {label: np.median(fields[at], axis=0) for label, at in members.items()}
    for label, at in members.items():
        others = np.median([middle for name, middle in middles.items() if name != label], axis=0)
        apart = np.abs(middles[label] - others)
        spread = np.median(np.abs(fields[at] - middles[label]), axis=0)
        if (apart > np.maximum(_OTHER_FIELD, _OTHER_FIELD_SPREADS * spread)).any():
            yield _warn(
                f"The empty field in pictures of {label} has another colour than in the others: "
                "they seem to come from another microscope or stain. A model may learn that "
                "instead of the cell; add pictures of other classes from there."
            )
