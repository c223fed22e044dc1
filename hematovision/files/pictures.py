"""Pictures that pages show: made from the stored original when first asked for, then cached."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image

from hematovision.files import store
from hematovision.files.gate import large_ones_alone, open_upright
from hematovision.files.models import StoredImage

THUMBNAIL_SIDE = 320  # pixels, the longer side


def thumbnail(stored_image: StoredImage) -> bytes:
    """JPEG, for lists."""
    return reduced(stored_image, THUMBNAIL_SIDE, "thumbnail")


def reduced(stored_image: StoredImage, side: int, name: str) -> bytes:
    """JPEG whose longer side has at most so many pixels."""

    def make() -> bytes:
        return jpeg(open_upright(store.read(stored_image.sha256), side=side))

    return derived(stored_image, f"{name}-{side}.jpg", make)


def derived(stored_image: StoredImage, name: str, make: Callable[[], bytes]) -> bytes:
    """A file made from the picture; of large pictures one at a time is worked on."""

    def bounded() -> bytes:
        with large_ones_alone(stored_image.width * stored_image.height):
            return make()

    return store.derived(stored_image.sha256, name, bounded)


def jpeg(image: Image.Image) -> bytes:
    target = BytesIO()
    image.save(target, "JPEG", quality=90)
    return target.getvalue()
