"""What the gate lets through, and the sentence with which it refuses the rest."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hematovision.files.gate import GateError, Inspected, decode, inspect, open_upright
from tests.factories import encoded, picture

pytestmark = pytest.mark.unit

MAX_BYTES, MAX_PIXELS = 2**20, 1_000_000


def passes(data: bytes) -> Inspected:
    return inspect(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)


def refusal(data: bytes) -> str:
    with pytest.raises(GateError) as refused:
        passes(data)
    return str(refused.value)


def bmp_of(width: int, height: int) -> bytes:
    """A header that promises many pixels, and no pixels."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def png_bomb(width: int, height: int) -> bytes:
    """A PNG of some KB that would decode to ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    rows = zlib.compress(b"\0" * 1000)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_the_four_formats_pass(kind: str) -> None:
    assert passes(picture(64, 48, format=kind)) == passes(picture(64, 48, format=kind))
    found = passes(picture(64, 48, format=kind))
    assert (found.format, found.width, found.height) == (kind, 64, 48)
    assert decode(picture(64, 48, format=kind)).shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"MZ\x90\0" * 100, "a Windows program"),
        (b"\x7fELF" + b"\0" * 100, "a program"),
        (b"%PDF-1.7 ...", "a PDF"),
        (b"GIF89a" + b"\0" * 50, "a GIF"),
        (b"PK\x03\x04" + b"\0" * 50, "a ZIP"),
        (b"just some text", "not a picture"),
        (b"<svg onload='alert(1)'/>", "SVG"),
        (picture(64, 48, format="JPEG")[:-600], "damaged"),
        (picture(64, 48)[:2000], "damaged"),
        (picture(64, 48, format="BMP")[:-5000], "damaged"),
        (picture(64, 48, format="TIFF")[:-5000], "damaged"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 30, "damaged"),
        (b"\0" * (MAX_BYTES + 1), "larger than 1 MB"),
        (bmp_of(100_000, 100_000), "megapixels"),
        (png_bomb(30_000, 30_000), "megapixels"),
        (picture(20, 20), "too small"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_say_why(data: bytes, word: str) -> None:
    sentence = refusal(data)
    assert word in sentence
    assert sentence.endswith(".")


def test_cmyk_is_refused() -> None:
    assert "CMYK" in refusal(encoded(Image.new("CMYK", (64, 48)), "JPEG"))


def test_sixteen_bit_grey_is_refused() -> None:
    deep = Image.fromarray(np.zeros((48, 64), np.uint16))
    assert "16 bits" in refusal(encoded(deep, "TIFF"))
    assert "16 bits" in refusal(encoded(deep, "PNG"))


def test_animations_and_pages_are_refused() -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    for kind in ("PNG", "TIFF"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert "several pictures" in refusal(data)


def test_transparency_is_laid_on_white() -> None:
    data = encoded(Image.new("RGBA", (64, 48), (200, 0, 0, 0)))
    passes(data)
    assert decode(data)[0, 0].tolist() == [255, 255, 255]


def test_exif_rotation_is_undone() -> None:
    image = Image.new("RGB", (64, 48), "white")
    image.paste("black", (0, 0, 64, 10))  # a black band on top
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: the band comes to the right
    data = encoded(image, "JPEG", exif=exif)
    found = passes(data)
    assert (found.width, found.height) == (48, 64)
    upright = decode(data)
    assert upright.shape == (64, 48, 3)
    assert upright[32, 45].mean() < 60 < upright[32, 5].mean()


def test_grey_and_palette_become_rgb() -> None:
    for mode in ("L", "P", "1"):
        data = encoded(Image.new(mode, (64, 48)))
        passes(data)
        assert open_upright(data).mode == "RGB"


def test_a_phone_photograph_of_two_frames_passes() -> None:
    frame = Image.new("RGB", (64, 48), "pink")
    target = BytesIO()
    frame.save(target, "MPO", save_all=True, append_images=[frame.resize((32, 24))])
    assert passes(target.getvalue()).format == "JPEG"


@pytest.mark.property
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from(["JPEG", "PNG", "TIFF", "BMP"]), st.integers(0, 300)
)
def test_whatever_comes_passes_or_is_refused_in_words(noise: bytes, kind: str, at: int) -> None:
    """Damaged files of every format: no exception but GateError leaves the gate."""
    good = picture(40, 40, format=kind)
    for data in (noise, good[:at] + noise + good[at + len(noise) :], good[:at]):
        try:
            inspect(data, max_bytes=MAX_BYTES, max_pixels=MAX_PIXELS)
        except GateError as refused:
            assert str(refused).endswith(".")  # noqa: PT017  (either outcome is right)
        else:
            assert decode(data).ndim == 3


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_reduced_pictures_look_like_the_whole(mode: str, kind: str) -> None:
    if kind == "JPEG" and mode not in ("RGB", "L"):
        return  # JPEG has no such pictures
    image = Image.new("L", (400, 200), 255)
    image.paste(0, (0, 0, 200, 200))  # the left half is black
    data = encoded(image.convert(mode), kind)
    small = open_upright(data, side=100)
    assert (small.size, small.mode) == ((100, 50), "RGB")
    assert small.getpixel((10, 25)) == (0, 0, 0)
    assert small.getpixel((90, 25)) == (255, 255, 255)
