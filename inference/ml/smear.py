"""Draw synthetic blood smears, for tests and for a first try without real pictures.

They look like smears to the finder and to a person at first glance; they are no
training data and no evidence of anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.finder import Box

Colour = tuple[int, int, int]
Kind = Literal["round", "bilobed", "segmented", "kidney"]
KINDS: tuple[Kind, ...] = ("round", "bilobed", "segmented", "kidney")
_RED_CELL_RADIUS = 22.0  # pixels at scale 1
_TRIES = 200


@dataclass(frozen=True, slots=True)
class Stain:
    """RGB colours of the empty field, red cells, nuclei, cytoplasm and platelets."""

    field: Colour
    red_cell: Colour
    nucleus: Colour
    cytoplasm: Colour
    platelet: Colour


STAINS: dict[str, Stain] = {
    "may-gruenwald": Stain(
        (252, 230, 205), (196, 158, 158), (70, 34, 104), (205, 180, 205), (140, 100, 150)
    ),
    "wright": Stain(
        (222, 222, 212), (200, 160, 148), (132, 92, 206), (198, 186, 214), (170, 140, 200)
    ),
    "giemsa": Stain(
        (226, 220, 240), (190, 170, 190), (78, 48, 140), (176, 178, 222), (140, 110, 180)
    ),
}


@dataclass(frozen=True, slots=True)
class SyntheticSmear:
    """A drawn smear: uint8 RGB (H, W, 3), and box and kind of nucleus of each white cell."""

    image: NDArray[np.uint8]
    boxes: list[Box]
    kinds: list[str]


@dataclass(frozen=True, slots=True)
class _Disc:
    x: float
    y: float
    radius: float


@dataclass(slots=True)
class _Layout:
    """Discs on a field that do not touch; `taken` (N, 3) holds x, y and radius of each."""

    width: int
    height: int
    rng: np.random.Generator
    taken: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))

    def fill(self, count: int, radii: tuple[float, float], *, inside: bool) -> list[_Disc]:
        """Put up to `count` discs where there is room, `inside` ones away from the edge."""
        first = len(self.taken)
        self.taken = np.vstack([self.taken, np.empty((count, 3))])
        filled = first
        for _ in range(count):
            radius = self.rng.uniform(*radii)
            margin = radius + 3 if inside else 0.0
            if 2 * margin >= min(self.width, self.height):
                continue
            for _ in range(_TRIES):
                x = self.rng.uniform(margin, self.width - margin)
                y = self.rng.uniform(margin, self.height - margin)
                others = self.taken[:filled]
                gaps = np.hypot(x - others[:, 0], y - others[:, 1])
                if (gaps > 1.08 * (radius + others[:, 2])).all():
                    self.taken[filled] = x, y, radius
                    filled += 1
                    break
        self.taken = self.taken[:filled]
        return [_Disc(*row) for row in self.taken[first:].tolist()]


def make_smear(
    seed: int,
    *,
    width: int = 640,
    height: int = 480,
    white_cells: int = 3,
    stain: str = "may-gruenwald",
    scale: float = 1.0,
) -> SyntheticSmear:
    """Draw a field of red cells, platelets and white cells that do not touch each other.

    Parameters
    ----------
    seed : int
        The same seed draws the same smear.
    width, height : int
    white_cells : int
        The least that fit are drawn; `boxes` says how many.
    stain : str
        A key of `STAINS`.
    scale : float
        1 draws red cells 44 pixels across.

    Raises
    ------
    ValueError
        If the stain is unknown, the scale not positive or the picture under 16 x 16.
    """
    if stain not in STAINS:
        raise ValueError(f"There is no stain {stain!r}; there are {', '.join(STAINS)}.")
    if scale <= 0 or min(width, height) < 16 or white_cells < 0:
        raise ValueError("A smear needs a positive scale and at least 16x16 pixels.")
    rng = np.random.default_rng(seed)
    colours = STAINS[stain]
    unit = _RED_CELL_RADIUS * scale
    image = np.full((height, width, 3), colours.field, np.uint8)

    layout = _Layout(width, height, rng)
    white = layout.fill(white_cells, (1.35 * unit, 1.75 * unit), inside=True)
    layered = replace(layout)  # platelets may lie on red cells, but not on white ones
    reds = int(0.45 * width * height / (math.pi * unit**2))
    red = layout.fill(reds, (0.9 * unit, 1.1 * unit), inside=False)
    platelets = layered.fill(1 + len(red) // 8, (0.18 * unit, 0.3 * unit), inside=True)

    for cell in red:
        _draw_red_cell(image, cell, colours, rng)
    for cell in platelets:
        _blob(image, cell, colours.platelet, rng)
    kinds = [str(rng.choice(KINDS)) for _ in white]
    for cell, kind in zip(white, kinds, strict=True):
        _draw_white_cell(image, cell, kind, colours, rng)

    soft = cv2.GaussianBlur(image, (0, 0), max(0.5, 0.8 * scale)).astype(np.float32)
    noisy = soft + rng.normal(0, 2.5, image.shape).astype(np.float32)
    boxes = [_box(cell, width, height) for cell in white]
    return SyntheticSmear(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), boxes, kinds)


def _draw_red_cell(
    image: NDArray[np.uint8], cell: _Disc, colours: Stain, rng: np.random.Generator
) -> None:
    _blob(image, cell, colours.red_cell, rng)
    pale = tuple(
        round(0.55 * r + 0.45 * f) for r, f in zip(colours.red_cell, colours.field, strict=True)
    )
    _blob(image, _Disc(cell.x, cell.y, 0.4 * cell.radius), pale, rng)


def _draw_white_cell(
    image: NDArray[np.uint8], cell: _Disc, kind: str, colours: Stain, rng: np.random.Generator
) -> None:
    before = image.copy()
    _blob(image, cell, colours.cytoplasm, rng)
    turn = rng.uniform(0, 2 * math.pi)

    def lobe(distance: float, angle: float, radius: float) -> None:
        x = cell.x + distance * cell.radius * math.cos(turn + angle)
        y = cell.y + distance * cell.radius * math.sin(turn + angle)
        _blob(image, _Disc(x, y, radius * cell.radius), colours.nucleus, rng)

    if kind == "round":
        lobe(0.08, 0, 0.78)
    elif kind == "bilobed":
        lobe(0.36, 0, 0.42)
        lobe(0.36, math.pi, 0.42)
    elif kind == "segmented":
        for angle in (0.0, 1.3, 2.6, 3.9):
            lobe(0.45, angle, 0.34)
    else:  # a kidney is an arc of overlapping lobes
        for angle in np.linspace(-1.2, 1.2, 7):
            lobe(0.38, float(angle), 0.42)
    _roughen(image, (image != before).any(axis=2), cell.radius, rng)


def _roughen(
    image: NDArray[np.uint8], where: NDArray[np.bool_], radius: float, rng: np.random.Generator
) -> None:
    """Clump the chromatin and grain the cytoplasm: no camera shows discs of one colour."""
    height, width = where.shape

    def noise(step: float) -> NDArray[np.float32]:
        shape = math.ceil(height / step) + 1, math.ceil(width / step) + 1
        coarse = rng.normal(0, 1, shape).astype(np.float32)
        wide = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return wide.astype(np.float32, copy=False)

    darkness = 1 - image[..., 1].astype(np.float32) / 255
    clumps = 25 * noise(max(2, 0.16 * radius)) * darkness
    grain = 4 * noise(max(1, 0.06 * radius))
    change = clumps[..., None] * (1.0, 1.1, 0.6) + grain[..., None] * (0.6, 1.0, 0.8)
    rough = np.clip(image + change * where[..., None], 0, 255)
    image[...] = rough.astype(np.uint8)


def _blob(
    image: NDArray[np.uint8], disc: _Disc, colour: tuple[int, ...], rng: np.random.Generator
) -> None:
    """Fill a disc that is a little out of round and a little off its colour."""
    axes = disc.radius * rng.uniform(0.94, 1.06), disc.radius * rng.uniform(0.94, 1.06)
    tint = tuple(int(np.clip(value + rng.integers(-6, 7), 0, 255)) for value in colour)
    centre = (disc.x, disc.y), (2 * axes[0], 2 * axes[1]), float(rng.uniform(0, 180))
    cv2.ellipse(image, centre, tint, -1, cv2.LINE_AA)


def _box(cell: _Disc, width: int, height: int) -> Box:
    left = max(0, math.floor(cell.x - cell.radius))
    top = max(0, math.floor(cell.y - cell.radius))
    right = min(width, math.ceil(cell.x + cell.radius))
    bottom = min(height, math.ceil(cell.y + cell.radius))
    return Box(left, top, right - left, bottom - top)
