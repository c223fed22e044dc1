"""How well the finder finds: recall and false boxes on fields, one box on single cells.

    python -m bench.finder ../shared/data            everything, at three scales
    python -m bench.finder ../shared/data --every 5  a fifth of it

A box is right if its middle lies in an annotated box of a white cell that no other
box has claimed. The fields' annotations miss some white cells, most of them cut off by
the edge; boxes around those count as false here.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from hematovision.files.gate import decode
from inference.ml.data import PLATELET
from inference.ml.finder import FINDER_VERSION, Box, find_cells

SCALES = (1.0, 0.5, 2.0)


@dataclass(frozen=True, slots=True)
class FieldScore:
    """Annotated white cells of a field, how many were found, and boxes too many."""

    name: str
    annotated: int
    found: int
    false: int


def score_field(task: tuple[Path, float]) -> FieldScore:
    """Compare what is found in an annotated field with its boxes."""
    annotation, scale = task
    picture = annotation.parent.parent / "JPEGImages" / f"{annotation.stem}.jpg"
    unclaimed = voc_boxes(annotation, "WBC", scale)
    annotated, false = len(unclaimed), 0
    for cell in find_cells(resized(decode(picture.read_bytes()), scale)):
        match = next((box for box in unclaimed if holds_middle(box, cell.box)), None)
        if match is None:
            false += 1
        else:
            unclaimed.remove(match)
    return FieldScore(annotation.stem, annotated, annotated - len(unclaimed), false)


def count_cells(task: tuple[Path, float]) -> int:
    """Boxes in a picture of a single cell."""
    path, scale = task
    return len(find_cells(resized(decode(path.read_bytes()), scale)))


def voc_boxes(annotation: Path, name: str, scale: float = 1.0) -> list[Box]:
    """Boxes of this name in a Pascal VOC file, e.g. of white cells, ``WBC``."""
    boxes = []
    for entry in ElementTree.parse(annotation).getroot().iter("object"):  # noqa: S314  one's own files
        if entry.findtext("name") != name:
            continue
        left, top, right, bottom = (
            round(scale * float(entry.findtext(f"bndbox/{side}", "0")))
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
        boxes.append(Box(left, top, right - left, bottom - top))
    return boxes


def holds_middle(outer: Box, inner: Box) -> bool:
    """Whether the middle of one box lies in another."""
    x, y = inner.x + inner.width / 2, inner.y + inner.height / 2
    return outer.x <= x <= outer.x + outer.width and outer.y <= y <= outer.y + outer.height


def resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    if scale == 1:
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    result = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
    return result.astype(np.uint8, copy=False)


def summary(scores: Iterable[FieldScore]) -> str:
    scores = list(scores)
    annotated = sum(score.annotated for score in scores)
    found = sum(score.found for score in scores)
    false = sum(score.false for score in scores)
    return (
        f"{len(scores)} fields: {found} of {annotated} white cells ({found / annotated:.4f}), "
        f"{false} boxes without annotation ({false / len(scores):.4f} per field)"
    )


def milliseconds(path: Path, repeats: int = 50) -> float:
    """Median time of finding in one picture on one core."""
    image = decode(path.read_bytes())
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        find_cells(image)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="folder with bccd_fields, bccd and pbc")
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture only")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    fields = sorted((options.data / "bccd_fields" / "Annotations").glob("*.xml"))[:: options.every]
    folders = sorted((options.data / "bccd" / "TRAIN").glob("*/")) + sorted(
        (options.data / "pbc").glob("*/")
    )
    singles = {folder: sorted(folder.glob("*.jp*g"))[:: options.every] for folder in folders}
    example = next(iter(singles.values()))[0]
    print(f"finder {FINDER_VERSION}; {milliseconds(example):.1f} ms for {example.name}")
    with Pool() as pool:
        for scale in SCALES:
            print(f"\nscale {scale:g}")
            scores = pool.map(score_field, [(path, scale) for path in fields], 8)
            print("  " + summary(scores))
            odd = [score.name for score in scores if score.found < score.annotated or score.false]
            print("  not as annotated: " + " ".join(odd))
            for dataset in ("TRAIN", "pbc"):
                total = one = 0
                for folder in folders:
                    if folder.parent.name != dataset:
                        continue
                    tasks = [(path, scale) for path in singles[folder]]
                    counts = np.array(pool.map(count_cells, tasks, 16))
                    shares = [float((counts == n).mean()) for n in (0, 1)]
                    print(
                        f"  {dataset + '/' + folder.name:20} {len(counts):5} pictures: "
                        f"none {shares[0]:.4f}, one {shares[1]:.4f}, more "
                        f"{max(0.0, 1 - sum(shares)):.4f}"
                    )
                    if folder.name != PLATELET:
                        total, one = total + len(counts), one + int((counts == 1).sum())
                print(f"  {dataset}: exactly one box in {one} of {total} ({one / total:.4f})")


if __name__ == "__main__":
    main()
