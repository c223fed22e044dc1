"""From a trained network to a bundle: calibrate, measure, describe and write it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from inference.ml.augment import centre
from inference.ml.bundle import Bundle, load_bundle
from inference.ml.calibrate import (
    balanced_weights,
    confidence_thresholds,
    fit_temperature,
    temperature_note,
)
from inference.ml.data import Item, Listing, count_by
from inference.ml.engine import softmax
from inference.ml.evaluation.summary import card_figures
from inference.ml.export import head_of, to_tflite, write_bundle
from inference.ml.fit import Part
from inference.ml.litert import FeatureNetwork
from inference.ml.settings import Settings
from inference.ml.sidecar import (
    TRAIN,
    VALIDATION,
    ManifestRow,
    TrainingFeatures,
    kept_rows,
    training_rows,
)
from inference.ml.split import Side
from inference.ml.unfamiliar import describe

_PARITY_CROPS = 64
_LISTED_WITHOUT_CELL = 200  # names in the card; it stays small


def finish(
    model: keras.Model,
    parts: dict[Side, Part],
    listing: Listing,
    without_cell: Sequence[Item],
    settings: Settings,
    history: list[dict[str, float]],
    code_version: str,
    start: Bundle | None = None,
) -> Bundle:
    """Calibrate and measure a trained network, and write its bundle to `settings.out`.

    Parameters
    ----------
    model : keras.Model
    parts : dict
        The three sides of the split; the training side's crops are wider.
    listing : Listing
    without_cell : sequence of Item
        Left out, since the finder found nothing in them.
    settings : Settings
    history : list of dict
        Losses by epoch.
    code_version : str
        From `code_version`, asked before training: the checkout may move on meanwhile.
    start : Bundle or None
        What training went on from.

    Raises
    ------
    ExportError
        If LiteRT answers differently from Keras, or the folder holds something else.
    """
    preprocessing = settings.preprocessing
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
            "backbone": settings.backbone,
            "width": settings.width,
            "features": network.shape[-1],
            "views": settings.views,
        },
        content=content,
        features=features,
        unfamiliarity=describe(features, weights),
        manifest=_manifest(parts, start),
        classes=listing.classes,
        preprocessing=preprocessing,
        temperature=temperature,
        thresholds={
            name: round(float(value), 6)
            for name, value in zip(listing.classes, thresholds, strict=True)
        },
        metrics=_metrics(
            softmax(test_logits / np.float32(temperature)), thresholds, test, listing, settings
        ),
        dataset=_dataset_card(listing, without_cell, settings, start),
        split=_split_card(parts, settings),
        training=_training_card(settings, history, code_version, start)
        | temperature_note(temperature),
        parity_crops=test.crops[:: max(1, len(test.items) // _PARITY_CROPS)],
    )


def _manifest(parts: dict[Side, Part], start: Bundle | None) -> list[ManifestRow]:
    """The pictures of all sides, and those that the network had seen before it came here."""
    rows = [
        ManifestRow(side, item.dataset, item.label, item.group, item.sha256)
        for side, part in parts.items()
        for item in part.items
    ]
    here = {row.sha256 for row in rows}
    before = training_rows(start) if start else []
    return rows + [row for row in before if row.sha256 not in here]


def _features_kept(
    parts: dict[Side, Part], network: FeatureNetwork, validation: NDArray[np.float32]
) -> TrainingFeatures:
    """The features that go into the bundle; those of the validation side are there already."""
    train = parts["train"]
    items = [*train.items, *parts["validation"].items]
    rows = kept_rows(
        [item.group for item in items],
        [item.label for item in items],
        [item.sha256 for item in items],
    )
    border = len(train.items)
    of_train, of_validation = rows[rows < border], rows[rows >= border] - border
    chosen = [items[row] for row in rows]
    seen = [
        # One by one: together they would be half a gigabyte.
        network.features(centre(train.crops[row : row + 1], network.preprocessing.size))
        for row in of_train
    ]
    return TrainingFeatures(
        features=np.concatenate([*seen, validation[of_validation]]).astype(np.float16),
        labels=np.concatenate(
            [train.labels[of_train], parts["validation"].labels[of_validation]]
        ).astype(np.int16),
        sides=np.repeat([TRAIN, VALIDATION], [len(of_train), len(of_validation)]).astype(np.uint8),
        groups=np.array([item.group for item in chosen]),
        datasets=np.array([item.dataset for item in chosen]),
        shas=np.array([item.sha256[:16] for item in chosen]),
    )


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
        figures[dataset] = {
            "what": "photographs never seen in training"
            if known
            else "same-laboratory figure, patients unknown",
            **card_figures(rows, labels, groups, listing.classes, thresholds, seed=settings.seed),
        }
    return figures


def _dataset_card(
    listing: Listing, without_cell: Sequence[Item], settings: Settings, start: Bundle | None
) -> dict[str, Any]:
    inherited = start.card.dataset.get("licences", {}) if start else {}
    return {
        "fingerprint": listing.fingerprint(),
        "pictures": count_by([item.stratum for item in listing.items]),
        "groups_unknown": list(listing.groups_unknown),
        "licences": inherited | dict(settings.licences),
        "without_cell": len(without_cell),
        "without_cell_files": [
            f"{item.dataset}: {item.shown}" for item in without_cell[:_LISTED_WITHOUT_CELL]
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
        "sides_kept_of": [load_bundle(folder).version for folder in settings.earlier],
        "test_groups": sorted(set(parts["test"].groups)),
    }


def _training_card(
    settings: Settings,
    history: list[dict[str, float]],
    code_version: str,
    start: Bundle | None,
) -> dict[str, Any]:
    told = {
        name: [str(one) for one in value] if isinstance(value, tuple) else value
        for name, value in asdict(settings).items()
        # Where this machine keeps its bundles is nobody else's business.
        if name not in ("out", "licences", "start", "keep_sides_of")
    }
    return {
        **told,
        **({"started_from": _lineage(start)} if start else {}),
        "history": history,
        "code_version": code_version,
        "libraries": {
            "python": platform.python_version(),
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
    }


def _lineage(start: Bundle) -> dict[str, Any]:
    """What was gone on from, and whether all is known that its network has seen."""
    known = start.training_known
    before = start.card.training.get("started_from", {}).get("training_known", True)
    return {
        "version": start.version,
        "sha256": start.sha256,
        "training_known": bool(known and before),
    }


def code_version() -> str:
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
