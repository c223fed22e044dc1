"""The gate that every picture from outside passes, be it uploaded or part of a dataset.

What comes through is a JPEG, PNG, TIFF or BMP that decodes to the end, within the limits on bytes
and pixels. Everything else is refused with a sentence for the person who sent it.
"""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from threading import BoundedSemaphore
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

FORMATS = ("JPEG", "PNG", "TIFF", "BMP")
LARGE_PIXELS = 8_000_000
MINIMUM_SIDE = 32  # pixels: smaller than any cell at any magnification in use

# The gate's own limit on pixels is checked before decoding and explains itself; Pillow's would
# only get in its way where a site allows larger pictures.
Image.MAX_IMAGE_PIXELS = None

_GREY_16_BIT = {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
_KNOWN_STRANGERS = {
    b"MZ": "a Windows program",
    b"\x7fELF": "a program",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive or an Office document",
    b"GIF8": "a GIF picture",
    b"<svg": "an SVG drawing",
    b"<?xml": "an XML document",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
}


_one_at_a_time = BoundedSemaphore(1)


class GateError(ValueError):
    """The picture was refused; the text is a sentence that says why and what to do."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What is known of a picture that has passed: sizes in pixels, upright."""

    sha256: str
    format: str
    width: int
    height: int
    size: int


def inspect(data: bytes, *, max_bytes: int, max_pixels: int) -> Inspected:
    """Check a picture's bytes against every rule of the gate.

    Raises:
        GateError: the picture is refused.
    """
    with _checked(data, max_bytes=max_bytes, max_pixels=max_pixels) as (inspected, _):
        return inspected


def inspect_and_decode(
    data: bytes, *, max_bytes: int, max_pixels: int
) -> tuple[Inspected, NDArray[np.uint8]]:
    """`inspect` and `decode` in one, which decodes once: for many pictures in a row."""
    import numpy as np

    with _checked(data, max_bytes=max_bytes, max_pixels=max_pixels) as (inspected, image):
        ImageOps.exif_transpose(image, in_place=True)
        return inspected, np.asarray(_on_white(image))


@contextmanager
def _checked(
    data: bytes, *, max_bytes: int, max_pixels: int
) -> Iterator[tuple[Inspected, Image.Image]]:
    """What is known of a picture that has passed, and the picture, decoded but not yet upright."""
    if not data:
        raise GateError("The file is empty (0 bytes). Copy it from the microscope again.")
    if len(data) > max_bytes:
        raise GateError(
            f"The file is larger than {max_bytes // 2**20} MB. "
            "Save it as JPEG, or crop it to the field of interest."
        )
    with _open(data) as image:
        _check_header(image, max_pixels=max_pixels)
        width, height = image.size
        with large_ones_alone(width * height):
            _load(image)
            if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # EXIF: lying on its side
                width, height = height, width
            kind = "JPEG" if image.format == "MPO" else str(image.format)
            sha256 = hashlib.sha256(data).hexdigest()
            yield Inspected(sha256, kind, width, height, len(data)), image


def check_header(data: bytes, *, max_pixels: int) -> int:
    """Check what can be known before decoding and return the number of pixels.

    Raises:
        GateError: the picture is refused.
    """
    with _open(data) as image:
        _check_header(image, max_pixels=max_pixels)
        return image.width * image.height


def _check_header(image: Image.Image, *, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise GateError(
            f"The picture has {width * height / 1e6:.0f} megapixels; "
            f"at most {max_pixels / 1e6:.0f} are allowed. Crop it to the field of interest."
        )
    if min(width, height) < MINIMUM_SIDE:
        raise GateError(f"The picture is only {width}x{height} pixels: too small to show a cell.")
    _refuse_mode(image)
    _refuse_several_frames(image)


def open_upright(data: bytes, *, side: int | None = None) -> Image.Image:
    """Decode a picture to 8-bit RGB, upright by its EXIF orientation, transparency on white.

    With ``side`` it is reduced so that no side is longer, and as early as can be: a large picture
    then costs a fraction of its memory.

    Raises:
        GateError: the bytes cannot be decoded.
    """
    with _open(data) as image:
        _refuse_mode(image)
        if side is not None:
            image.draft("RGB", (side, side))  # JPEG decodes at a half, a quarter or an eighth
        _load(image)
        ImageOps.exif_transpose(image, in_place=True)
        if side is not None and image.mode not in ("P", "1"):
            image.thumbnail((side, side))
        upright = _on_white(image)
    if side is not None:
        upright.thumbnail((side, side))
    return upright


def _on_white(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    layered = image.convert("RGBA")
    white = Image.new("RGB", layered.size, "white")
    white.paste(layered, mask=layered.getchannel("A"))
    return white


@contextmanager
def large_ones_alone(pixels: int) -> Iterator[None]:
    """Let one large picture at a time be decoded in this process, to bound its memory."""
    with _one_at_a_time if pixels > LARGE_PIXELS else nullcontext():
        yield


def decode(data: bytes) -> NDArray[np.uint8]:
    """Decode a picture to an array (height, width, 3) of uint8, RGB. Raises as `open_upright`."""
    import numpy as np  # here, so that pages which show no picture do not carry it in memory

    return np.asarray(open_upright(data))


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise GateError(_say_what_it_is(data)) from None
    except Exception as error:  # Pillow's plugins raise whatever a broken header leads them to
        raise GateError(_BROKEN) from error


_BROKEN = (
    "The picture is damaged or ends too early. "
    "Copy it from the microscope again, or export it once more."
)


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:  # as above: OSError, SyntaxError, struct.error, ValueError, ...
        raise GateError(_BROKEN) from error


def _say_what_it_is(data: bytes) -> str:
    start = data[:64].lstrip()
    for magic, name in _KNOWN_STRANGERS.items():
        if start.startswith(magic):
            return f"This is {name}, whatever its name says. Send JPEG, PNG, TIFF or BMP."
    if data.startswith((b"\xff\xd8\xff", b"\x89PNG", b"II*\x00", b"MM\x00*", b"BM")):
        return _BROKEN
    return "This is not a picture that can be read. Send JPEG, PNG, TIFF or BMP."


def _refuse_mode(image: Image.Image) -> None:
    if image.mode in ("CMYK", "LAB", "HSV"):
        raise GateError(
            f"The colours are in {image.mode}, made for print: the stain's hue would be wrong. "
            "Export the picture in RGB."
        )
    if image.mode in _GREY_16_BIT:
        raise GateError(
            "The picture is grey with 16 bits or more, as from a fluorescence camera. "
            "A stained smear is needed in colour: export it as 8-bit RGB."
        )


def _refuse_several_frames(image: Image.Image) -> None:
    if image.format == "MPO":
        return  # a phone's photograph: what follows the first frame is a preview or a depth map
    try:
        image.seek(1)
    except EOFError:
        return
    except Exception as error:
        raise GateError(_BROKEN) from error
    raise GateError(
        "The file holds several pictures (an animation or pages). Save each as a file of its own."
    )
