"""Draw synthetic blood smears, for tests and for a first try without real pictures.

They look like smears to the finder and to a person at first glance; they are no
training data and no evidence of anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
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

    white: list[_Disc] = []
    for _ in range(white_cells):
        radius = unit * rng.uniform(1.35, 1.75)
        place = _free_place(rng, radius, white, width, height, inside=True)
        if place is not None:
            white.append(place)
    red: list[_Disc] = []
    for _ in range(int(0.45 * width * height / (math.pi * unit**2))):
        radius = unit * rng.uniform(0.9, 1.1)
        place = _free_place(rng, radius, white + red, width, height, inside=False)
        if place is not None:
            red.append(place)

    for cell in red:
        _draw_red_cell(image, cell, colours, rng)
    for _ in range(max(1, len(red) // 8)):
        radius = unit * rng.uniform(0.18, 0.3)
        place = _free_place(rng, radius, white, width, height, inside=True)
        if place is not None:
            _blob(image, place, colours.platelet, rng)
    kinds = [str(rng.choice(KINDS)) for _ in white]
    for cell, kind in zip(white, kinds, strict=True):
        _draw_white_cell(image, cell, kind, colours, rng)

    soft = cv2.GaussianBlur(image, (0, 0), max(0.5, 0.8 * scale)).astype(np.float32)
    noisy = soft + rng.normal(0, 2.5, image.shape).astype(np.float32)
    boxes = [_box(cell, width, height) for cell in white]
    return SyntheticSmear(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), boxes, kinds)


def _free_place(
    rng: np.random.Generator,
    radius: float,
    taken: list[_Disc],
    width: int,
    height: int,
    *,
    inside: bool,
) -> _Disc | None:
    """A random place away from all others, or None if none turns up."""
    margin = radius + 3 if inside else 0
    if 2 * margin >= min(width, height):
        return None
    for _ in range(_TRIES):
        x, y = rng.uniform(margin, width - margin), rng.uniform(margin, height - margin)
        if all(math.hypot(x - o.x, y - o.y) > 1.08 * (radius + o.radius) for o in taken):
            return _Disc(float(x), float(y), float(radius))
    return None


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
