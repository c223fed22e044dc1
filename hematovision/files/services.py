"""Writes of stored images, in two steps: the file first, without a transaction; then its row."""

from django.conf import settings

from hematovision.files import gate, store
from hematovision.files.models import StoredImage


def image_file_keep(*, data: bytes) -> gate.Inspected:
    """Pass the bytes through the gate and write their file.

    Call it outside a transaction: decoding and flushing take their time, and nobody else's writes
    should wait for them. The file is there before its row, so that a row always has its file; what
    a crash leaves between the two is a file that the same picture finds again.

    Raises:
        gate.GateError: the picture is refused.
    """
    inspected = gate.inspect(
        data, max_bytes=settings.UPLOAD_MAX_BYTES, max_pixels=settings.UPLOAD_MAX_PIXELS
    )
    store.write(data)
    return inspected


def stored_image_create(*, inspected: gate.Inspected) -> StoredImage:
    """Give a kept file its row; the same bytes have one row however often they come."""
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
