"""A bundle with a real but tiny, untrained network: for what needs a ``model.keras``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from inference.ml.bundle import Bundle
from inference.ml.data import Item
from inference.ml.preprocess import Preprocessing
from inference.ml.sidecar import TRAIN, VALIDATION, ManifestRow, TrainingFeatures
from inference.ml.unfamiliar import entry

SIZE = 32


def write_tiny_bundle(folder: Path, items: Sequence[Item], sides: Sequence[str]) -> Bundle:
    """Write a bundle whose manifest puts these pictures on these sides."""
    from inference.ml.export import to_tflite, write_bundle
    from inference.ml.network import build_classifier

    classes = tuple(sorted({item.label for item in items}))
    model = build_classifier(len(classes), SIZE, weights=None, width=0.35)
    rng = np.random.default_rng(0)
    # An untrained last layer answers nearly alike to everything: make it tell crops apart.
    kernel, bias = model.get_layer("logits").get_weights()
    model.get_layer("logits").set_weights([40 * kernel, bias])
    features = TrainingFeatures(
        features=rng.random((8, 1280)).astype(np.float16),
        labels=np.zeros(8, np.int16),
        sides=np.repeat([TRAIN, VALIDATION], 4).astype(np.uint8),
        groups=np.array([f"g{at}" for at in range(8)]),
        datasets=np.full(8, "made/up"),
        shas=np.array([f"{at:016}" for at in range(8)]),
    )
    return write_bundle(
        model,
        folder,
        network={"backbone": "mobilenetv2", "width": 0.35, "features": 1280, "views": 2},
        content=to_tflite(model),
        features=features,
        unfamiliarity=entry(0.5),
        manifest=[
            ManifestRow(side, item.dataset, item.label, item.group, item.sha256)
            for item, side in zip(items, sides, strict=True)
        ],
        classes=classes,
        preprocessing=Preprocessing(size=SIZE),
        temperature=1.5,
        thresholds=dict.fromkeys(classes, 0.5),
        metrics={},
        dataset={},
        split={},
        training={},
        parity_crops=rng.integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8),
    )
