"""What lies beside the network in a bundle: its last layer, features of training, a manifest."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.ml.bundle import Bundle, BundleError

TRAIN, VALIDATION = 0, 1
"""Numbers of the sides in `TrainingFeatures`."""

COPIES = 8
"""Crops of one class and photograph that are kept: more copies of a cell say little more."""

MOST = 8000
"""Crops kept in all: 20 MB for MobileNetV2, half of it packed."""


@dataclass(frozen=True, slots=True)
class Head:
    """The last layer.

    Attributes
    ----------
    kernel : float32 array of shape (D, C)
    bias : float32 array of shape (C,)
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits (N, C) of pooled features (N, D)."""
        # Row by row: a product of matrices rounds differently with the number of rows, and
        # an answer shall not depend on a cell's company.
        rows = [row @ self.kernel + self.bias for row in features]
        return np.array(rows, np.float32).reshape(len(features), len(self.bias))

    def save(self, path: Path) -> None:
        np.savez(path, kernel=self.kernel, bias=self.bias)

    @classmethod
    def load(cls, path: Path) -> Head:
        """Read a head.

        Raises
        ------
        BundleError
            If the file holds none.
        """
        head = cls(**_load_arrays(path, ("kernel", "bias")))
        if head.kernel.ndim != 2 or head.bias.shape != head.kernel.shape[1:]:
            raise BundleError(f"{path.name} holds no last layer. Copy the bundle again.")
        return head


@dataclass(frozen=True, slots=True)
class TrainingFeatures:
    """Pooled features of crops that the model was trained and validated with.

    Attributes
    ----------
    features : float16 array of shape (N, D)
    labels : int16 array of shape (N,)
        Positions in the bundle's classes.
    sides : uint8 array of shape (N,)
        ``TRAIN`` or ``VALIDATION``.
    groups, datasets, shas : str arrays of shape (N,)
        Source photograph, data set and first 16 digits of the file's SHA-256.
    """

    features: NDArray[np.float16]
    labels: NDArray[np.int16]
    sides: NDArray[np.uint8]
    groups: NDArray[np.str_]
    datasets: NDArray[np.str_]
    shas: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.features)

    def where(self, chosen: ArrayLike) -> TrainingFeatures:
        """The rows of a mask or of positions."""
        return TrainingFeatures(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def with_more(self, more: TrainingFeatures) -> TrainingFeatures:
        """These rows, and others after them."""
        names = [field.name for field in fields(self)]
        return TrainingFeatures(
            *(np.concatenate([getattr(self, name), getattr(more, name)]) for name in names)
        )

    def of_side(self, side: int) -> TrainingFeatures:
        return self.where(self.sides == side)

    def save(self, path: Path) -> None:
        np.savez_compressed(path, **{one.name: getattr(self, one.name) for one in fields(self)})

    @classmethod
    def load(cls, path: Path) -> TrainingFeatures:
        """Read features.

        Raises
        ------
        BundleError
            If the file holds none.
        """
        read = cls(**_load_arrays(path, tuple(field.name for field in fields(cls))))
        rows = {len(getattr(read, field.name)) for field in fields(cls)}
        if len(rows) != 1 or read.features.ndim != 2 or TRAIN not in read.sides:
            raise BundleError(f"{path.name} holds no features of training. Copy the bundle again.")
        return read


def kept_rows(
    groups: Sequence[str],
    labels: Sequence[str],
    shas: Sequence[str],
    *,
    copies: int = COPIES,
    most: int = MOST,
) -> NDArray[np.int64]:
    """Choose the crops whose features are kept: a few of each class of every photograph.

    Parameters
    ----------
    groups, labels, shas : sequences of str
        Photograph, class and file's SHA-256 of each crop. The last decides, as a lot that
        falls the same way each time.
    copies : int
        Of one class in one photograph.
    most : int
        In all; each of these keeps one before any keeps two.

    Returns
    -------
    int64 array of shape (M,)
        Positions, ascending.
    """
    taken: dict[tuple[str, str], int] = {}
    ranked: list[tuple[int, str, int]] = []
    for position in sorted(range(len(shas)), key=lambda at: (shas[at], at)):
        kind = groups[position], labels[position]
        rank = taken.get(kind, 0)
        taken[kind] = rank + 1
        if rank < copies:
            ranked.append((rank, shas[position], position))
    return np.array(sorted(position for _, _, position in sorted(ranked)[:most]), np.int64)


class ManifestRow(NamedTuple):
    """A picture that a model was made with: side, data set, class, photograph, SHA-256."""

    side: str
    dataset: str
    label: str
    group: str
    sha256: str


def write_manifest(path: Path, rows: Sequence[ManifestRow]) -> None:
    """Write the pictures of all sides, with a heading, as packed CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(ManifestRow._fields)
    writer.writerows(sorted(rows))
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def training_rows(bundle: Bundle) -> list[ManifestRow]:
    """The pictures that a model was made with, as far as that is known: else there are none.

    Raises
    ------
    BundleError
        If its manifest cannot be read.
    """
    return read_manifest(bundle.manifest_path) if bundle.training_known else []


def read_manifest(path: Path) -> list[ManifestRow]:
    """Read a manifest.

    Raises
    ------
    BundleError
        If the file holds none.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            heading, *rows = csv.reader(file)
        if tuple(heading) != ManifestRow._fields:
            raise ValueError(f"its heading is {heading}")
        return [ManifestRow(*row) for row in rows]
    except (OSError, EOFError, ValueError, TypeError, csv.Error) as error:
        raise BundleError(
            f"{path.name} holds no manifest ({error}). Copy the bundle again."
        ) from error


def _load_arrays(path: Path, names: Sequence[str]) -> dict[str, Any]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(
            f"{path.name} cannot be read ({error}). Copy the bundle again."
        ) from error
