"""Measure one epoch of fine-tuning: time, memory, and what making the batches takes of it.

python -m bench.training ../shared/data/bccd/TRAIN --weights FILE
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from hematovision.files.gate import decode
from inference.ml.augment import centre
from inference.ml.cutting import parameters_of
from inference.ml.data import cut_crops, list_items
from inference.ml.fit import Part, Schedule, batches, fine_tune
from inference.ml.network import build_classifier
from inference.ml.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder of class sub-folders")
    parser.add_argument("--weights", help="ImageNet weights of MobileNetV2; random without")
    told = parser.parse_args()
    defaults = Settings(out=Path(), weights=told.weights)
    parameters = defaults.preprocessing
    wide = parameters_of("train", parameters)
    listing = list_items([told.data])
    start = time.perf_counter()
    crops, kept = cut_crops(listing.items, wide, decode=decode)
    cut = time.perf_counter() - start
    items = [listing.items[at] for at in kept]
    labels = np.array([listing.classes.index(item.label) for item in items])
    part = Part(crops, labels, items)
    small = Part(centre(crops[:64], parameters.size), labels[:64], items[:64])
    schedule = Schedule(
        epochs=1,
        crops_per_epoch=len(items),
        batch=defaults.batch,
        learning_rate=defaults.learning_rate,
        patience=1,
        seed=0,
        augmentation=defaults.augmentation,
    )
    start = time.perf_counter()
    made = sum(len(inputs) for inputs, *_ in batches(part, parameters, schedule, 1))
    alone = time.perf_counter() - start
    model = build_classifier(len(listing.classes), parameters.size, weights=told.weights)
    start = time.perf_counter()
    fine_tune(model, part, small, parameters, schedule=schedule)
    epoch = time.perf_counter() - start
    print(f"| one epoch of {made} crops, {parameters.size} pixels | |")
    print("| --- | --- |")
    print(f"| cutting them, once | {cut:.0f} s |")
    print(f"| making the augmented batches alone, one thread | {alone:.0f} s |")
    print(f"| training, batches made beside it | {epoch:.0f} s, {made / epoch:.0f} crops/s |")
    print(
        f"| memory at most | {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GB |"
    )


if __name__ == "__main__":
    main()
