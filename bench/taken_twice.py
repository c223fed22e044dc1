"""White cells of BCCD that were photographed twice: on which sides of a bundle's split they lie,
and its figures on held-back photographs with and without those whose twin it was made with.

    python -m bench.taken_twice ../shared/data inference/bundles/default    sides and figures
    python -m bench.taken_twice ../shared/data --search                     overlapping fields
    python -m bench.taken_twice ../shared/data --table source_photographs.csv

The last writes BCCD's table of photographs with one name for both of a pair, for the next training.
The search finds fields that share a part; which of them show the same white cell was told by eye.
"""

from __future__ import annotations

import argparse
import csv
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hematovision.files.gate import decode
from inference.ml.bundle import load_bundle
from inference.ml.data import list_items
from inference.ml.evaluation.answers import Answers, answer
from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.intervals import Figure
from inference.ml.evaluation.leakage import HELD_BACK, held_back
from inference.ml.sidecar import read_manifest

DATASET = "bccd/TRAIN"
PAIRS = (
    *(("00037", "00038"), ("00205", "00276"), ("00206", "00278"), ("00225", "00262")),
    *(("00226", "00261"), ("00227", "00260"), ("00228", "00259"), ("00229", "00258")),
    *(("00231", "00256"), ("00232", "00255"), ("00233", "00254"), ("00236", "00253")),
    *(("00244", "00247"), ("00381", "00397"), ("00382", "00395"), ("00384", "00393")),
    ("00386", "00391"),
)
SEVERAL_CELLS_APART = (("00019", "00020"), ("00107", "00108"), ("00160", "00161"))
"""What the search finds as well: fields that share red cells, but no white one."""

LIKE = 50  # bits of 256 by which two points may differ
NEAR = 4  # pixels, of a shift
ENOUGH = 14  # points that agree on one shift
SIZE = (320, 240)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="folder with bccd and bccd_fields")
    parser.add_argument("bundle", type=Path, nargs="?")
    parser.add_argument("--search", action="store_true")
    parser.add_argument("--table", type=Path, help="where to write it")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    table = options.data / "bccd" / "source_photographs.csv"
    if options.search:
        search(options.data / "bccd_fields" / "JPEGImages", table)
    if options.table:
        write_table(table, options.table)
    if options.bundle:
        measure(options.data / "bccd", table, options.bundle)


def search(fields: Path, table: Path) -> None:
    """Print pairs of fields in which enough points agree on one shift."""
    with table.open() as file:
        names = sorted({row["photograph"] for row in csv.DictReader(file)})
    points = {name: described(fields / f"{name}.jpg") for name in names}
    found = {name: told for name, told in points.items() if told is not None}
    print(f"{len(found)} of {len(names)} fields are there.")
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
    for one, other in combinations(found, 2):
        (here, ours), (there, theirs) = found[one], found[other]
        alike = [pair for pair in matcher.match(ours, theirs) if pair.distance < LIKE]
        if len(alike) < ENOUGH:
            continue
        shifts = there[[p.trainIdx for p in alike]] - here[[p.queryIdx for p in alike]]
        agree = (np.abs(shifts[:, None] - shifts[None]) < NEAR).all(axis=2).sum(axis=1)
        shift = shifts[agree.argmax()]
        # Dust in the camera stays where it is.
        if agree.max() >= ENOUGH and np.abs(shift).max() > NEAR / 2:
            print(f"{one} {other}: {agree.max()} points, shifted by {shift.round()}", flush=True)


def described(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]] | None:
    """Points of a field and their descriptions; None if there is no file."""
    if not path.is_file():
        return None
    grey = cv2.cvtColor(decode(path.read_bytes()), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, SIZE, interpolation=cv2.INTER_AREA)
    detector = cv2.ORB.create(800, nlevels=6, edgeThreshold=15, patchSize=15, fastThreshold=10)
    points, descriptions = detector.detectAndCompute(small, np.full(small.shape, 255, np.uint8))
    places = np.array([point.pt for point in points], np.float32)
    return places, np.asarray(descriptions, np.uint8)


def write_table(table: Path, out: Path) -> None:
    first = {f"BloodImage_{other}": f"BloodImage_{one}" for one, other in PAIRS}
    with table.open(newline="") as file, out.open("w", newline="") as joined:
        rows = csv.DictReader(file)
        writer = csv.DictWriter(joined, rows.fieldnames or ())
        writer.writeheader()
        for row in rows:
            writer.writerow(row | {"photograph": first.get(row["photograph"], row["photograph"])})


def measure(bccd: Path, table: Path, folder: Path) -> None:
    bundle = load_bundle(folder)
    manifest = read_manifest(bundle.manifest_path)
    sides = {row.group.rpartition("_")[2]: row.side for row in manifest if row.dataset == DATASET}
    leaked = set()
    for pair in PAIRS:
        print(", ".join(f"{name} {sides[name]}" for name in pair))
        tested = [name for name in pair if sides[name] == HELD_BACK]
        if len(tested) == 1:
            leaked.update(tested)
    listing = list_items([bccd / "TRAIN"], [table])
    answers = answer(bundle, held_back(listing.items, manifest), decode=decode)
    is_leaked = [group.rpartition("_")[2] in leaked for group in answers.groups]
    tell("all that was held back", answers)
    tell("without those", answers.where([at for at, one in enumerate(is_leaked) if not one]))
    tell("those alone", answers.where([at for at, one in enumerate(is_leaked) if one]))


def tell(name: str, answers: Answers) -> None:
    figures = evaluate(
        answers.probabilities, answers.labels, answers.groups, answers.classes, seed=0
    )
    whole = figures["by_photograph"]
    print(f"{name}: {figures['images']} pictures of {figures['photographs']} photographs")
    print(f"  by picture {told(figures['accuracy'])}, macro {told(figures['balanced_accuracy'])}")
    print(f"  by photograph {whole['right']} of {whole['photographs']}, {told(whole)}")
    for label, row in figures["classes"].items():
        print(f"  recall of {label} {told(row['recall'])} ({row['photographs']} photographs)")


def told(figure: Figure) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.1%} [{low:.1%}, {high:.1%}]"


if __name__ == "__main__":
    main()
