"""How often each quality flag is raised: on good pictures, on spoilt ones and on what is no smear.

    python -m bench.quality ../shared/data                         everything, as it is
    python -m bench.quality ../shared/data --photographs FOLDER    and photographs of anything
    python -m bench.quality ../shared/data --every 10              a tenth of it

Spoilt pictures are made of every twentieth one: blurred by shares of a red cell's radius,
exposed by stops in linear light, in grey, in another colour; noise and text are drawn.
Photographs are taken whole and in parts of 320 x 240.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pool
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from hematovision.files.gate import GateError, decode
from inference.ml.finder import find_cells
from inference.ml.quality import (
    BLURRED,
    TOO_BRIGHT,
    TOO_DARK,
    UNUSUAL_COLOUR,
    Quality,
    measure_quality,
)

Image = NDArray[np.uint8]
FLAGS = (BLURRED, TOO_DARK, TOO_BRIGHT, UNUSUAL_COLOUR)
RADII = {"TRAIN": 21.0, "pbc": 32.0, "JPEGImages": 42.0}  # of a red cell, in pixels (median)
SPOILT = 20  # every so manieth picture is spoilt
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"}


def blurred(image: Image, sigma: float) -> Image:
    return cv2.GaussianBlur(image, (0, 0), sigma).astype(np.uint8, copy=False)


def exposed(image: Image, stops: float) -> Image:
    """Longer or shorter by stops: sRGB to linear light, times 2 ** stops, and back."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    linear = (linear * 2.0**stops).clip(0, 1)
    back = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return cv2.LUT(image, np.rint(255 * back).astype(np.uint8)).astype(np.uint8, copy=False)


def grey(image: Image) -> Image:
    return np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


def exchanged(image: Image) -> Image:
    """Red and green exchanged: purple becomes blue-green."""
    return np.ascontiguousarray(image[..., [1, 0, 2]])


def scaled(image: Image, factor: float) -> Image:
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation).astype(
        np.uint8, copy=False
    )


def spoilt(image: Image, radius: float) -> Iterator[tuple[str, Image]]:
    for share in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0):
        yield f"blurred by {share:g} radii", blurred(image, share * radius)
    for stops in (-3, -2, -1, 1, 2, 3):
        yield f"{stops:+d} stops", exposed(image, stops)
    yield "grey", grey(image)
    yield "red and green exchanged", exchanged(image)
    yield "at half scale", scaled(image, 0.5)
    yield "at double scale", scaled(image, 2)


def nonsense() -> Iterator[tuple[str, Image]]:
    """Noise, text and empty fields."""
    rng = np.random.default_rng(20261120)
    for _ in range(100):
        yield "coloured noise", rng.integers(0, 256, (240, 320, 3), np.uint8)
        yield "grey noise", grey(rng.integers(0, 256, (240, 320, 3), np.uint8))
        paper = np.full((240, 320, 3), rng.integers(225, 256), np.uint8)
        ink = tuple(int(level) for level in rng.integers(0, 120, 3))
        for line in range(7):
            words = "".join(chr(letter) for letter in rng.integers(97, 123, 18))
            cv2.putText(paper, words, (8, 30 + 32 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.8, ink, 2)
        yield "text, ink of any colour", paper
        field = rng.normal(rng.integers(190, 240, 3), 2.0, (240, 320, 3))
        yield "empty field", field.clip(0, 255).astype(np.uint8)


def parts(image: Image) -> Iterator[Image]:
    """The picture and, of a larger one, its parts of 320 x 240 side by side."""
    yield image
    height, width = image.shape[:2]
    if height >= 480 or width >= 640:
        for top in range(0, height - 239, 240):
            for left in range(0, width - 319, 320):
                yield np.ascontiguousarray(image[top : top + 240, left : left + 320])


def measured(path: Path) -> Quality:
    return measure_quality(decode(path.read_bytes()))


def measured_spoilt(path: Path) -> list[tuple[str, Quality]]:
    image = decode(path.read_bytes())
    radius = next(value for name, value in RADII.items() if name in path.parts)
    return [(name, measure_quality(copy)) for name, copy in spoilt(image, radius)]


def measured_photograph(path: Path) -> list[tuple[bool, Quality]]:
    """Of each part, whether the finder finds a cell in it, and its quality."""
    try:
        image = decode(path.read_bytes())
    except GateError:
        return []
    return [(bool(find_cells(part)), measure_quality(part)) for part in parts(image)]


def print_row(name: str, qualities: Sequence[Quality]) -> None:
    raised = Counter(flag for quality in qualities for flag in quality.flags)
    any_share = sum(bool(quality.flags) for quality in qualities) / len(qualities)
    shares = "".join(f"{raised[flag] / len(qualities):15.2%}" for flag in FLAGS)
    print(f"{name:28}{len(qualities):7}{shares}{any_share:10.2%}")


def print_no_smear(name: str, found: Sequence[tuple[bool, Quality]]) -> None:
    """A row for pictures of something else, and one for those in which a "cell" was found."""
    print_row(name, [quality for _, quality in found])
    with_cells = [quality for has_cells, quality in found if has_cells]
    if with_cells:
        print_row("  those with a “cell”", with_cells)


def print_head(name: str) -> None:
    print(f"\n{name:28}{'':7}" + "".join(f"{flag:>15}" for flag in FLAGS) + f"{'any':>10}")


def print_measures(name: str, qualities: Sequence[Quality]) -> None:
    """Where the measures of good pictures lie: 1st, 50th and 99th percentile."""
    print(f"{name}:")
    for measure in Quality.__dataclass_fields__:
        values = [value for q in qualities if (value := getattr(q, measure)) is not None]
        low, middle, high = np.percentile(values, [1, 50, 99])
        print(f"  {measure:12}{low:10.3f}{middle:10.3f}{high:10.3f}{len(values):8} measured")


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Median time on the processor, which other programs do not lengthen much."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        call()
        times.append(time.thread_time() - start)
    return 1e3 * float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path, help="folder with bccd, pbc and bccd_fields")
    parser.add_argument("--photographs", type=Path, help="folder with photographs of anything")
    parser.add_argument("--every", type=int, default=1, help="take every n-th picture only")
    options = parser.parse_args()
    cv2.setNumThreads(1)

    folders = {
        name: sorted(p for p in (options.data / name).rglob("*") if p.suffix.lower() in SUFFIXES)
        for name in ("bccd/TRAIN", "pbc", "bccd_fields/JPEGImages")
    }
    sets = {name: paths[:: options.every] for name, paths in folders.items()}
    example = decode(sets["bccd/TRAIN"][0].read_bytes())
    large = np.ascontiguousarray(cv2.resize(example, (8192, 6144))).astype(np.uint8, copy=False)
    print(
        f"{milliseconds(lambda: measure_quality(example), 100):.1f} ms for 320x240, "
        f"{milliseconds(lambda: measure_quality(large), 7):.1f} ms for 50 megapixels"
    )
    with Pool(initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        good = {name: pool.map(measured, paths, 16) for name, paths in sets.items()}
        print_head("as they are")
        for name, qualities in good.items():
            print_row(name, qualities)
        for name, qualities in good.items():
            print_measures(name, qualities)
        for name, paths in sets.items():
            results = pool.map(measured_spoilt, paths[::SPOILT], 4)
            print_head(f"{name}, spoilt")
            for row in zip(*results, strict=True):
                print_row(row[0][0], [quality for _, quality in row])
        print_head("no smear")
        drawn: dict[str, list[tuple[bool, Quality]]] = {}
        for name, image in nonsense():
            part = bool(find_cells(image)), measure_quality(image)
            drawn.setdefault(name, []).append(part)
        for name, found in drawn.items():
            print_no_smear(name, found)
        if options.photographs:
            paths = sorted(p for p in options.photographs.rglob("*") if p.suffix in SUFFIXES)
            found = [part for result in pool.map(measured_photograph, paths) for part in result]
            print_no_smear("photographs", found)


if __name__ == "__main__":
    main()
