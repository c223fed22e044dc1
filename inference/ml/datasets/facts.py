"""What is measured of each picture of a dataset, in the one pass that decodes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """A picture in figures.

    Attributes
    ----------
    width, height : int
        Pixels, upright.
    grey : bool
        Whether it has no colour.
    intensity : float
        Mean grey value, 0 to 255; black corners do not count.
    rgb, lab : tuple of 3 floats
        Mean colour likewise, 0 to 255 and CIE L*a*b*.
    histogram : tuple of 32 ints
        Grey values, in shares of 1/10,000.
    black : float
        Share of the pixels along the border that are black.
    corners : int
        Corners cut off by a black triangle, as rotation leaves them, 0 to 4.
    sharpness : float
        Standard deviation of the Laplacian, on a copy of at most 320 pixels.
    cells : int
        White cells that the finder found.
    box : tuple of 4 ints or None
        x, y, width and height of the main one.
    cell_share : float
        Its box' area over the picture's; 0 without one.
    look : str
        Perceptual hash, 16 hexadecimal digits; "" where there is nothing to see. See `alike`.
    palette : str
        Hash of the colours, hexadecimal. See `copies`.
    """

    width: int
    height: int
    grey: bool
    intensity: float
    rgb: tuple[float, float, float]
    lab: tuple[float, float, float]
    histogram: tuple[int, ...]
    black: float
    corners: int
    sharpness: float
    cells: int
    box: tuple[int, int, int, int] | None
    cell_share: float
    look: str
    palette: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        raise NotImplementedError

    @classmethod
    def from_dict(cls, row: dict[str, Any]) -> PictureFacts:
        raise NotImplementedError


def measure(image: NDArray[np.uint8], *, smallest: float) -> PictureFacts:
    """Measure a picture.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
        RGB, at least 16 x 16.
    smallest : float
        For the finder: `SMALLEST_PLATELET` where the label is a platelet, else `SMALLEST_CELL`.
    """
    raise NotImplementedError
