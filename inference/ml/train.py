"""Train a classifier of white cells and write its bundle."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras

from inference.ml.bundle import Bundle, load_bundle
from inference.ml.checkpoint import CHECKPOINT_NAME, COPIES, Checkpoint, claim
from inference.ml.cutting import bytes_of, cut_parts
from inference.ml.data import Decode, Listing, count_by, relabelled
from inference.ml.disk import check_room, full_disk_told
from inference.ml.finder import FINDER_VERSION
from inference.ml.finish import code_version, finish
from inference.ml.fit import Schedule, fine_tune, warm_up
from inference.ml.progress import Progress, Report, Stop, cancelled, go_on
from inference.ml.settings import Settings
from inference.ml.sidecar import MOST
from inference.ml.sides import Dealt, deal, manifests_of
from inference.ml.start import known_head, starting_network
from inference.ml.writing import check_target

_NUMBER = 4  # bytes


def train(
    settings: Settings,
    listing: Listing,
    report: Report = lambda _: None,
    *,
    decode: Decode,
    folder: Path | None = None,
    stop: Stop = go_on,
) -> Bundle:
    """Train, evaluate and write a bundle.

    Parameters
    ----------
    settings : Settings
    listing : Listing
        From `list_items` or `make_listing`.
    report : callable
        Told about every step.
    decode : callable
        From a file's bytes to its pixels, as serving does it.
    folder : Path, optional
        The run's own: for crops and, after each epoch, a checkpoint. Another call with the
        same settings and the same listing, in the same order, goes on after the last whole
        epoch. It is left as it is in the end. Without one, a temporary folder takes its place.
    stop : callable
        Asked at every step until the fine-tuning ends.

    Raises
    ------
    BundleError, DataError, WeightsError, ExportError
        With a sentence that says what is wrong.
    Cancelled
        If it was stopped and nothing is to be kept, or before there was anything to keep.
    """
    check_target(settings.out)  # not after the training
    code = code_version()
    keras.utils.set_random_seed(settings.seed)
    start = load_bundle(settings.start) if settings.start else None
    listing = relabelled(listing, settings.class_map)
    dealt = deal(listing, settings, manifests_of(settings.earlier))
    listing = replace(listing, items=dealt.items)
    with full_disk_told(), _run_folder(folder) as run:
        claim(run, _what(settings, dealt, start))
        checkpoint = run / CHECKPOINT_NAME
        begun = Checkpoint.load(checkpoint) is not None

        def check() -> None:
            wish = stop()
            if wish == "cancel" or (wish and not begun):  # nothing is there that could be finished
                cancelled()

        # The network first: wrong weights should not be found out after minutes of cutting.
        model = starting_network(settings, listing.classes, start, empty=begun)
        _check_room(run, settings, dealt, model)
        _tell_data(listing, dealt, start, report)
        parts, without_cell = cut_parts(
            dealt, listing, settings.preprocessing, run, decode=decode, report=report, check=check
        )
        report(Progress("warm up", 0, 1))
        if not begun:
            prior = known_head(start, listing.classes) if start else None
            warm_up(
                model,
                parts["train"],
                settings.preprocessing,
                settings.seed,
                how=settings.warm_up,
                prior=prior,
            )
        check()
        report(Progress("warm up", 1, 1))
        history = fine_tune(
            model,
            parts["train"],
            parts["validation"],
            settings.preprocessing,
            schedule=_schedule(settings),
            report=report,
            stop=stop,
            checkpoint=checkpoint,
        )
        report(Progress("evaluate", 0, 1))
        bundle = finish(model, parts, listing, without_cell, settings, history, code, start)
    report(Progress("evaluate", 1, 1, f"Wrote {bundle.version}."))
    return bundle


def _schedule(settings: Settings) -> Schedule:
    return Schedule(
        epochs=settings.epochs,
        crops_per_epoch=settings.crops_per_epoch,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        patience=settings.patience,
        seed=settings.seed,
        label_smoothing=settings.label_smoothing,
        augmentation=settings.augmentation,
        balance=settings.balance,
    )


@contextmanager
def _run_folder(folder: Path | None) -> Iterator[Path]:
    if folder is not None:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="hematovision-training-") as temporary:
        yield Path(temporary)


def _what(settings: Settings, dealt: Dealt, start: Bundle | None) -> dict[str, Any]:
    """All that decides how a run goes, wherever its files lie."""
    told = asdict(settings)
    for name in ("out", "command", "licences", "start", "keep_sides_of"):
        del told[name]
    return {
        "settings": told,
        "pictures": [
            [item.sha256, str(item.box), item.dataset, item.label, item.group, side]
            for item, side in zip(dealt.items, dealt.sides, strict=True)
        ],
        "model to start from": start and start.sha256,
        "finder": FINDER_VERSION,
    }


def _check_room(run: Path, settings: Settings, dealt: Dealt, model: keras.Model) -> None:
    """Whether crops, two checkpoints (the next is written beside the last) and a bundle fit."""
    network = _NUMBER * model.count_params()
    there = sum(path.stat().st_size for path in run.iterdir() if path.suffix in (".npy", ".npz"))
    crops = bytes_of(dealt, settings.preprocessing)
    features = min(MOST, len(dealt.items)) * model.get_layer("pooled").output.shape[-1] * 2
    check_room(
        {
            run: max(0, crops + 2 * COPIES * network - there),
            settings.out.parent: 2 * network + features,
        }
    )


def _tell_data(listing: Listing, dealt: Dealt, start: Bundle | None, report: Report) -> None:
    total = len(listing.items)
    counts = count_by([item.label for item in listing.items])
    told = ", ".join(f"{label} {count}" for label, count in counts.items())
    lines = [f"{total} pictures of {len(counts)} classes: {told}."]
    lines += [
        f"WARNING: groups unknown for {dataset}: every file counts as its own photograph. "
        "If several files show one cell, one photograph or one patient, its figures flatter."
        for dataset in listing.groups_unknown
    ]
    if start and not start.training_known:
        lines.append(
            f"WARNING: nothing is known of the pictures that {start.version} was trained with. "
            "If it has seen those of the test side, the figures flatter."
        )
    if dealt.kept:
        lines.append(f"{dealt.kept} photographs keep the side that they had in earlier models.")
    if dealt.not_tested:
        lines.append(
            f"{dealt.not_tested} photographs that are said to be for testing are not tested with: "
            "an earlier model was trained on them."
        )
    for line in lines:
        report(Progress("cut", 0, total, line))
