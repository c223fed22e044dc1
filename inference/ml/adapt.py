"""Adapt a model to a laboratory with some labelled cells of its own, without TensorFlow.

The network stays; its last layer is fitted anew on the site's cells and on the features of
home's training, which travel in the bundle. ``model.keras`` stays as it is, for whoever goes on
training from the new bundle: the last layer is that of ``head.npz``, in every bundle.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.bundle import (
    FEATURES_NAME,
    HEAD_NAME,
    KERAS_NAME,
    MANIFEST_NAME,
    TFLITE_NAME,
    Bundle,
    BundleError,
    load_bundle,
)
from inference.ml.calibrate import temperature_note
from inference.ml.data import DataError, Decode, Item, Listing, count_by, cut_crops
from inference.ml.engine import Engine, softmax
from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.leakage import trained_on, with_photographs
from inference.ml.evaluation.paired import compare
from inference.ml.evaluation.summary import card_figures
from inference.ml.last_layer import SiteFit, fit_to_site
from inference.ml.sidecar import (
    MOST,
    TRAIN,
    VALIDATION,
    Head,
    ManifestRow,
    TrainingFeatures,
    kept_rows,
    read_manifest,
    write_manifest,
)
from inference.ml.split import split_by_group
from inference.ml.writing import bundle_draft, check_target, write_card

FLATTERING = "tuned and calibrated on, which flatters"
_OF_UNSEEN = frozenset(
    {
        *("calibration_error", "brier", "log_loss", "mean_confidence"),
        *("not_flagged", "wrong_among_not_flagged"),
    }
)

Report = Callable[[int, int], None]
"""Told how many pictures of how many are cut."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What an adaptation is told.

    Attributes
    ----------
    bundle : Path
        The model to adapt.
    out : Path
        Folder of the new bundle.
    cells : int or None
        Labelled cells to learn from; all by default.
    held_out : float
        Share of the photographs that is not learned from, but measured with.
    seed : int
    command : str
        How the run was started, for the card.
    """

    bundle: Path
    out: Path
    cells: int | None = None
    held_out: float = 0.3
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError("The share that is held out must be 0 or more and below 1.")
        if self.cells is not None and self.cells < 2:
            raise ValueError("It takes two cells at least.")


@dataclass(frozen=True, slots=True)
class Site:
    """A site's cells, no more than eight of a photograph, and their pictures.

    Attributes
    ----------
    cells : TrainingFeatures
    items : list of Item
    classes : tuple of str
        The model's, and then those that are new.
    groups_unknown : tuple of str
        Data sets whose photographs nobody has told.
    """

    cells: TrainingFeatures
    items: list[Item]
    classes: tuple[str, ...]
    groups_unknown: tuple[str, ...]


def adapt(
    settings: Settings, listing: Listing, report: Report = lambda *_: None, *, decode: Decode
) -> Bundle:
    """Fit a model's last layer to a site and write the bundle.

    Parameters
    ----------
    settings : Settings
    listing : Listing
        The site's cells. A class that the model does not know is added to it.
    report : callable
    decode : callable
        From a file's bytes to its pixels, as serving does it.

    Raises
    ------
    BundleError, DataError, ExportError
        With a sentence that says what is wrong.
    """
    check_target(settings.out)
    bundle = load_bundle(settings.bundle)
    return adapt_to(settings, bundle, read_site(bundle, listing, report, decode=decode))


def adapt_to(settings: Settings, bundle: Bundle, site: Site) -> Bundle:
    """The same for a site whose cells have been read."""
    home = TrainingFeatures.load(bundle.features_path)
    learned, held_out = divide(site.cells, settings)
    home, cells = thinned(home, site.cells.where(learned))
    if len(set(cells.groups.tolist())) < 2:
        raise DataError("Cells of two photographs at least are needed to learn from. Give more.")
    old = Head.load(bundle.head_path)
    fit = fit_to_site(home, cells, old, classes=len(site.classes), seed=settings.seed)
    metrics = _metrics(bundle, home, site, held_out, fit, settings.seed)
    with bundle_draft(settings.out) as draft:
        shutil.copy(bundle.tflite_path, draft / TFLITE_NAME)
        if KERAS_NAME in bundle.card.files:
            shutil.copy(bundle.keras_path, draft / KERAS_NAME)
        fit.head.save(draft / HEAD_NAME)
        home.with_more(cells).save(draft / FEATURES_NAME)
        sides = {**dict.fromkeys(learned, "train"), **dict.fromkeys(held_out, "test")}
        write_manifest(draft / MANIFEST_NAME, _manifest(bundle, site, sides))
        card = bundle.card
        held_out_groups = {site.items[at].group for at in held_out}
        write_card(
            draft,
            network=card.network,
            unfamiliarity=fit.unfamiliarity,
            classes=site.classes,
            preprocessing=card.preprocessing,
            temperature=fit.temperature,
            thresholds={
                name: round(float(value), 6)
                for name, value in zip(site.classes, fit.thresholds, strict=True)
            },
            metrics=metrics,
            dataset=_dataset(card.dataset, site),
            split=card.split
            | {"test_groups": sorted({*card.split.get("test_groups", ()), *held_out_groups})},
            training={k: v for k, v in card.training.items() if k != "temperature_note"}
            | temperature_note(fit.temperature)
            | {
                "adapted_from": {"version": card.version, "sha256": bundle.sha256},
                "adaptation": {
                    "cells": count_by([site.items[at].stratum for at in learned]),
                    "held_out": count_by([site.items[at].stratum for at in held_out]),
                    "new_classes": list(site.classes[len(card.classes) :]),
                    "strength": fit.strength,
                    "from_old_layer": fit.from_old,
                    "converged": fit.converged,
                    "seed": settings.seed,
                    "command": settings.command,
                },
            },
        )
    return load_bundle(settings.out)


def read_site(
    bundle: Bundle, listing: Listing, report: Report = lambda *_: None, *, decode: Decode
) -> Site:
    """Cut a site's cells out and describe them by the network's features.

    Raises
    ------
    DataError
        If the model was made with some of the pictures, or a picture cannot be used.
    BundleError
        If the model brings nothing of its training along.
    """
    if not bundle.training_known:
        raise BundleError(
            f"{bundle.version} was trained elsewhere and brings none of the cells of its training "
            "along, which an adaptation learns from beside the new ones. Adapt a model that was "
            "trained here."
        )
    items = _unseen(listing, bundle)
    rows = kept_rows(
        [item.group for item in items],
        [item.label for item in items],
        [item.sha256 for item in items],
    )
    chosen = [items[row] for row in rows]
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        report(done, len(chosen))

    crops, found = cut_crops(chosen, bundle.card.preprocessing, decode=decode, advance=advance)
    chosen = [chosen[at] for at in found]
    if not chosen:
        raise DataError("No cell was found in any of the pictures. Give other ones.")
    classes = *bundle.classes, *sorted({item.label for item in chosen} - set(bundle.classes))
    cells = TrainingFeatures(
        features=Engine(bundle, threads=2).features(crops).astype(np.float16),
        labels=np.array([classes.index(item.label) for item in chosen], np.int16),
        sides=np.full(len(chosen), TRAIN, np.uint8),
        groups=np.array([item.group for item in chosen]),
        datasets=np.array([item.dataset for item in chosen]),
        shas=np.array([item.sha256[:16] for item in chosen]),
    )
    return Site(cells, chosen, classes, listing.groups_unknown)


def divide(cells: TrainingFeatures, settings: Settings) -> tuple[list[int], list[int]]:
    """Positions of the cells to learn from, in an order to take them in, and of those held out."""
    labels = cells.labels.astype(str).tolist()
    sides = split_by_group(
        cells.groups.tolist(), labels, validation=0, test=settings.held_out, seed=settings.seed
    )
    pool = [at for at, side in enumerate(sides) if side == "train"]
    held_out = [at for at, side in enumerate(sides) if side == "test"]
    order = drawing_order(cells.where(pool), settings.seed)[: settings.cells]
    return [pool[at] for at in order], held_out


def thinned(
    home: TrainingFeatures, site: TrainingFeatures, *, most: int = MOST
) -> tuple[TrainingFeatures, TrainingFeatures]:
    """Home and site with so many rows together at most, as who adapts often adds to the same.

    The validation side stays whole; of the rest every photograph keeps one crop before any
    keeps two.
    """
    both = home.with_more(site)
    learned = np.flatnonzero(both.sides == TRAIN)
    kept = kept_rows(
        both.groups[learned].tolist(),
        both.labels[learned].astype(str).tolist(),
        both.shas[learned].tolist(),
        most=max(most - (len(both) - len(learned)), 1),
    )
    rows = np.union1d(np.flatnonzero(both.sides != TRAIN), learned[kept])
    return home.where(rows[rows < len(home)]), site.where(rows[rows >= len(home)] - len(home))


def drawing_order(cells: TrainingFeatures, seed: int) -> list[int]:
    """All positions, at random, but classes in turn and photographs before their copies."""
    lot = np.random.default_rng(seed).permutation(len(cells)).tolist()

    def ranks(order: Sequence[int], keys: Sequence[object]) -> dict[int, int]:
        seen: dict[object, int] = {}
        found = {}
        for at in order:
            found[at] = seen.get(keys[at], 0)
            seen[keys[at]] = found[at] + 1
        return found

    copies = ranks(lot, cells.groups.tolist())
    by_copy = sorted(lot, key=copies.__getitem__)
    turns = ranks(by_copy, cells.labels.tolist())
    return sorted(by_copy, key=turns.__getitem__)


def widened(head: Head, classes: int) -> Head:
    """A head with more classes, which it never answers."""
    more = classes - len(head.bias)
    return Head(
        np.pad(head.kernel, ((0, 0), (0, more))),
        np.pad(head.bias, (0, more), constant_values=-np.inf),
    )


def _unseen(listing: Listing, bundle: Bundle) -> list[Item]:
    manifest = read_manifest(bundle.manifest_path)
    items = with_photographs(listing.items, manifest)
    seen = trained_on(items, manifest)
    if seen:
        raise DataError(
            f"{bundle.version} was made with {len(seen)} of the {len(items)} pictures or with "
            f"others of their photographs, for example {seen[0].shown}. Give new ones."
        )
    return items


def _manifest(bundle: Bundle, site: Site, sides: dict[int, str]) -> list[ManifestRow]:
    """Home's pictures and the site's; those that were neither learned from nor held out are not."""
    new = [
        ManifestRow(side, item.dataset, item.label, item.group, item.sha256)
        for item, side in ((site.items[at], side) for at, side in sides.items())
    ]
    named = {row.sha256 for row in new}
    return [row for row in read_manifest(bundle.manifest_path) if row.sha256 not in named] + new


def _dataset(home: dict[str, Any], site: Site) -> dict[str, Any]:
    pictures = {**home.get("pictures", {}), **count_by([item.stratum for item in site.items])}
    unknown = {*home.get("groups_unknown", ()), *site.groups_unknown}
    return home | {"pictures": pictures, "groups_unknown": sorted(unknown)}


def _metrics(
    bundle: Bundle,
    home: TrainingFeatures,
    site: Site,
    held_out: Sequence[int],
    fit: SiteFit,
    seed: int,
) -> dict[str, Any]:
    """Before and after: on the site's data sets, and on those of home's validation side.

    The latter chose penalty, prior, temperature and thresholds, so that its figures flatter,
    and those of calibration and doubt say nothing: they are left out.
    """
    before = widened(Head.load(bundle.head_path), len(site.classes))
    unseen = site.cells.where(np.array(held_out, np.int64))

    def told(cells: TrainingFeatures) -> dict[str, Any]:
        rows = cells.features.astype(np.float32)
        old = softmax(before.logits(rows) / np.float32(bundle.card.temperature))
        new = softmax(fit.head.logits(rows) / np.float32(fit.temperature))
        return _before_and_after(old, new, cells, fit, site.classes, seed)

    def by_set(cells: TrainingFeatures) -> dict[str, dict[str, Any]]:
        names = sorted(set(cells.datasets.tolist()))
        return {name: told(cells.where(cells.datasets == name)) for name in names}

    at_site = {
        name: {"side": "test", "what": "held out by the site, not learned from", **figures}
        for name, figures in by_set(unseen).items()
    }
    at_home = {
        # A site's folder may be called like one of home's.
        f"{name} (home)" if name in at_site else name: {
            "side": "validation",
            "what": FLATTERING,
            **{key: figure for key, figure in figures.items() if key not in _OF_UNSEEN},
        }
        for name, figures in by_set(home.of_side(VALIDATION)).items()
    }
    return at_site | at_home


def _before_and_after(
    old: NDArray[np.float32],
    new: NDArray[np.float32],
    cells: TrainingFeatures,
    fit: SiteFit,
    classes: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    labels, groups = cells.labels.astype(np.int64), cells.groups.tolist()
    before = evaluate(old, labels, groups, classes, seed=seed)
    return {
        **card_figures(new, labels, groups, classes, fit.thresholds, seed=seed),
        "before": {
            name: before[name] for name in ("accuracy", "balanced_accuracy", "by_photograph")
        },
        "paired": compare(new, old, labels, groups, seed=seed),
    }
