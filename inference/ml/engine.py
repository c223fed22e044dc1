"""Classify white cells with a model bundle, on LiteRT.

One `Engine` per process, made after fork. It may be shared by threads: finding and
cropping run side by side, the network one call at a time.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from inference.ml.bundle import Bundle, BundleError
from inference.ml.finder import Box, find_cells
from inference.ml.litert import FeatureNetwork
from inference.ml.preprocess import CELL, crop_cell, prepare
from inference.ml.quality import Quality, measure_quality
from inference.ml.sidecar import TRAIN, Head, TrainingFeatures
from inference.ml.unfamiliar import Neighbours

UNCERTAIN = "uncertain"
UNFAMILIAR = "unfamiliar"
BORDER = "border"
NO_CELL = "no_cell"
SEVERAL_CELLS = "several_cells"


@dataclass(frozen=True, slots=True)
class CellPrediction:
    """What the model says about one cell.

    Attributes
    ----------
    box : Box
    label : str
        The most probable class.
    confidence : float
        Its calibrated probability.
    probabilities : dict
        Of every class, in the bundle's order.
    unfamiliarity : float or None
        Distance to the nearest cells of training, 0 to 2; None if these are not known.
    flags : tuple of str
        ``uncertain``: under the class's threshold; ``unfamiliar``: unlike anything in
        training, so that neither class nor confidence means much; ``border``: cut off
        by the picture's edge, so that part of the cell was not seen; ``several_cells``: the
        answer is one for the whole picture, in which there are others.
    """

    box: Box
    label: str
    confidence: float
    probabilities: dict[str, float]
    unfamiliarity: float | None
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PictureResult:
    """What is said of the cells of a picture, main cell first, how long it took in
    milliseconds, and how good the picture is: all that a picture takes is ``find_ms`` +
    ``engine_ms`` + ``quality_ms``.

    ``boxes`` are of all cells; of those after the main one a model of whole pictures says
    nothing.
    """

    cells: list[CellPrediction]
    boxes: list[Box]
    find_ms: float
    engine_ms: float
    quality: Quality
    quality_ms: float

    @property
    def main(self) -> CellPrediction | None:
        return self.cells[0] if self.cells else None

    @property
    def predicted_label(self) -> str | None:
        return self.main.label if self.main else None

    @property
    def confidence(self) -> float | None:
        return self.main.confidence if self.main else None

    @property
    def flags(self) -> tuple[str, ...]:
        """The main cell's, or ``no_cell``, and what is wrong with the picture as a whole."""
        return (*(self.main.flags if self.main else (NO_CELL,)), *self.quality.flags)


class Engine:
    """A model bundle, ready to classify.

    Parameters
    ----------
    bundle : Bundle
    threads : int
        For one call of the network.

    Raises
    ------
    BundleError
        If the network cannot be loaded or does not match its card.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1) -> None:
        self.bundle = bundle
        self._threads = threads
        card = bundle.card
        try:
            # From memory, so that a bundle replaced on disk cannot change under a process.
            self._content = bundle.tflite_path.read_bytes()
            self._network = self._new_network()
        except (OSError, ValueError, RuntimeError) as error:
            raise BundleError(
                f"The network of the model at {bundle.path.name} cannot be loaded ({error}). "
                "Copy the bundle again or update ai-edge-litert."
            ) from error
        self.head = Head.load(bundle.head_path)
        width, classes = card.network["features"], len(bundle.classes)
        shapes = {self._network.shape[-1], self.head.kernel.shape[0]}
        self._neighbours = None
        if card.unfamiliarity is not None:
            references = TrainingFeatures.load(bundle.features_path).of_side(TRAIN).features
            self._neighbours = Neighbours(references, card.unfamiliarity["neighbours"])
            shapes.add(references.shape[1])
        if shapes != {width} or len(self.head.bias) != classes:
            raise BundleError(
                f"The network of the model at {bundle.path.name} does not have the shapes that "
                "its card describes. Train or copy the bundle again."
            )

    def twin(self) -> Engine:
        """An engine with a network of its own, so that two threads need not wait for each other.

        All else is shared: the references of unfamiliarity are most of an engine's memory.
        """
        twin = copy(self)
        twin._network = self._new_network()
        return twin

    def classify(self, image: NDArray[np.uint8]) -> PictureResult:
        """Find the white cells of a picture and classify each.

        Parameters
        ----------
        image : uint8 array of shape (H, W, 3)
            RGB, at least 16 x 16.

        Raises
        ------
        ValueError
            If the image is no such array.
        """
        start = time.perf_counter()
        boxes = [cell.box for cell in find_cells(image)]
        found = time.perf_counter()
        cells = self.predict_boxes(image, boxes)
        done = time.perf_counter()
        quality = measure_quality(image)
        quality_ms = (time.perf_counter() - done) * 1e3
        return PictureResult(
            cells, boxes, (found - start) * 1e3, (done - found) * 1e3, quality, quality_ms
        )

    def predict_boxes(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[CellPrediction]:
        """Classify the cells in given boxes of a picture, in their order.

        A model of whole pictures answers once, for the first of them.

        Raises
        ------
        ValueError
            If a box is empty or reaches outside the picture.
        """
        if not boxes:
            return []
        parameters = self.bundle.card.preprocessing
        prepared = prepare(image, parameters)
        told = list(boxes) if parameters.region == CELL else [boxes[0]]
        crops = np.stack([crop_cell(prepared, box, parameters) for box in told])
        said = self.predictions(self.features(crops), told, image)
        if len(told) == len(boxes):
            return said
        return [replace(one, flags=(*one.flags, SEVERAL_CELLS)) for one in said]

    def predictions(
        self, features: NDArray[np.float32], boxes: Sequence[Box], image: NDArray[np.uint8]
    ) -> list[CellPrediction]:
        """The answers for cells of a picture whose features (N, D) are known."""
        height, width = image.shape[:2]
        known = self._neighbours is not None
        distances = self.unfamiliarity(features) if known else [None] * len(features)
        told = zip(boxes, self._probabilities(features), distances, strict=True)
        return [self._prediction(box, row, far, (height, width)) for box, row, far in told]

    def probabilities(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated class probabilities of crops.

        Parameters
        ----------
        crops : uint8 array of shape (N, S, S, 3)

        Returns
        -------
        float32 array of shape (N, C)
            Rows sum to 1.
        """
        return self._probabilities(self.features(crops))

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the last layer sees of crops (N, S, S, 3): float32 (N, D)."""
        return self._network.features(crops)

    def unfamiliarity(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far (N,) features (N, D) are from the nearest of training, 0 to 2.

        Raises
        ------
        ValueError
            If the model's training is not known.
        """
        if self._neighbours is None:
            raise ValueError(f"Nothing is known of the cells that {self.bundle.version} has seen.")
        return self._neighbours.distances(features)

    def run(
        self, crops: NDArray[np.uint8], *, views: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw answers of the network.

        Parameters
        ----------
        crops : uint8 array of shape (N, S, S, 3)
        views : int, optional
            Symmetries of the square to average over: 1, 2, 4 or 8; the card's by default.

        Returns
        -------
        logits : float32 array of shape (N, C)
        maps : float32 array of shape (N, h, w, D)
            The last feature map, of which the logits see the average.
        """
        maps = np.empty((len(crops), *self._network.shape), np.float32)
        features = np.empty((len(crops), self._network.shape[-1]), np.float32)
        for index, feature_map in enumerate(self._network.maps(crops, views=views)):
            maps[index], features[index] = feature_map, feature_map.mean(axis=(0, 1))
        return self.head.logits(features), maps

    def _new_network(self) -> FeatureNetwork:
        card = self.bundle.card
        return FeatureNetwork(
            self._content, card.preprocessing, views=card.network["views"], threads=self._threads
        )

    def _probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return softmax(self.head.logits(features) / np.float32(self.bundle.card.temperature))

    def _prediction(
        self, box: Box, row: NDArray[np.float32], distance: float | None, shape: tuple[int, int]
    ) -> CellPrediction:
        best = int(row.argmax())
        label, confidence = self.bundle.classes[best], float(row[best])
        card = self.bundle.card
        flags = []
        if not confidence >= card.thresholds[label]:  # not a number is not certain
            flags.append(UNCERTAIN)
        known = card.unfamiliarity
        if known is not None and distance is not None and not distance <= known["threshold"]:
            flags.append(UNFAMILIAR)
        if touches_border(box, shape):
            flags.append(BORDER)
        probabilities = {
            name: float(value) for name, value in zip(self.bundle.classes, row, strict=True)
        }
        far = None if distance is None else float(distance)
        return CellPrediction(box, label, confidence, probabilities, far, tuple(flags))


def touches_border(box: Box, shape: tuple[int, int]) -> bool:
    """Whether a box reaches the edge of a picture of this height and width."""
    height, width = shape
    return box.x <= 0 or box.y <= 0 or box.x + box.width >= width or box.y + box.height >= height


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis of a float32 array, safe against overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32, copy=False)
