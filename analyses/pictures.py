"""Pictures of samples and cells that pages show, cached as files/pictures.py does.

All of one image's cell crops are made together, since decoding the picture is what costs.
"""

from typing import TYPE_CHECKING

from PIL import Image

from analyses.models import Cell, SampleImage
from hematovision.files import store
from hematovision.files.gate import open_upright
from hematovision.files.pictures import derived, jpeg, reduced
from hematovision.files.pictures import thumbnail as stored_thumbnail
from inference.engines import engine_for

if TYPE_CHECKING:
    from inference.ml.finder import Box

VIEW_SIDE = 1600  # pixels, the longer side
CROP_SIDE = 192
NOT_CLASSIFIED = "This cell has not been classified yet."


def thumbnail(sample_image: SampleImage) -> bytes:
    """JPEG, for lists."""
    return stored_thumbnail(sample_image.stored_image)


def view(sample_image: SampleImage) -> bytes:
    """JPEG, for the page that draws the cells' boxes on it."""
    return reduced(sample_image.stored_image, VIEW_SIDE, "view")


def crop(cell: Cell) -> bytes:
    """JPEG of the square that the model saw of this cell, in the picture's own colours.

    Raises:
        LookupError: no model has said anything of this cell yet.
    """
    stored_image, context = cell.sample_image.stored_image, _context(cell)

    def make() -> bytes:
        image = open_upright(store.read(stored_image.sha256))
        made = b""
        for sibling in cell.sample_image.cells.all():
            data = jpeg(_square(image, sibling, context))
            name = _crop_name(sibling, context)
            store.derived(stored_image.sha256, name, lambda data=data: data)  # type: ignore[misc]
            if sibling.pk == cell.pk:
                made = data
        return made

    return derived(stored_image, _crop_name(cell, context), make)


def heat_map(cell: Cell) -> bytes:
    """JPEG of the same square with what the model looked at laid over it; of the whole picture,
    squeezed as the model sees it, if that is what it looks at.

    Raises:
        inference.ml.bundle.BundleError: the model of the cell's sample cannot be loaded.
        LookupError: no model has said anything of this cell yet.
    """
    sample_image = cell.sample_image
    model_version = sample_image.sample.model_version
    said = cell.predictions.filter(model_version=model_version).first()
    if model_version is None or said is None:
        raise LookupError(NOT_CLASSIFIED)
    if reason := model_version.card.get("training", {}).get("no_explanation"):
        raise LookupError(f"There is no heat map: {reason}")
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
        whole = parameters.region == preprocess.IMAGE
        shown = (
            image.convert("RGB").resize((CROP_SIDE, CROP_SIDE))
            if whole
            else _square(image, cell, parameters.context)
        ).convert("RGBA")
        layer = Image.fromarray(explain.overlay(seen, heat)).resize(shown.size)
        return jpeg(Image.alpha_composite(shown, layer).convert("RGB"))

    name = f"heat-{cell.x}-{cell.y}-{cell.width}-{cell.height}-{model_version.version}.jpg"
    return derived(sample_image.stored_image, name, make)


def _context(cell: Cell) -> float:
    """All that a crop's square needs to know of the model: cards of every schema have it."""
    model_version = cell.sample_image.sample.model_version
    if model_version is None:
        raise LookupError(NOT_CLASSIFIED)
    return float(model_version.card["preprocessing"]["context"])


def _square(image: Image.Image, cell: Cell, context: float) -> Image.Image:
    """The crop's square in the picture's own colours; outside the picture it is grey."""
    from inference.ml.preprocess import crop_square

    left, top, side = crop_square(_box(cell), context)
    canvas = Image.new("RGB", (side, side), (128, 128, 128))
    right, bottom = min(left + side, image.width), min(top + side, image.height)
    inside = image.crop((max(left, 0), max(top, 0), right, bottom))
    canvas.paste(inside, (max(-left, 0), max(-top, 0)))
    return canvas.resize((CROP_SIDE, CROP_SIDE))


def _box(cell: Cell) -> "Box":
    from inference.ml.finder import Box

    return Box(cell.x, cell.y, cell.width, cell.height)


def _crop_name(cell: Cell, context: float) -> str:
    """Named by the square, which depends on the model too."""
    from inference.ml.preprocess import crop_square

    left, top, side = crop_square(_box(cell), context)
    return f"crop-{left}-{top}-{side}.jpg"
