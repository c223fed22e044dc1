"""Classify white cells with a model bundle, on LiteRT.

One `Engine` per process, made after fork. It may be shared by threads: finding and
cropping run side by side, the network one call at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from inference.ml.bundle import Bundle, BundleError
from inference.ml.finder import Box, find_cells
from inference.ml.preprocess import crop_cell, prepare, to_network
from inference.ml.quality import Quality, measure_quality

UNCERTAIN = "uncertain"
BORDER = "border"
NO_CELL = "no_cell"


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
    flags : tuple of str
        ``uncertain``: under the class's threshold; ``border``: cut off by the
        picture's edge, so that part of the cell was not seen.
    """

    box: Box
    label: str
    confidence: float
    probabilities: dict[str, float]
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PictureResult:
    """The cells of a picture, main cell first, how long it took in milliseconds, and how
    good the picture is."""

    cells: list[CellPrediction]
    find_ms: float
    engine_ms: float
    quality: Quality

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
        self._lock = threading.Lock()
        try:
            # From memory, so that a bundle replaced on disk cannot change under a process.
            self._interpreter = Interpreter(
                model_content=bundle.tflite_path.read_bytes(), num_threads=threads
            )
            self._interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise BundleError(
                f"The network of the model at {bundle.path} cannot be loaded ({error}). "
                "Copy the bundle again or update ai-edge-litert."
            ) from error
        self._input = self._interpreter.get_input_details()[0]
        outputs = {detail["name"]: detail for detail in self._interpreter.get_output_details()}
        try:
            self._logits = outputs[bundle.card.outputs["logits"]]
            self._features = outputs[bundle.card.outputs["features"]]
        except KeyError as error:
            raise BundleError(
                f"The network of the model at {bundle.path} has no output {error}, "
                "which its card names. Train or copy the bundle again."
            ) from error
        size = bundle.card.preprocessing.size
        shapes = tuple(self._input["shape"]), tuple(self._logits["shape"])
        if shapes != ((1, size, size, 3), (1, len(bundle.classes))):
            raise BundleError(
                f"The network of the model at {bundle.path} does not have the shapes that "
                "its card describes. Train or copy the bundle again."
            )

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
        return PictureResult(
            cells, (found - start) * 1e3, (done - found) * 1e3, measure_quality(image)
        )

    def predict_boxes(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> list[CellPrediction]:
        """Classify the cells in given boxes of a picture, in their order.

        Raises
        ------
        ValueError
            If a box is empty or reaches outside the picture.
        """
        if not boxes:
            return []
        parameters = self.bundle.card.preprocessing
        prepared = prepare(image, parameters)
        crops = np.stack([crop_cell(prepared, box, parameters) for box in boxes])
        height, width = image.shape[:2]
        return [
            self._prediction(box, row, (height, width))
            for box, row in zip(boxes, self.probabilities(crops), strict=True)
        ]

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
        logits, _ = self.run(crops)
        return softmax(logits / np.float32(self.bundle.card.temperature))

    def run(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Raw answers of the network.

        Parameters
        ----------
        crops : uint8 array of shape (N, S, S, 3)

        Returns
        -------
        logits : float32 array of shape (N, C)
        features : float32 array of shape (N, h, w, channels)
            The last feature map, of which the logits see the average.
        """
        inputs = to_network(crops, self.bundle.card.preprocessing)
        logits = np.empty((len(inputs), *self._logits["shape"][1:]), np.float32)
        features = np.empty((len(inputs), *self._features["shape"][1:]), np.float32)
        # Batches gain nothing on a CPU, and one at a time the shape stays fixed. The lock
        # is taken for each crop, so that a long batch does not shut out a single one.
        for index in range(len(inputs)):
            with self._lock:
                self._interpreter.set_tensor(self._input["index"], inputs[index : index + 1])
                self._interpreter.invoke()
                logits[index] = self._interpreter.get_tensor(self._logits["index"])[0]
                features[index] = self._interpreter.get_tensor(self._features["index"])[0]
        return logits, features

    def _prediction(
        self, box: Box, row: NDArray[np.float32], shape: tuple[int, int]
    ) -> CellPrediction:
        best = int(row.argmax())
        label, confidence = self.bundle.classes[best], float(row[best])
        flags = []
        if not confidence >= self.bundle.card.thresholds[label]:  # not a number is not certain
            flags.append(UNCERTAIN)
        if touches_border(box, shape):
            flags.append(BORDER)
        probabilities = {
            name: float(value) for name, value in zip(self.bundle.classes, row, strict=True)
        }
        return CellPrediction(box, label, confidence, probabilities, tuple(flags))


def touches_border(box: Box, shape: tuple[int, int]) -> bool:
    """Whether a box reaches the edge of a picture of this height and width."""
    height, width = shape
    return box.x <= 0 or box.y <= 0 or box.x + box.width >= width or box.y + box.height >= height


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis of a float32 array, safe against overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32, copy=False)
