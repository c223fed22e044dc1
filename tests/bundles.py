"""Small model bundles that pass every check but hold no network: for tests of the registry."""

import hashlib
from pathlib import Path

from inference.ml.bundle import CARD_NAME, SCHEMA_VERSION, TFLITE_NAME, Card
from inference.ml.preprocess import Preprocessing

CLASSES = ("lymphocyte", "neutrophil")


def make_bundle(folder: Path, version: str) -> Path:
    """Write a bundle of this version into a new folder."""
    folder.mkdir(parents=True)
    network = f"the network of {version}".encode()
    (folder / TFLITE_NAME).write_bytes(network)
    card = Card(
        schema=SCHEMA_VERSION,
        version=version,
        created="2026-01-01T00:00:00+00:00",
        classes=CLASSES,
        preprocessing=Preprocessing(),
        finder_version="test",
        outputs={"logits": "a", "features": "b"},
        temperature=1.0,
        thresholds=dict.fromkeys(CLASSES, 0.5),
        metrics={},
        dataset={},
        split={},
        training={},
        files={TFLITE_NAME: hashlib.sha256(network).hexdigest()},
    )
    (folder / CARD_NAME).write_text(card.to_json())
    return folder
