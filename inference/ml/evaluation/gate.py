"""The gate before a model is put in use: is it no worse than the one that serves?

Imports no TensorFlow. Whoever promotes a model against it says why; that is recorded elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from scipy.stats import binomtest

from inference.ml.bundle import Bundle, BundleError, load_bundle
from inference.ml.data import Decode, Item, Listing
from inference.ml.evaluation.answers import Answers, answer
from inference.ml.evaluation.figures import by_photograph, majority
from inference.ml.evaluation.intervals import FEW_PHOTOGRAPHS, Floats, Ints, Photographs
from inference.ml.evaluation.leakage import trained_on, with_photographs
from inference.ml.evaluation.paired import compare
from inference.ml.finder import FINDER_VERSION
from inference.ml.sidecar import training_rows
from inference.ml.writing import PARITY

SCHEMA_VERSION = 1
SIGNIFICANCE = 0.05
"""Of all classes that occur together: each is tested at its share of it (Bonferroni)."""

CHECKS = (
    *("files", "training known", "parity", "finder", "classes", "not worse"),
    "enough photographs",
)

_NO_ANSWER = ""
"""The answer to a picture in which one of the two found no cell: no class is called so."""

Report = Callable[[int, int, str], None]
"""Told how many of how many pictures are done, and a line if there is news."""


def compare_bundles(
    candidate: Bundle,
    baseline: Bundle,
    listing: Listing,
    *,
    decode: Decode,
    report: Report = lambda *_: None,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare a candidate with the model in use, on pictures that neither was made with.

    Parameters
    ----------
    candidate, baseline : Bundle
        The order of their classes may differ, and the candidate may know more.
    listing : Listing
        Any pictures, e.g. the newest version of every data set: those that either model was
        trained or tuned with are left out, and so are those of classes that the baseline
        does not know. What both held back, or never saw, is left.
    decode : callable
        From a file's bytes to its pixels, as serving does it.
    report : callable
        Told about every picture; both models answer each.
    seed : int
        Of the bootstrap over photographs.

    Returns
    -------
    dict
        Ready for JSON. ``candidate`` and ``baseline``: ``version`` and ``card_sha256``.
        ``data``: ``listed`` pictures, those ``left_out`` (by reason), and the ``pictures`` and
        ``photographs`` compared, with their ``fingerprint``, and the pictures whose photograph
        nobody has told (``photographs_unknown``). ``figures``: None where nothing
        could be compared, else ``paired`` (see `paired.compare`; ours is the candidate),
        ``candidate`` and ``baseline`` (see `figures.by_photograph`), and ``classes``: for each
        what `_class_figures` says. The cells of one class in a photograph count once.
        ``checks``: for each of `CHECKS` its ``name``, whether it ``passed`` and a ``sentence``
        that says why. ``passed``: whether all did. If the candidate's files are not what they
        were, nothing else is looked at.

    Raises
    ------
    DataError
        If a picture cannot be read, or no cell is found in any.
    BundleError
        If the baseline's files cannot be used.
    """
    checks = [_files(candidate)]
    told: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "candidate": _named(candidate),
        "baseline": _named(baseline),
        "data": None,
        "figures": None,
    }
    if checks[0].passed:
        items, left_out = _unseen(listing, candidate, baseline)
        pair = _answered(candidate, baseline, items, decode, report)
        unknown = sum(item.dataset in listing.groups_unknown for item in pair.items)
        told["data"] = {
            "listed": len(listing.items),
            "left_out": left_out
            | {
                "like a copy of what one was made with": pair.copies,
                "no cell found": len(items) - len(pair.items) - pair.copies,
            },
            "pictures": len(pair.items),
            "photographs": len(set(pair.groups)),
            "photographs_unknown": unknown,
            "fingerprint": Listing(pair.items, ()).fingerprint(),
        }
        figures = pair.figures(seed) if pair.items else None
        told["figures"] = figures
        checks += [
            _training_known(candidate),
            _parity(candidate),
            _finder(candidate),
            _classes(candidate, baseline, figures["classes"] if figures else {}),
            _not_worse(figures["paired"] if figures else None),
            _enough(told["data"]["photographs"], unknown),
        ]
    told["checks"] = [
        {"name": check.name, "passed": check.passed, "sentence": check.sentence} for check in checks
    ]
    told["passed"] = all(check.passed for check in checks)
    return told


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class _Pair:
    """What two models answered to the same M pictures.

    Attributes
    ----------
    items : list of Item
    names : list of str
        Classes of both, and ``_NO_ANSWER``.
    ours, theirs : arrays of shape (M, C)
        Probabilities, in the order of the names: the candidate's and the baseline's.
    copies : int
        Pictures left out, since they look like copies of what one of the two was made with.
    """

    items: list[Item]
    names: list[str]
    ours: Floats
    theirs: Floats
    copies: int = 0

    @property
    def groups(self) -> list[str]:
        return [item.group for item in self.items]

    @property
    def units(self) -> list[str]:
        """What counts once: a photograph, or its cells of one class if it shows several."""
        return [f"{item.group} {item.label}" for item in self.items]

    @property
    def labels(self) -> Ints:
        return np.array([self.names.index(item.label) for item in self.items])

    def figures(self, seed: int) -> dict[str, Any]:
        """What `compare_bundles` tells of them."""
        photographs = Photographs(self.units, seed=seed, resamples=1)
        return {
            "paired": compare(self.ours, self.theirs, self.labels, self.units, seed=seed),
            "candidate": by_photograph(self.ours, self.labels, photographs, self.names),
            "baseline": by_photograph(self.theirs, self.labels, photographs, self.names),
            "classes": self._by_class(photographs),
        }

    def _by_class(self, photographs: Photographs) -> dict[str, dict[str, Any]]:
        """For each class that occurs what `_class_figures` says."""
        ours, truths = majority(self.ours, self.labels, photographs)
        theirs, _ = majority(self.theirs, self.labels, photographs)
        found = {}
        for index in np.unique(self.labels).tolist():
            of_class = self.labels == index
            recalls = [
                float((rows[of_class].argmax(axis=1) == index).mean())
                for rows in (self.ours, self.theirs)
            ]
            whole = truths == index
            found[self.names[index]] = _class_figures(
                int(of_class.sum()), recalls, ours[whole] == index, theirs[whole] == index
            )
        return found


def _class_figures(
    pictures: int, recalls: Sequence[float], ours: np.ndarray, theirs: np.ndarray
) -> dict[str, Any]:
    """Of a class: counts, recalls by picture, and the exact McNemar test by photograph.

    Parameters
    ----------
    pictures : int
    recalls : sequence of float
        The candidate's and the baseline's.
    ours, theirs : bool arrays of shape (G,)
        Which photographs the majority of the answers gets right.
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    apart = only_ours + only_theirs
    return {
        "pictures": pictures,
        "photographs": len(ours),
        "candidate": round(recalls[0], 4),
        "baseline": round(recalls[1], 4),
        "only_candidate_right": only_ours,
        "only_baseline_right": only_theirs,
        "p_value": 1.0 if not apart else float(binomtest(only_ours, apart).pvalue),
    }


def _unseen(
    listing: Listing, candidate: Bundle, baseline: Bundle
) -> tuple[list[Item], dict[str, int]]:
    """The items to compare on, and how many were left out for which reason."""
    manifests = [training_rows(bundle) for bundle in (candidate, baseline)]
    items = listing.items
    for manifest in manifests:
        items = with_photographs(items, manifest)
    by_candidate, by_baseline = (set(trained_on(items, manifest)) for manifest in manifests)
    seen = by_candidate | by_baseline
    unseen = [item for item in items if item not in seen]
    known = [item for item in unseen if item.label in baseline.classes]
    return known, {
        "trained on by the candidate": len(by_candidate),
        "trained on by the baseline": len(by_baseline),
        "of a class that the baseline does not know": len(unseen) - len(known),
    }


def _answered(
    candidate: Bundle, baseline: Bundle, items: Sequence[Item], decode: Decode, report: Report
) -> _Pair:
    """Both models' answers to the pictures in which either of them found a cell.

    Without those that look like copies of what one was made with (see `evaluation.copies`): on
    them it would be right by memory, though their bytes are others.
    """
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        report(done, 2 * len(items), "")

    names = [*sorted({*candidate.classes, *baseline.classes}), _NO_ANSWER]
    if not items:
        return _Pair([], names, np.zeros((0, len(names))), np.zeros((0, len(names))))
    answers = []
    for bundle in (candidate, baseline):
        report(done, 2 * len(items), f"{bundle.version} answers {len(items)} pictures.")
        answers.append(answer(bundle, items, decode=decode, advance=advance))
    answered = {item.key for one in answers for item in one.items}
    copied = {
        item.key
        for one in answers
        for item, copy in zip(one.items, one.copies, strict=True)
        if copy is not None
    }
    kept = answered - copied
    found = [item for item in items if item.key in kept]
    ours, theirs = (_in_order(one, names, found) for one in answers)
    return _Pair(found, names, ours, theirs, len(copied))


def _in_order(answers: Answers, names: Sequence[str], items: Sequence[Item]) -> Floats:
    """Probabilities (M, C) for some items and names: 0 for a class that the model does not know."""
    place = {item.key: at for at, item in enumerate(answers.items)}
    columns = [names.index(name) for name in answers.classes]
    rows = np.zeros((len(items), len(names)))
    for row, item in zip(rows, items, strict=True):
        if item.key in place:
            row[columns] = answers.probabilities[place[item.key]]
        else:
            row[names.index(_NO_ANSWER)] = 1
    return rows


def _files(candidate: Bundle) -> _Check:
    try:
        now = load_bundle(candidate.path)
    except BundleError as error:
        return _Check("files", False, str(error))
    if now.sha256 != candidate.sha256:
        return _Check(
            "files",
            False,
            f"The card of {candidate.version} is not the one that was registered (SHA-256 "
            "differs). Import or train the model again; do not use this one.",
        )
    return _Check("files", True, "Every file is the one that the card describes (SHA-256).")


def _training_known(candidate: Bundle) -> _Check:
    started = candidate.card.training.get("started_from", {})
    unknown = candidate.version if not candidate.training_known else started.get("version", "")
    if candidate.training_known and started.get("training_known", True):
        return _Check(
            "training known", True, "It says which pictures it was made with; they are left out."
        )
    return _Check(
        "training known",
        False,
        f"Nothing is known of the pictures that {unknown} was trained with. It may have seen "
        "those that are compared on, and the figures would then measure memory.",
    )


def _parity(candidate: Bundle) -> _Check:
    training = candidate.card.training
    told = training.get("parity")
    if not isinstance(told, dict) or not isinstance(told.get("largest_difference"), int | float):
        return _Check(
            "parity",
            False,
            "The card does not say that LiteRT answers as the network that was trained does. "
            "Export the model again with this version of the program.",
        )
    difference = float(told["largest_difference"])
    what = (
        f"LiteRT's probabilities differ from Keras' by {difference:.2g} at most; {PARITY:g} is "
        "allowed."
    )
    if "adapted_from" in training:
        what += (
            f" Measured on {training['adapted_from']['version']}, whose network this adapted model "
            "shares: its own last layer is computed in one way only."
        )
    return _Check("parity", difference < PARITY, what)


def _finder(candidate: Bundle) -> _Check:
    version = candidate.card.finder_version
    if version == FINDER_VERSION:
        return _Check("finder", True, f"Its crops were cut by the finder in use, {version}.")
    return _Check(
        "finder",
        False,
        f"Its crops were cut by the finder {version}, but this program has {FINDER_VERSION}. "
        "Train it again.",
    )


def _classes(candidate: Bundle, baseline: Bundle, figures: dict[str, dict[str, Any]]) -> _Check:
    missing = sorted(set(baseline.classes) - set(candidate.classes))
    if missing:
        return _Check(
            "classes",
            False,
            f"{candidate.version} does not know {', '.join(missing)}, which {baseline.version} "
            "does.",
        )
    lost = sorted(n for n, one in figures.items() if not one["candidate"] and one["baseline"])
    level = SIGNIFICANCE / max(1, len(figures))
    worse = [
        f"{name} ({one['only_baseline_right']} photographs that only {baseline.version} gets "
        f"right, {one['only_candidate_right']} the other way; p = {one['p_value']:.2g})"
        for name, one in sorted(figures.items())
        if one["only_baseline_right"] > one["only_candidate_right"] and one["p_value"] < level
    ]
    faults = []
    if lost:
        faults.append(f"It no longer recognises any cell of {', '.join(lost)}.")
    if worse:
        faults.append(f"It is worse than chance explains at {', '.join(worse)}.")
    unseen = sorted(set(baseline.classes) - set(figures))
    if unseen:
        faults.append(f"There was no picture to tell by of {', '.join(unseen)}.")
    said = " ".join(faults) or f"None of the {len(figures)} classes is lost or proved to be worse."
    return _Check("classes", not (lost or worse), said)


def _not_worse(paired: dict[str, Any] | None) -> _Check:
    if paired is None:
        return _Check("not worse", False, "Nothing could be compared.")
    told, worse = [], False
    for key, name in (("accuracy", "accuracy"), ("macro_recall", "mean recall of the classes")):
        figure = paired["by_photograph"][key]
        low, high = figure["interval"]
        between = (
            "no interval, too few photographs differ"
            if low is None
            else f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
        )
        told.append(f"{name} {100 * figure['value']:+.1f} points ({between})")
        worse = worse or (high is not None and high < 0)
    found = "; ".join(told).replace("-", "−")
    lead = "By photograph, against the model in use: "
    end = "This is worse than chance explains." if worse else _not_ruled_out(paired)
    return _Check("not worse", not worse, f"{lead}{found}. {end}")


def _not_ruled_out(paired: dict[str, Any]) -> str:
    """That no loss shows is no proof that there is none: how large a one may have been missed."""
    low, _ = paired["by_photograph"]["accuracy"]["interval"]
    if low >= 0:
        return "It is no worse."
    return (
        f"No loss is proved, but with {paired['photographs']} photographs one of up to "
        f"{-100 * low:.1f} points of accuracy is not ruled out either."
    )


def _enough(photographs: int, unknown: int) -> _Check:
    if photographs >= FEW_PHOTOGRAPHS:
        told = f"Both answered pictures of {photographs} photographs."
        if unknown:
            told += (
                f" Of {unknown} of these pictures nobody has told the photograph, so each counts "
                "as its own: if some are copies of others, chance is larger than it is said to be, "
                "and a model may have been trained with copies of what it answers."
            )
        return _Check("enough photographs", True, told)
    return _Check(
        "enough photographs",
        False,
        f"Only {photographs} photographs are left that neither model was made with; the gate "
        f"cannot tell with fewer than {FEW_PHOTOGRAPHS}. Import a dataset that neither was "
        "trained on, train with the locked sides of the model in use, or override with a reason.",
    )


def _named(bundle: Bundle) -> dict[str, str]:
    return {"version": bundle.version, "card_sha256": bundle.sha256}
