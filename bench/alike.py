"""How well copies of a picture are found, and how long the search takes.

    python -m bench.alike ../shared/data               everything, as it is
    python -m bench.alike ../shared/data --every 10    a tenth of it

Pairs: of BCCD's files every photograph is known, so each pair that is named is right or wrong by
that table; PBC's files pass for independent, so each pair that is named is listed, to be looked at.
Copies: every fortieth picture, changed on purpose; the share that is found again. The search is
timed on looks of these pictures with noise, so that some are plausible and few are near.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.datasets.alike import FEW_BITS, NEAR, PLAUSIBLE, near_pairs
from inference.ml.datasets.facts import measure
from inference.ml.datasets.look import Looks

Picture = NDArray[np.uint8]


def turned(image: Picture, angle: float) -> Picture:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    return cv2.warpAffine(image, matrix, (width, height)).astype(np.uint8, copy=False)


def saved(image: Picture, quality: int) -> Picture:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return decode(file.getvalue())


def without_edge(image: Picture, share: float) -> Picture:
    """Shifted: a part of the left and upper edge is missing."""
    height, width = image.shape[:2]
    return np.ascontiguousarray(image[round(share * height) :, round(share * width) :])


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "flipped": lambda image: np.ascontiguousarray(image[:, ::-1]),
    "turned by 90 degrees": lambda image: np.ascontiguousarray(np.rot90(image)),
    "turned by 5 degrees": lambda image: turned(image, 5),
    "turned by 20 degrees": lambda image: turned(image, 20),
    "shifted by 5 %": lambda image: without_edge(image, 0.05),
    "shifted by 10 %": lambda image: without_edge(image, 0.1),
    "saved as JPEG of quality 60": lambda image: saved(image, 60),
    "at half size": lambda image: cv2.resize(
        image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    ).astype(np.uint8, copy=False),
    "brighter by 15 %": lambda image: np.clip(image * 1.15, 0, 255).astype(np.uint8),
}


def look(path: Path) -> str:
    return measure(decode(path.read_bytes())).look


def looks_of(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(look, paths))


def print_known(data: Path, paths: Sequence[Path], looks: Sequence[str]) -> None:
    """Pairs among files whose photographs are known."""
    with (data / "source_photographs.csv").open() as file:
        photographs = {row["file"]: row["photograph"] for row in csv.DictReader(file)}
    groups = [photographs[path.relative_to(data).as_posix()] for path in paths]
    found = near_pairs(looks).pairs
    right = sum(groups[a] == groups[b] for a, b in found)
    all_pairs = sum(n * (n - 1) // 2 for n in Counter(groups).values())
    others = Counter(tuple(sorted((groups[a], groups[b]))) for a, b in found)
    print(f"{data.name}: {len(paths):,} files, {len(found):,} pairs named")
    print(f"  of one photograph by the table: {right:,}, {right / max(1, len(found)):.2%} of them,")
    print(f"  {right / all_pairs:.1%} of all such pairs")
    print(f"  files with a copy found: {len(np.unique(found)) / len(paths):.1%}")
    for (one, other), count in others.most_common():
        if one != other:
            print(f"  {count:5} pairs of {one} and {other}")


def print_unknown(name: str, paths: Sequence[Path], looks: Sequence[str]) -> None:
    found = near_pairs(looks)
    print(f"{name}: {len(paths):,} files, {len(found.pairs)} pairs named")
    for (a, b), likeness in zip(found.pairs, found.likeness, strict=True):
        print(f"  {likeness:.3f} {paths[a].name} {paths[b].name}")


def print_changes(name: str, paths: Sequence[Path], looks: Sequence[str]) -> None:
    print(f"{name}, changed on purpose{'':14}rings   whole    either")
    for change, make in CHANGES.items():
        copies = [measure(make(decode(path.read_bytes()))).look for path in paths]
        both = [(one, other) for one, other in zip(looks, copies, strict=True) if one and other]
        first, second = (Looks(list(side)) for side in zip(*both, strict=True))
        likeness = (first.rings * second.rings).sum(axis=1)
        together = Looks([*(one for one, _ in both), *(other for _, other in both)])
        places = np.arange(len(both))
        bits = together.apart(places, places + len(both))
        rings, whole = likeness >= NEAR, (likeness >= PLAUSIBLE) & (bits <= FEW_BITS)
        shares = [np.count_nonzero(which) / len(paths) for which in (rings, whole, rings | whole)]
        print(f"  {change:32}" + "".join(f"{share:8.0%}" for share in shares))


def print_times(looks: Sequence[str], counts: Sequence[int]) -> None:
    rng = np.random.default_rng(0)
    raw = np.stack([np.frombuffer(base64.b64decode(look), np.int8) for look in looks if look])
    for count in counts:
        rows = raw[rng.integers(0, len(raw), count)].astype(np.int16)
        rows += rng.integers(-9, 10, rows.shape, np.int16)
        noisy = [
            base64.b64encode(row.tobytes()).decode() for row in rows.clip(-127, 127).astype(np.int8)
        ]
        start = time.perf_counter()
        found = near_pairs(noisy)
        took = time.perf_counter() - start
        print(f"{count:8,} pictures: {took:6.1f} s, {len(found.pairs):,} pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="folder with bccd and pbc")
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture only")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    bccd, pbc = options.data / "bccd", options.data / "pbc"
    known = sorted(bccd.glob("TRAIN/*/*.jpeg"))[:: options.every]
    unknown = sorted(pbc.glob("*/*.jpg"))[:: options.every]
    known_looks, unknown_looks = looks_of(known), looks_of(unknown)
    print_known(bccd, known, known_looks)
    print_unknown("pbc", unknown, unknown_looks)
    for name, paths, looks in (("bccd", known, known_looks), ("pbc", unknown, unknown_looks)):
        print_changes(name, paths[::40], looks[::40])
    print_times(unknown_looks, (10_000, 100_000))


if __name__ == "__main__":
    main()
