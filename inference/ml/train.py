"""Train a classifier of white cells and write its bundle."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import keras
import numpy as np

from inference.ml.augment import WIDER
from inference.ml.bundle import Bundle
from inference.ml.data import DataError, Decode, Item, Listing, count_by, cut_crops, list_items
from inference.ml.finish import code_version, finish
from inference.ml.fit import Part, Schedule, fine_tune, warm_up
from inference.ml.network import build_classifier
from inference.ml.settings import Settings
from inference.ml.split import SIDES, Side, split_by_group
from inference.ml.writing import check_target

Stage = Literal["cut", "warm up", "train", "evaluate"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: `done` of `total` steps of a stage, and a line if there is news."""

    stage: Stage
    done: int
    total: int
    message: str = ""


Report = Callable[[Progress], None]


def train(settings: Settings, report: Report = lambda _: None, *, decode: Decode) -> Bundle:
    """Train, evaluate and write a bundle.

    Parameters
    ----------
    settings : Settings
    report : callable
        Told about every step. KeyboardInterrupt, whether from it or from a person,
        ends the fine-tuning; the best epoch so far is evaluated and written, which
        a second one does not interrupt.
    decode : callable
        From a file's bytes to its pixels, as serving does it.

    Raises
    ------
    DataError, WeightsError, ExportError
        With a sentence that says what is wrong.
    KeyboardInterrupt
        If stopped before fine-tuning begins.
    """
    check_target(settings.out)  # not after the training
    code = code_version()
    keras.utils.set_random_seed(settings.seed)
    preprocessing = settings.preprocessing
    listing = list_items(settings.data, settings.groups)
    if len(listing.classes) < 2:
        raise DataError("There must be folders of at least two classes.")
    # The network first: wrong weights should not be found out after minutes of cutting.
    model = build_classifier(
        len(listing.classes),
        preprocessing.size,
        weights=settings.weights,
        backbone=settings.backbone,
        width=settings.width,
        adapt_norm=settings.adapt_norm,
    )
    parts, without_cell = _cut_parts(listing, settings, report, decode)

    report(Progress("warm up", 0, 1))
    warm_up(model, parts["train"], preprocessing, settings.seed)
    report(Progress("warm up", 1, 1))
    history = fine_tune(
        model,
        parts["train"],
        parts["validation"],
        preprocessing,
        schedule=Schedule(
            epochs=settings.epochs,
            crops_per_epoch=settings.crops_per_epoch,
            batch=settings.batch,
            learning_rate=settings.learning_rate,
            patience=settings.patience,
            seed=settings.seed,
            label_smoothing=settings.label_smoothing,
            augmentation=settings.augmentation,
        ),
        report=lambda done, total, message: report(Progress("train", done, total, message)),
    )

    report(Progress("evaluate", 0, 1))
    with _to_the_end(report):
        bundle = finish(model, parts, listing, without_cell, settings, history, code)
    report(Progress("evaluate", 1, 1, f"Wrote {bundle.version} to {settings.out}."))
    return bundle


@contextmanager
def _to_the_end(report: Report) -> Iterator[None]:
    """Let Ctrl-C not lose what was trained, in the minute that writing it takes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def patience(*_: object) -> None:
        report(Progress("evaluate", 0, 1, "Finishing: the best epoch is being written."))

    before = signal.signal(signal.SIGINT, patience)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _cut_parts(
    listing: Listing, settings: Settings, report: Report, decode: Decode
) -> tuple[dict[Side, Part], list[Item]]:
    """Split and cut the crops, training ones wider; also the items without a cell."""
    preprocessing = settings.preprocessing
    total, done = len(listing.items), 0
    counts = count_by([item.label for item in listing.items])
    told = ", ".join(f"{label} {count}" for label, count in counts.items())
    report(Progress("cut", 0, total, f"{total} pictures of {len(counts)} classes: {told}."))
    for dataset in listing.groups_unknown:
        warning = (
            f"WARNING: groups unknown for {dataset}: every file counts as its own photograph. "
            "If several files show one cell, one photograph or one patient, its figures flatter."
        )
        report(Progress("cut", 0, total, warning))

    def advance() -> None:
        nonlocal done
        done += 1
        report(Progress("cut", done, total))

    wide = replace(
        preprocessing,
        size=round(preprocessing.size * WIDER),
        context=preprocessing.context * WIDER,
    )
    sides = split_by_group(
        [item.group for item in listing.items],
        [item.stratum for item in listing.items],
        validation=settings.validation,
        test=settings.test,
        seed=settings.seed,
    )
    parts: dict[Side, Part] = {}
    without_cell: list[Item] = []
    for side in SIDES:
        items = [item for item, its in zip(listing.items, sides, strict=True) if its == side]
        parameters = wide if side == "train" else preprocessing
        crops, kept = cut_crops(items, parameters, decode=decode, advance=advance)
        if not kept:
            raise DataError(f"No cell is left for the {side} side. Give more pictures.")
        found = [items[position] for position in kept]
        labels = np.array([listing.classes.index(item.label) for item in found])
        parts[side] = Part(crops, labels, found)
        without_cell += [items[at] for at in sorted(set(range(len(items))) - set(kept))]
    gone = set(listing.classes) - {item.label for item in parts["train"].items}
    if gone:
        raise DataError(f"The training side has no cell of {', '.join(sorted(gone))}.")
    for side in ("validation", "test"):
        untested = set(listing.classes) - {item.label for item in parts[side].items}
        if untested:
            warning = f"WARNING: the {side} side has no cell of {', '.join(sorted(untested))}."
            report(Progress("cut", total, total, warning))
    lines = [f"No cell was found in {len(without_cell)} of {total} pictures; they are left out."]
    lines += [f"  {item.path}" for item in without_cell]
    report(Progress("cut", total, total, "\n".join(lines)))
    return parts, without_cell
