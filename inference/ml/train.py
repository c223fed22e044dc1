"""Train a classifier of white cells and write its bundle."""

from __future__ import annotations

import platform
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from inference.ml.augment import WIDER, centre
from inference.ml.bundle import Bundle
from inference.ml.calibrate import (
    balanced_weights,
    calibration_error,
    confidence_thresholds,
    fit_temperature,
)
from inference.ml.data import DataError, Decode, Item, Listing, count_by, cut_crops, list_items
from inference.ml.engine import softmax
from inference.ml.evaluation.figures import evaluate
from inference.ml.export import head_of, to_tflite, write_bundle
from inference.ml.fit import Part, Schedule, fine_tune, warm_up
from inference.ml.litert import FeatureNetwork
from inference.ml.network import build_classifier
from inference.ml.preprocess import Preprocessing
from inference.ml.sidecar import TRAIN, VALIDATION, ManifestRow, TrainingFeatures, kept_rows
from inference.ml.split import SIDES, Side, split_by_group
from inference.ml.unfamiliar import describe
from inference.ml.views import VIEWS
from inference.ml.writing import check_target

Stage = Literal["cut", "warm up", "train", "evaluate"]
_PARITY_CROPS = 64
_LISTED_WITHOUT_CELL = 200  # names in the card; it stays small


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run is told.

    Attributes
    ----------
    data, groups : tuple of Path
        Folders of class sub-folders; tables of source photographs.
    out : Path
        Folder of the bundle.
    weights : str or None
        Path of starting weights, ``imagenet``, or None for random ones (tests only).
    epochs, crops_per_epoch, batch : int
    learning_rate : float
        At the top of its curve.
    patience : int
        Epochs without a better validation loss before training stops.
    validation, test : float
        Shares of the source photographs.
    seed : int
    views : int
        Symmetries of the square over which the finished model averages: 1, 2, 4 or 8.
    command : str
        How the run was started, for the card.
    """

    data: tuple[Path, ...]
    out: Path
    weights: str | None
    groups: tuple[Path, ...] = ()
    epochs: int = 12
    crops_per_epoch: int = 7200
    batch: int = 32
    learning_rate: float = 3e-4
    patience: int = 8
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    views: int = 1
    command: str = ""

    def __post_init__(self) -> None:
        counts = (self.epochs, self.crops_per_epoch, self.batch, self.patience)
        if min(counts) < 1 or not self.learning_rate > 0:
            raise ValueError("Epochs, crops, batch, patience and learning rate must be positive.")
        if self.views not in VIEWS:
            raise ValueError(f"There are no {self.views} views; choose of {VIEWS}.")
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise ValueError(
                "The shares for validation and test must be above 0, together below 1."
            )


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
    keras.utils.set_random_seed(settings.seed)
    preprocessing = Preprocessing()
    listing = list_items(settings.data, settings.groups)
    # The network first: wrong weights should not be found out after minutes of cutting.
    model = build_classifier(len(listing.classes), preprocessing.size, weights=settings.weights)
    parts, without_cell = _cut_parts(listing, settings, preprocessing, report, decode)

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
        ),
        report=lambda done, total, message: report(Progress("train", done, total, message)),
    )

    report(Progress("evaluate", 0, 1))
    with _to_the_end(report):
        bundle = _evaluate_and_write(model, parts, listing, without_cell, settings, history)
    report(Progress("evaluate", 1, 1, f"Wrote {bundle.version} to {settings.out}."))
    return bundle


def _evaluate_and_write(
    model: keras.Model,
    parts: dict[Side, Part],
    listing: Listing,
    without_cell: Sequence[Item],
    settings: Settings,
    history: list[dict[str, float]],
) -> Bundle:
    preprocessing = Preprocessing()
    validation, test = parts["validation"], parts["test"]
    # The figures are those of the network that is served.
    content, head = to_tflite(model), head_of(model)
    network = FeatureNetwork(content, preprocessing, views=settings.views, threads=2)
    seen = network.features(validation.crops)
    logits = head.logits(seen)
    temperature = fit_temperature(logits, validation.labels, validation.weights)
    thresholds = confidence_thresholds(
        softmax(logits / np.float32(temperature)), validation.labels, validation.weights
    )
    test_logits = head.logits(network.features(test.crops))
    features = _features_kept(parts, network, seen)
    weights = balanced_weights(
        *(getattr(features.of_side(VALIDATION), name).tolist() for name in ("groups", "datasets"))
    )
    return write_bundle(
        model,
        settings.out,
        network={
            "backbone": "mobilenetv2",
            "width": 1.0,
            "features": network.shape[-1],
            "views": settings.views,
        },
        content=content,
        features=features,
        unfamiliarity=describe(features, weights),
        manifest=[
            ManifestRow(side, item.dataset, item.label, item.group, item.sha256)
            for side, part in parts.items()
            for item in part.items
        ],
        classes=listing.classes,
        preprocessing=preprocessing,
        temperature=temperature,
        thresholds={
            name: round(float(value), 4)
            for name, value in zip(listing.classes, thresholds, strict=True)
        },
        metrics=_metrics(
            softmax(test_logits / np.float32(temperature)), thresholds, test, listing, settings
        ),
        dataset=_dataset_card(listing, without_cell),
        split=_split_card(parts, settings),
        training=_training_card(settings, history),
        parity_crops=test.crops[:: max(1, len(test.items) // _PARITY_CROPS)],
    )


def _features_kept(
    parts: dict[Side, Part], network: FeatureNetwork, validation: NDArray[np.float32]
) -> TrainingFeatures:
    """The features that go into the bundle; those of the validation side are there already."""
    train = parts["train"]
    items = [*train.items, *parts["validation"].items]
    rows = kept_rows([item.group for item in items], [item.sha256 for item in items])
    border = len(train.items)
    of_train, of_validation = rows[rows < border], rows[rows >= border] - border
    crops = centre(train.crops[of_train], network.preprocessing.size)
    chosen = [items[row] for row in rows]
    return TrainingFeatures(
        features=np.concatenate([network.features(crops), validation[of_validation]]).astype(
            np.float16
        ),
        labels=np.concatenate(
            [train.labels[of_train], parts["validation"].labels[of_validation]]
        ).astype(np.int16),
        sides=np.repeat([TRAIN, VALIDATION], [len(of_train), len(of_validation)]).astype(np.uint8),
        groups=np.array([item.group for item in chosen]),
        datasets=np.array([item.dataset for item in chosen]),
        shas=np.array([item.sha256[:16] for item in chosen]),
    )


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
    listing: Listing,
    settings: Settings,
    preprocessing: Preprocessing,
    report: Report,
    decode: Decode,
) -> tuple[dict[Side, Part], list[Item]]:
    """Split and cut the crops, training ones wider; also the items without a cell."""
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


def _metrics(
    probabilities: np.ndarray,
    thresholds: np.ndarray,
    test: Part,
    listing: Listing,
    settings: Settings,
) -> dict[str, Any]:
    """Figures on the test side, for each data set by itself."""
    figures = {}
    for dataset in sorted({item.dataset for item in test.items}):
        of_set = np.array([item.dataset == dataset for item in test.items])
        rows, labels = probabilities[of_set], test.labels[of_set]
        groups = [item.group for item in test.items if item.dataset == dataset]
        known = dataset not in listing.groups_unknown
        predicted = rows.argmax(axis=1)
        believed = rows.max(axis=1) >= thresholds[predicted]
        right = predicted == labels
        figures[dataset] = {
            "what": "photographs never seen in training"
            if known
            else "same-laboratory figure, patients unknown",
            **evaluate(rows, labels, groups, listing.classes, seed=settings.seed),
            "calibration_error": round(calibration_error(rows, labels), 4),
            "mean_confidence": round(float(rows.max(axis=1).mean()), 4),
            "not_flagged": round(float(believed.mean()), 4),
            "wrong_among_not_flagged": round(float((~right[believed]).mean()), 4)
            if believed.any()
            else None,
        }
    return figures


def _dataset_card(listing: Listing, without_cell: Sequence[Item]) -> dict[str, Any]:
    return {
        "fingerprint": listing.fingerprint(),
        "pictures": count_by([item.stratum for item in listing.items]),
        "groups_unknown": list(listing.groups_unknown),
        "without_cell": len(without_cell),
        "without_cell_files": [
            f"{item.stratum}/{item.path.name}" for item in without_cell[:_LISTED_WITHOUT_CELL]
        ],
    }


def _split_card(parts: dict[Side, Part], settings: Settings) -> dict[str, Any]:
    def photographs(part: Part) -> dict[str, int]:
        return count_by([stratum for stratum, _ in {(i.stratum, i.group) for i in part.items}])

    return {
        "seed": settings.seed,
        "shares": {"validation": settings.validation, "test": settings.test},
        "pictures": {side: len(part.items) for side, part in parts.items()},
        "photographs": {side: photographs(part) for side, part in parts.items()},
        "test_groups": sorted(set(parts["test"].groups)),
    }


def _training_card(settings: Settings, history: list[dict[str, float]]) -> dict[str, Any]:
    told = {
        name: [str(one) for one in value] if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
        if name != "out"  # where this machine keeps the bundle is nobody else's business
    }
    return {
        **told,
        "history": history,
        "code_version": _code_version(),
        "libraries": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _code_version() -> str:
    """The commit of the checkout that trains, with ``+`` if files differ from it."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()
