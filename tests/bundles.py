"""Small model bundles that answer, by the average colour of a crop: for tests of the registry."""

import dataclasses
import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from inference.ml.bundle import (
    CARD_NAME,
    FEATURES_NAME,
    HEAD_NAME,
    KERAS_NAME,
    MANIFEST_NAME,
    SCHEMA_VERSION,
    TFLITE_NAME,
    Card,
)
from inference.ml.preprocess import Preprocessing
from inference.ml.sidecar import (
    TRAIN,
    VALIDATION,
    Head,
    ManifestRow,
    TrainingFeatures,
    write_manifest,
)

CLASSES = ("lymphocyte", "neutrophil")
TINY = Path(__file__).parent / "data" / "tiny.tflite"
"""Averages over 32 x 32 pixels of a crop of 128: 4 x 4 places, 3 colours in -1 to 1. Made with
Keras' ``AveragePooling2D(32)`` and ``tf.lite.TFLiteConverter``."""


def make_bundle(
    folder: Path,
    version: str,
    *,
    classes: tuple[str, ...] = CLASSES,
    kernel: np.ndarray | None = None,
    manifest: tuple[ManifestRow, ...] = (),
    **card: Any,
) -> Path:
    """Write a bundle of this version into a new folder; ``card`` replaces entries of its card."""
    folder.mkdir(parents=True)
    (folder / TFLITE_NAME).write_bytes(TINY.read_bytes())
    if kernel is None:
        kernel = np.random.default_rng(0).normal(size=(3, len(classes)))
    Head(kernel.astype(np.float32), np.zeros(kernel.shape[1], np.float32)).save(folder / HEAD_NAME)
    names = np.array([f"{version}-{n}" for n in range(8)])
    TrainingFeatures(
        features=np.random.default_rng(1).normal(size=(8, 3)).astype(np.float16),
        labels=np.zeros(8, np.int16),
        sides=np.array([TRAIN, VALIDATION] * 4, np.uint8),
        groups=names,
        datasets=names,
        shas=names,
    ).save(folder / FEATURES_NAME)
    write_manifest(folder / MANIFEST_NAME, manifest)
    entries: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "version": version,
        "created": "2026-01-01T00:00:00+00:00",
        "classes": classes,
        "preprocessing": Preprocessing(),
        "finder_version": "test",
        "network": {"backbone": "mobilenetv2", "width": 1.0, "features": 3, "views": 1},
        "unfamiliarity": {
            "score": "cosine-knn",
            "neighbours": 5,
            "threshold": 0.1,
            "share": 0.02,
        },
        "temperature": 1.0,
        "thresholds": dict.fromkeys(classes, 0.5),
        "metrics": {},
        "dataset": {},
        "split": {},
        "training": {},
        "files": {},
    }
    described = Card(**(entries | card))
    write_card(folder, described)
    return folder


def make_contrary(folder: Path, version: str) -> Path:
    """The bundle that ships, without what training goes on from, made to answer otherwise."""
    shutil.copytree(settings.MODEL_BUNDLE, folder, ignore=shutil.ignore_patterns(KERAS_NAME))
    head = Head.load(folder / HEAD_NAME)
    Head(-head.kernel, -head.bias).save(folder / HEAD_NAME)
    card = Card.from_json((folder / CARD_NAME).read_text())
    del card.files[KERAS_NAME]
    write_card(folder, dataclasses.replace(card, version=version))
    return folder


def with_hashes_of_today(folder: Path) -> Path:
    """Have the card of a bundle describe the files that lie beside it now."""
    write_card(folder, Card.from_json((folder / CARD_NAME).read_text()))
    return folder


def write_card(folder: Path, card: Card) -> None:
    """Write a card with the hashes of the files that are there."""
    names = (TFLITE_NAME, HEAD_NAME, FEATURES_NAME, MANIFEST_NAME)
    hashes = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    card.files.update(hashes)
    (folder / CARD_NAME).write_text(card.to_json())
