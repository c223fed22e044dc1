"""Writes of stored images."""

from django.conf import settings

from hematovision.files import gate, store
from hematovision.files.models import StoredImage


def stored_image_create(*, data: bytes) -> StoredImage:
    """Pass the bytes through the gate and keep them once.

    The file is on disk before its row exists, so that a row always has its file. The caller's
    transaction may roll back: what then remains is a file without a row, and the same picture
    finds it again.

    Raises:
        gate.GateError: the picture is refused.
    """
    inspected = gate.inspect(
        data, max_bytes=settings.UPLOAD_MAX_BYTES, max_pixels=settings.UPLOAD_MAX_PIXELS
    )
    store.write(data)
    image, _ = StoredImage.objects.get_or_create(
        sha256=inspected.sha256,
        defaults={
            "format": inspected.format,
            "width": inspected.width,
            "height": inspected.height,
            "size": inspected.size,
        },
    )
    return image
