"""Pictures that are no blood smear, and cells that no laboratory would show: made, not found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.finder import holds_middle, voc_boxes
from hematovision.files.gate import GateError, decode
from inference.ml.finder import Box
from inference.ml.preprocess import Preprocessing, crop_cell, prepare

Picture = NDArray[np.uint8]
HEIGHT, WIDTH = 240, 320
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
_WORDS = ("haemoglobin", "leucocytes", "7.4", "10^9/L", "normal", "REPORT", "Page", "mg/dl", "no")


def pictures(count: int, seed: int = 0) -> dict[str, list[Picture]]:
    """Some pictures of each kind, uint8 (240, 320, 3)."""
    kinds: dict[str, Callable[[np.random.Generator], Picture]] = {
        "textures": texture,
        "white noise": white_noise,
        "cloudy noise": cloudy_noise,
        "blank fields": blank,
        "text": text,
        "X-ray-like": x_ray,
    }
    return {
        name: [make(np.random.default_rng([seed, index])) for index in range(count)]
        for name, make in kinds.items()
    }


def texture(rng: np.random.Generator) -> Picture:
    """Stripes, checks, rings or dots of two colours."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    angle, pitch = rng.uniform(0, np.pi), rng.uniform(8, 60)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = -x * np.sin(angle) + y * np.cos(angle)
    waves = [
        np.sin(2 * np.pi * along / pitch),
        np.sign(np.sin(2 * np.pi * along / pitch) * np.sin(2 * np.pi * across / pitch)),
        np.sin(2 * np.pi * np.hypot(x - rng.uniform(0, WIDTH), y - rng.uniform(0, HEIGHT)) / pitch),
        np.sign(np.cos(2 * np.pi * along / pitch) + np.cos(2 * np.pi * across / pitch) - 1),
    ]
    share = (np.asarray(waves[rng.integers(len(waves))])[..., None] + 1) / 2
    one, other = rng.uniform(0, 255, (2, 3))
    return _to_picture(share * one + (1 - share) * other + rng.normal(0, 4, (HEIGHT, WIDTH, 3)))


def white_noise(rng: np.random.Generator) -> Picture:
    """Every pixel for itself, grey or coloured."""
    channels = rng.choice([1, 3])
    grain = rng.normal(rng.uniform(60, 200), rng.uniform(20, 80), (HEIGHT, WIDTH, channels))
    return _to_picture(np.broadcast_to(grain, (HEIGHT, WIDTH, 3)))


def cloudy_noise(rng: np.random.Generator) -> Picture:
    """Noise of many scales on top of each other, after Perlin, between two colours."""
    total = _clouds(rng)[..., None]
    one, other = rng.uniform(0, 255, (2, 3))
    return _to_picture(total * one + (1 - total) * other)


def blank(rng: np.random.Generator) -> Picture:
    """An empty, unevenly lit field with a camera's grain."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    light = 1 - rng.uniform(0, 0.4) * np.hypot(x - WIDTH / 2, y - HEIGHT / 2) / WIDTH
    grain = rng.normal(0, rng.uniform(0.5, 5), (HEIGHT, WIDTH, 3))
    return _to_picture(light[..., None] * rng.uniform(30, 255, 3) + grain)


def text(rng: np.random.Generator) -> Picture:
    """Lines of print, dark on light or light on dark."""
    paper, ink = rng.uniform(200, 255, 3), rng.uniform(0, 110, 3)
    if rng.random() < 0.3:
        paper, ink = ink, paper
    page = _to_picture(np.tile(paper, (HEIGHT, WIDTH, 1)))
    size = rng.uniform(0.4, 1.6)
    for row in np.arange(30 * size, HEIGHT, 30 * size):
        line = " ".join(rng.choice(_WORDS, 8))
        thickness = int(rng.integers(1, 4))
        at = (int(rng.integers(0, 20)), int(row))
        cv2.putText(page, line, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink.tolist(), thickness)
    return _to_picture(page + rng.normal(0, 3, page.shape))


def x_ray(rng: np.random.Generator) -> Picture:
    """Soft grey shapes and ribs on black, as of a chest."""
    grey = np.full((HEIGHT, WIDTH), rng.uniform(10, 60), np.float32)
    for _ in range(rng.integers(3, 8)):
        layer = np.zeros_like(grey)
        centre = (int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT)))
        axes = (int(rng.integers(15, 120)), int(rng.integers(15, 120)))
        cv2.ellipse(layer, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
        grey += rng.uniform(30, 110) * cv2.GaussianBlur(layer, (0, 0), rng.uniform(2, 15))
    for row in range(20, HEIGHT, int(rng.integers(20, 45))):
        layer = np.zeros_like(grey)
        cv2.ellipse(layer, (WIDTH // 2, row), (140, 30), 0, 180, 360, 1.0, 6)
        grey += 40 * cv2.GaussianBlur(layer, (0, 0), 2)
    grey += rng.normal(0, 5, grey.shape).astype(np.float32)
    return _to_picture(np.repeat(grey[..., None], 3, axis=2))


def photographs(folder: Path) -> list[Picture]:
    """The pictures of a folder that the gate lets through, at most 640 pixels wide."""
    read = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        try:
            picture = decode(path.read_bytes())
        except GateError:
            continue
        scale = min(1.0, 640 / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        if min(small.shape[:2]) >= 16:
            read.append(small.astype(np.uint8, copy=False))
    return read


def red_cells(fields: Path, parameters: Preprocessing, count: int, seed: int = 0) -> Picture:
    """Crops (N, S, S, 3) of annotated red cells far from any white one."""
    rng = np.random.default_rng(seed)
    crops: list[Picture] = []
    for path in rng.permutation(sorted((fields / "Annotations").glob("*.xml"))):
        image = decode((fields / "JPEGImages" / f"{path.stem}.jpg").read_bytes())
        white, red = voc_boxes(path, "WBC"), voc_boxes(path, "RBC")
        prepared = prepare(image, parameters)
        height, width = image.shape[:2]
        alone = [
            box
            for box in red
            if min(box.width, box.height) > 20
            and min(box.x, box.y) >= 0
            and box.x + box.width <= width
            and box.y + box.height <= height
            and not any(holds_middle(_grown(one), box) for one in white)
        ]
        few = rng.permutation(len(alone))[:3]
        crops += [crop_cell(prepared, alone[index], parameters) for index in few]
        if len(crops) >= count:
            break
    return np.stack(crops[:count])


def recoloured(crops: Picture, seed: int = 0) -> Picture:
    """Crops with their hue turned by a quarter of the circle or more."""
    rng = np.random.default_rng(seed)
    turned = []
    for crop in crops:
        colours = cv2.cvtColor(crop, cv2.COLOR_RGB2HSV)
        colours[..., 0] = (colours[..., 0].astype(int) + rng.integers(45, 136)) % 180
        turned.append(cv2.cvtColor(colours, cv2.COLOR_HSV2RGB))
    return np.stack(turned).astype(np.uint8, copy=False)


def blurred(crops: Picture, share: float = 0.08) -> Picture:
    """Crops far out of focus: Gaussian blur whose sigma is this share of the side."""
    sigma = share * crops.shape[1]
    return np.stack([cv2.GaussianBlur(crop, (0, 0), sigma) for crop in crops]).astype(np.uint8)


def middle_box(picture: Picture) -> Box:
    """A box such as a person might draw in the middle of a picture."""
    height, width = picture.shape[:2]
    side = min(height, width) // 2
    return Box((width - side) // 2, (height - side) // 2, side, side)


def _grown(box: Box) -> Box:
    """A box and as much again around it."""
    side = max(box.width, box.height)
    return Box(box.x - side, box.y - side, box.width + 2 * side, box.height + 2 * side)


def _clouds(rng: np.random.Generator) -> NDArray[np.float32]:
    """Values (H, W) of 0 to 1."""
    total = np.zeros((HEIGHT, WIDTH), np.float32)
    for octave in (3, 6, 12, 24, 48):
        grid = rng.random((octave, octave + 1)).astype(np.float32)
        total += cv2.resize(grid, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) / octave
    low, high = total.min(), total.max()
    return np.asarray(np.clip(1.6 * (total - low) / (high - low) - 0.3, 0, 1), np.float32)


def _to_picture(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
