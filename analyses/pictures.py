"""Pictures that pages show: made from the stored original when first asked for, then cached.

All of one image's cell crops are made together, since decoding the picture is what costs.
"""

from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image

from analyses.models import Cell, SampleImage
from hematovision.files import store
from hematovision.files.gate import open_upright
from inference.engines import engine_for

if TYPE_CHECKING:
    from inference.ml.finder import Box
    from inference.ml.preprocess import Preprocessing

THUMBNAIL_SIDE = 320  # pixels, the longer side
VIEW_SIDE = 1600
CROP_SIDE = 192


def thumbnail(sample_image: SampleImage) -> bytes:
    """JPEG, for lists."""
    return _reduced(sample_image, THUMBNAIL_SIDE, "thumbnail")


def view(sample_image: SampleImage) -> bytes:
    """JPEG, for the page that draws the cells' boxes on it."""
    return _reduced(sample_image, VIEW_SIDE, "view")


def crop(cell: Cell) -> bytes:
    """JPEG of the square that the model saw of this cell, in the picture's own colours."""
    sha256 = cell.sample_image.stored_image.sha256

    def make() -> bytes:
        image = open_upright(store.read(sha256))
        made = b""
        for sibling in cell.sample_image.cells.all():
            data = _jpeg(_square(image, sibling, _preprocessing(cell)))
            store.derived(sha256, _crop_name(sibling), lambda data=data: data)  # type: ignore[misc]
            if sibling.pk == cell.pk:
                made = data
        return made

    return store.derived(sha256, _crop_name(cell), make)


def heat_map(cell: Cell) -> bytes:
    """JPEG of the same square with what the model looked at laid over it.

    Raises:
        inference.ml.bundle.BundleError: the model of the cell's sample cannot be loaded.
        LookupError: no model has said anything of this cell yet.
    """
    sample_image = cell.sample_image
    model_version = sample_image.sample.model_version
    said = cell.predictions.filter(model_version=model_version).first()
    if model_version is None or said is None:
        raise LookupError("This cell has not been classified yet.")
    sha256 = sample_image.stored_image.sha256

    def make() -> bytes:
        import numpy as np

        from inference.ml import explain, preprocess

        engine = engine_for(model_version)
        image = open_upright(store.read(sha256))
        parameters = engine.bundle.card.preprocessing
        prepared = preprocess.prepare(np.asarray(image), parameters)
        seen = preprocess.crop_cell(prepared, _box(cell), parameters)
        heat = explain.heat_map(engine, seen, engine.bundle.classes.index(said.label))
        shown = _square(image, cell, parameters).convert("RGBA")
        layer = Image.fromarray(explain.overlay(seen, heat)).resize(shown.size)
        return _jpeg(Image.alpha_composite(shown, layer).convert("RGB"))

    name = f"heat-{_box_name(cell)}-{model_version.version}-{said.label}.jpg"
    return store.derived(sha256, name, make)


def _reduced(sample_image: SampleImage, side: int, name: str) -> bytes:
    sha256 = sample_image.stored_image.sha256

    def make() -> bytes:
        image = open_upright(store.read(sha256))
        image.thumbnail((side, side))
        return _jpeg(image)

    return store.derived(sha256, f"{name}-{side}.jpg", make)


def _preprocessing(cell: Cell) -> "Preprocessing":
    from inference.ml.preprocess import Preprocessing

    model_version = cell.sample_image.sample.model_version
    card = model_version.card if model_version else {}
    return Preprocessing.from_dict(card["preprocessing"])


def _square(image: Image.Image, cell: Cell, parameters: "Preprocessing") -> Image.Image:
    """The crop's square in the picture's own colours; outside the picture it is grey."""
    from inference.ml.preprocess import crop_square

    left, top, side = crop_square(_box(cell), parameters)
    canvas = Image.new("RGB", (side, side), (128, 128, 128))
    right, bottom = min(left + side, image.width), min(top + side, image.height)
    inside = image.crop((max(left, 0), max(top, 0), right, bottom))
    canvas.paste(inside, (max(-left, 0), max(-top, 0)))
    return canvas.resize((CROP_SIDE, CROP_SIDE))


def _box(cell: Cell) -> "Box":
    from inference.ml.finder import Box

    return Box(cell.x, cell.y, cell.width, cell.height)


def _box_name(cell: Cell) -> str:
    return f"{cell.x}-{cell.y}-{cell.width}-{cell.height}"


def _crop_name(cell: Cell) -> str:
    return f"crop-{_box_name(cell)}-{CROP_SIDE}.jpg"


def _jpeg(image: Image.Image) -> bytes:
    target = BytesIO()
    image.save(target, "JPEG", quality=90)
    return target.getvalue()
