"""Small model bundles that pass every check but hold no network: for tests of the registry."""

import hashlib
from pathlib import Path

from inference.ml.bundle import (
    CARD_NAME,
    FEATURES_NAME,
    HEAD_NAME,
    MANIFEST_NAME,
    SCHEMA_VERSION,
    TFLITE_NAME,
    Card,
)
from inference.ml.preprocess import Preprocessing

CLASSES = ("lymphocyte", "neutrophil")


def make_bundle(folder: Path, version: str) -> Path:
    """Write a bundle of this version into a new folder."""
    folder.mkdir(parents=True)
    files = {}
    for name in (TFLITE_NAME, HEAD_NAME, FEATURES_NAME, MANIFEST_NAME):
        content = f"{name} of {version}".encode()
        (folder / name).write_bytes(content)
        files[name] = hashlib.sha256(content).hexdigest()
    card = Card(
        schema=SCHEMA_VERSION,
        version=version,
        created="2026-01-01T00:00:00+00:00",
        classes=CLASSES,
        preprocessing=Preprocessing(),
        finder_version="test",
        network={"backbone": "mobilenetv2", "width": 1.0, "features": 1280, "views": 1},
        unfamiliarity={"score": "cosine-knn", "neighbours": 5, "threshold": 0.1, "share": 0.02},
        temperature=1.0,
        thresholds=dict.fromkeys(CLASSES, 0.5),
        metrics={},
        dataset={},
        split={},
        training={},
        files=files,
    )
    (folder / CARD_NAME).write_text(card.to_json())
    return folder
