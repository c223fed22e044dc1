"""The network on LiteRT: from crops to feature maps, one crop at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from inference.ml.preprocess import Preprocessing, to_network
from inference.ml.views import view, view_back


class FeatureNetwork:
    """A network without its last layer. It may be shared by threads.

    Parameters
    ----------
    content : bytes
        The TFLite model.
    preprocessing : Preprocessing
    views : int
        Symmetries of the square over which maps are averaged: 1, 2, 4 or 8.
    threads : int
        For one call of the network.

    Attributes
    ----------
    shape : tuple of int
        (h, w, D) of a feature map.

    Raises
    ------
    ValueError, RuntimeError
        If LiteRT cannot load it, or it does not go from one crop to one map.
    """

    def __init__(
        self, content: bytes, preprocessing: Preprocessing, *, views: int = 1, threads: int = 1
    ) -> None:
        self.preprocessing = preprocessing
        self.views = views
        self._lock = threading.Lock()
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        inputs, outputs = (
            self._interpreter.get_input_details(),
            self._interpreter.get_output_details(),
        )
        shapes = [tuple(int(n) for n in one["shape"]) for one in (*inputs, *outputs)]
        size = preprocessing.size
        if len(shapes) != 2 or shapes[0] != (1, size, size, 3) or len(shapes[1]) != 4:
            raise ValueError(f"its shapes are {shapes}, not one crop of {size} pixels and its map")
        self._input, self._output = inputs[0]["index"], outputs[0]["index"]
        self.shape = shapes[1][1:]

    def maps(
        self, crops: NDArray[np.uint8], *, views: int | None = None
    ) -> Iterator[NDArray[np.float32]]:
        """The last feature map (h, w, D) of each crop, averaged over views.

        Parameters
        ----------
        crops : uint8 array of shape (N, S, S, 3)
        views : int, optional
            Another number than the network's own.
        """
        # Batches gain nothing on a CPU, and one at a time the shape stays fixed.
        for crop in crops:
            (picture,) = to_network(crop[None], self.preprocessing)
            total = np.zeros(self.shape, np.float32)
            for index in range(views or self.views):
                total += view_back(self._run(view(picture, index)), index)
            total /= views or self.views
            yield total

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the last layer sees of crops (N, S, S, 3): float32 (N, D), averages of the maps."""
        pooled = [feature_map.mean(axis=(0, 1)) for feature_map in self.maps(crops)]
        return np.array(pooled, np.float32).reshape(len(crops), self.shape[-1])

    def _run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        # The lock is taken for each crop, so that a long batch does not shut out a single one.
        with self._lock:
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(picture[None]))
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)[0]
