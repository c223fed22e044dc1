"""Plain measures of a picture: is it sharp, well exposed, and of a stained smear at all?

They need no model and say nothing about the cells, only whether it is worth taking the
picture again. All are measured on a copy of some 320 pixels, so that large pictures cost
little, and in units of the picture itself (its field's brightness, its red cells'
radius), so that neither the magnification nor the size of the picture matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.ml.finder import background_colour, nucleus_mask, red_cell_radius

BLURRED = "blurred"
TOO_DARK = "too_dark"
TOO_BRIGHT = "too_bright"
UNUSUAL_COLOUR = "unusual_colour"

# Each is crossed by less than 1 % of the pictures of docs/model/quality.md.
MOST_BLUR = 0.18
LEAST_BRIGHTNESS = 110.0
MOST_CLIPPED = 0.85  # one stop too much clips the empty field only, two clip red cells, too
LEAST_CHROMA = 0.15
MOST_FOREIGN = 0.1
MOST_UNEVEN = 0.035
MOST_CAST = 1.8

_SIDE = 320  # of the copy that is measured
_CLEAR_RADIUS = 10.0  # a red cell must measure so much on it for its edges to be judged,
_WANTED_RADIUS = 16.0  # and is brought to about this where the picture allows
_LAST_SHARE = 1 / 32  # of the picture's side that is looked at in search of such red cells
_REACH = 0.45  # how far from an edge its contrast is looked for, in radii
_EDGE_SHARE = 5  # of the pixels near edges, in percent: those on the steepest slopes
_EDGE_CONTRAST = 0.12  # of the field's green: less is texture, noise or a cell's shade
_SMOOTHING = 1.0  # sigma in pixels, against noise
_OWN_VARIANCE = 1.5  # that this smoothing and the slope's own filter add to an edge's
_BLACK = 40  # a missing corner of a rotated picture is darker, and so is a dark picture
_WHITE = 250
_STAINED = 0.3  # optical density, all channels together
_STAIN_HUES = (-100.0, 85.0)  # degrees: what red cells, cytoplasm and nuclei absorb


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured.

    Attributes
    ----------
    blur : float or None
        Width (sigma) of the sharper edges of cells, in radii of a red cell; None where no
        cell has an edge.
    brightness : float
        Of the brighter tenth, 0 to 255.
    clipped : float
        Share of pixels that are white in every channel.
    chroma : float or None
        How much the colours of stained things differ from grey, as a share of what they
        absorb; None where nothing is stained.
    foreign : float or None
        Share of that colour in hues that no Romanowsky stain has; None likewise.
    uneven : float
        How much the empty field's colour varies, as optical density.
    cast : float
        The field's strongest channel over its weakest.
    """

    blur: float | None
    brightness: float
    clipped: float
    chroma: float | None
    foreign: float | None
    uneven: float
    cast: float

    @property
    def flags(self) -> tuple[str, ...]:
        """``blurred``, ``too_dark``, ``too_bright``, ``unusual_colour``: what is wrong."""
        found = {
            BLURRED: self.blur is not None and self.blur > MOST_BLUR,
            TOO_DARK: self.brightness < LEAST_BRIGHTNESS,
            TOO_BRIGHT: self.clipped > MOST_CLIPPED,
            UNUSUAL_COLOUR: (self.chroma is not None and self.chroma < LEAST_CHROMA)
            or (self.foreign is not None and self.foreign > MOST_FOREIGN)
            or self.uneven > MOST_UNEVEN
            or self.cast > MOST_CAST,
        }
        return tuple(flag for flag, is_so in found.items() if is_so)


def measure_quality(image: NDArray[np.uint8]) -> Quality:
    """Measure a picture.

    Parameters
    ----------
    image : uint8 array of shape (H, W, 3)
        RGB, at least 16 x 16.

    Returns
    -------
    Quality

    Raises
    ------
    ValueError
        If the image is no such picture.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError("Quality is measured on an RGB picture: uint8, (height, width, 3).")
    if min(image.shape[:2]) < 16:
        height, width = image.shape[:2]
        raise ValueError(f"The picture is {width}x{height} pixels; quality needs 16x16.")
    copy = _copy(image)
    field = background_colour(copy)
    sample = np.ascontiguousarray(copy[::3, ::3])
    brightness = float(np.percentile(cv2.cvtColor(sample, cv2.COLOR_RGB2GRAY), 90))
    lit = sample[~_black(sample)]
    if len(lit) < 16:  # as good as black: nothing else can be said
        return Quality(None, brightness, 0.0, None, None, 0.0, 1.0)
    chroma, foreign = _stain(lit, field)
    return Quality(
        blur=_blur(image, copy, field),
        brightness=brightness,
        clipped=float((lit >= _WHITE).all(axis=1).mean()),
        chroma=chroma,
        foreign=foreign,
        uneven=_unevenness(lit, field),
        cast=float(field.max() / field.min()),
    )


def _black(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return cv2.inRange(image, (0, 0, 0), (_BLACK, _BLACK, _BLACK)).astype(bool)


def _copy(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture at its working size; of large ones only some pixels are read at all."""
    longest = max(image.shape[:2])
    step = longest // (2 * _SIDE)
    if step > 1:
        image, longest = image[::step, ::step], -(-longest // step)
    factor = _SIDE / longest
    if factor >= 1:
        return image
    height, width = image.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _middle(image: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """The middle of a picture, this share of it high and wide."""
    height, width = image.shape[:2]
    top, left = round(height * (1 - share) / 2), round(width * (1 - share) / 2)
    return image[top : height - top, left : width - left]


def _blur(
    image: NDArray[np.uint8], copy: NDArray[np.uint8], field: NDArray[np.float32]
) -> float | None:
    """Sigma of the sharper edges, in radii of a red cell.

    Where the copy shows red cells too small, the middle of the picture is looked at more
    closely, as long as the picture has more pixels to show.
    """
    share = 1.0
    while True:
        small = _half(copy)
        nuclei = nucleus_mask(small, field)
        radius = red_cell_radius(small[..., 1], float(field[1]), nuclei, quantile=0.5)
        radius *= copy.shape[1] / small.shape[1]
        height, width = share * image.shape[0], share * image.shape[1]
        large = max(height, width) > 1.5 * _SIDE and min(height, width) > _SIDE / 4
        if radius >= _CLEAR_RADIUS or not large or share < _LAST_SHARE:
            return _edge_width(copy, float(field[1]), radius) if radius else None
        share *= radius / _WANTED_RADIUS if radius else 1 / 4
        copy = _copy(_middle(image, share))


def _half(copy: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A red cell's size is known well enough from a quarter of the pixels, if they are many."""
    height, width = copy.shape[:2]
    if max(height, width) < 0.75 * _SIDE:
        return copy
    size = max(1, width // 2), max(1, height // 2)
    half = cv2.resize(copy, size, interpolation=cv2.INTER_AREA)
    return half.astype(np.uint8, copy=False)


def _edge_width(copy: NDArray[np.uint8], field: float, radius: float) -> float | None:
    """Contrast over slope of the steepest edges, as the sigma of a blurred step.

    A step of height h blurred by a Gaussian has the slope h / (sigma sqrt(2 pi)) in its
    middle (after Marziliano et al., "A no-reference perceptual blur metric", ICIP 2002,
    who measure an edge's width between its ends).
    """
    # Smeared rims of missing corners are no edges of cells.
    reach = max(2, round(_REACH * radius))
    around = 2 * reach + 1
    rim = np.ones((around + 8, around + 8), np.uint8)
    away = cv2.dilate(_black(copy).astype(np.uint8), rim) == 0

    green = cv2.GaussianBlur(copy[..., 1], (0, 0), _SMOOTHING)
    window = np.ones((around, around), np.uint8)
    contrast = cv2.subtract(cv2.dilate(green, window), cv2.erode(green, window))
    near_edge = (away & (contrast > _EDGE_CONTRAST * field))[::2]  # half of them tell as much
    if np.count_nonzero(near_edge) < 50:
        return None
    slope = cv2.magnitude(
        cv2.Sobel(green, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(green, cv2.CV_32F, 0, 1, scale=1 / 8),
    )[::2][near_edge]
    steepest = slope >= np.percentile(slope, 100 - _EDGE_SHARE)
    width = np.median(contrast[::2][near_edge][steepest] / np.maximum(slope[steepest], 0.1))
    variance = float(width) ** 2 / (2 * math.pi) - _OWN_VARIANCE
    return math.sqrt(max(0.0, variance)) / radius


def _density(pixels: NDArray[np.uint8], field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Optical density of pixels (N, 3) against the field."""
    levels = np.maximum(np.arange(256, dtype=np.float32), 12)[:, None]
    table = np.log(field / levels)
    return np.stack([table[pixels[:, channel], channel] for channel in range(3)], axis=1)


def _stain(lit: NDArray[np.uint8], field: NDArray[np.float32]) -> tuple[float | None, float | None]:
    """Chroma of what is stained, and the share of it in foreign hues.

    Densities are taken apart into how much is absorbed and in which hue: 0 degrees absorbs
    green most (eosin), 60 red (azure, methylene blue), -60 blue (haemoglobin); what
    absorbs green least has hues near 180.
    """
    density = _density(lit, field).clip(0)
    total = density.sum(axis=1)
    stained = total > _STAINED
    if np.count_nonzero(stained) < 50:
        return None, None
    red, green, blue = density[stained].T
    across, up = red - blue, (2 * green - red - blue) / math.sqrt(3)
    chroma = np.hypot(across, up)
    hue = np.degrees(np.arctan2(across, up))
    outside = (hue < _STAIN_HUES[0]) | (hue > _STAIN_HUES[1])
    coloured = max(float(chroma.sum()), 1e-6)
    return coloured / float(total[stained].sum()), float(chroma[outside].sum()) / coloured


def _unevenness(lit: NDArray[np.uint8], field: NDArray[np.float32]) -> float:
    """How far the colours of the brighter quarter lie from their common one.

    Between cells there is glass and light, of one colour; a photograph has no such field.
    """
    green = lit[:, 1]
    density = _density(lit[green >= np.percentile(green, 75)], field)
    colour = density - density.mean(axis=1, keepdims=True)
    return float(np.abs(colour).max(axis=1).mean())
