"""Pictures of datasets that pages show: small, around the cell where a box tells which it is."""

from hematovision.files import store
from hematovision.files.gate import open_upright
from hematovision.files.pictures import derived, jpeg, thumbnail
from inference.models import DatasetImage

CELL_SIDE = 192  # pixels
CONTEXT = 1.4  # of the box' longer side


def small(row: DatasetImage) -> bytes:
    """JPEG.

    Raises:
        hematovision.files.store.StoreError: the stored picture is missing or damaged.
    """
    stored = row.stored_image
    if row.box is None:
        return thumbnail(stored)
    x, y, width, height = row.box
    side = max(1, round(CONTEXT * max(width, height)))
    left, top = x + (width - side) // 2, y + (height - side) // 2

    def make() -> bytes:
        image = open_upright(store.read(stored.sha256))
        cell = image.crop((left, top, left + side, top + side))
        return jpeg(cell.resize((CELL_SIDE, CELL_SIDE)))

    return derived(stored, f"cell-{left}-{top}-{side}.jpg", make)
