"""What a bundle answers to labelled pictures, by the way that serving takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.ml.bundle import Bundle
from inference.ml.data import DataError, Decode, Item, unusable
from inference.ml.engine import UNCERTAIN, UNFAMILIAR, CellPrediction, Engine
from inference.ml.evaluation.copies import Lookalikes, turned
from inference.ml.finder import Box, find_cells
from inference.ml.preprocess import crop_cell, prepare
from inference.ml.sidecar import TrainingFeatures

DOUBTS = (UNCERTAIN, UNFAMILIAR)
"""The flags by which a model says that a person should decide."""

_NETWORK_THREADS = 4  # for one crop; more gain nothing


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers for the main cells of M pictures.

    Attributes
    ----------
    items : list of Item
        Pictures in which a cell was found.
    without_cell : list of Item
        The others.
    classes : tuple of str
    probabilities : float32 array of shape (M, C)
    flags : dict of str to bool array of shape (M,)
        Each of `DOUBTS`.
    boxes : list of Box
        Of the cells, in the pictures.
    copies : list
        For each the photograph of training whose copy it seems to be, and the distance of
        their features; or None.
    copies_unknown : tuple of str
        Classes of training whose copies cannot be told, see `Lookalikes.blind`.
    """

    items: list[Item]
    without_cell: list[Item]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]
    flags: dict[str, NDArray[np.bool_]]
    boxes: list[Box]
    copies: list[tuple[str, float] | None]
    copies_unknown: tuple[str, ...]

    def where(self, chosen: Sequence[int] | NDArray[np.integer]) -> Answers:
        """The answers at some positions."""
        rows = np.asarray(chosen, np.int64)
        return Answers(
            items=[self.items[at] for at in rows],
            without_cell=[],
            classes=self.classes,
            probabilities=self.probabilities[rows],
            flags={name: flag[rows] for name, flag in self.flags.items()},
            boxes=[self.boxes[at] for at in rows],
            copies=[self.copies[at] for at in rows],
            copies_unknown=self.copies_unknown,
        )

    @property
    def groups(self) -> list[str]:
        return [item.group for item in self.items]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Positions of the true classes; all of them must be known to the model."""
        return np.array([self.classes.index(item.label) for item in self.items], np.int64)


def answer(
    bundle: Bundle,
    items: Sequence[Item],
    *,
    decode: Decode,
    workers: int = 2,
    advance: Callable[[], None] = lambda: None,
) -> Answers:
    """Cut and classify each item's cell: that of its box, or the main cell, which is looked for.

    Parameters
    ----------
    bundle : Bundle
    items : sequence of Item
    decode : callable
        From a file's bytes to its pixels; raises ValueError for what it refuses.
    workers : int
        Pictures worked on at a time.
    advance : callable
        Called once for each picture.

    Raises
    ------
    BundleError
        If the network does not load.
    DataError
        If a picture cannot be read, or no cell is found in any.
    """
    engine = Engine(bundle, threads=min(workers, _NETWORK_THREADS))
    parameters = bundle.card.preprocessing
    lookalikes = _lookalikes(bundle)

    def one(item: Item) -> tuple[Box, CellPrediction, tuple[str, float] | None] | None:
        image = picture(item, decode)
        box = item.box or _main_cell(image)
        if box is None:
            return None
        crop = crop_cell(prepare(image, parameters), box, parameters)
        features = engine.features(turned(crop, averaged=bundle.card.network["views"]))
        said = engine.predictions(features[:1], [box], image)[0]
        if lookalikes is None:
            return box, said, None
        distance, place = lookalikes.nearest(features)
        copied = lookalikes.is_copy(distance, place)
        return box, said, (lookalikes.photograph(place), distance) if copied else None

    answered, without_cell = [], []
    with ThreadPoolExecutor(workers) as pool:
        for item, told in zip(items, pool.map(one, items), strict=True):
            if told is None:
                without_cell.append(item)
            else:
                answered.append((item, *told))
            advance()
    if not answered:
        raise DataError(f"No cell was found in any of the {len(items)} pictures.")
    kept, boxes, told_of, copies = zip(*answered, strict=True)
    rows = [[*told.probabilities.values()] for told in told_of]
    return Answers(
        items=list(kept),
        without_cell=without_cell,
        classes=bundle.classes,
        probabilities=np.array(rows, np.float32),
        flags={name: np.array([name in told.flags for told in told_of]) for name in DOUBTS},
        boxes=list(boxes),
        copies=list(copies),
        copies_unknown=bundle.classes
        if lookalikes is None
        else tuple(bundle.classes[index] for index in lookalikes.blind),
    )


def _lookalikes(bundle: Bundle) -> Lookalikes | None:
    """What to look for copies of; nothing if the model's training is not known."""
    if not bundle.training_known:
        return None
    return Lookalikes(TrainingFeatures.load(bundle.features_path), len(bundle.classes))


def _main_cell(image: NDArray[np.uint8]) -> Box | None:
    """As serving finds it, which has no label that would help."""
    found = find_cells(image)
    return found[0].box if found else None


def cut(
    bundle: Bundle, items: Sequence[Item], boxes: Sequence[Box], *, decode: Decode
) -> NDArray[np.uint8]:
    """Crops (N, S, S, 3) of cells whose boxes are known, as the model sees them."""
    parameters = bundle.card.preprocessing
    crops = [
        crop_cell(prepare(picture(item, decode), parameters), box, parameters)
        for item, box in zip(items, boxes, strict=True)
    ]
    return np.array(crops, np.uint8).reshape(-1, parameters.size, parameters.size, 3)


def picture(item: Item, decode: Decode) -> NDArray[np.uint8]:
    """The pixels of an item.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return decode(item.path.read_bytes())
    except (OSError, ValueError) as error:
        raise unusable(item, error) from error
