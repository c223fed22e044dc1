"""Duplicates: files that are the same, and pictures that look the same, turned or flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry

NEAR = 4
"""Bits, of 63, by which two pictures that look the same may differ."""


def look_of(image: NDArray[np.uint8]) -> str:
    """Perceptual hash of a picture (H, W, 3), 16 hexadecimal digits; "" if it shows nothing."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Pairs:
    """Positions of pictures that look the same.

    Attributes
    ----------
    pairs : int array of shape (K, 2)
        First less than second, sorted.
    distances : int array of shape (K,)
    complete : bool
        False if there are more than were asked for.
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.int64]
    complete: bool


def near_pairs(looks: Sequence[str], distance: int = NEAR, *, most: int = 1_000_000) -> Pairs:
    """Pairs whose hashes differ by no more than so many bits in any of the eight views."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Alike:
    """Pictures that are one: their positions, and whether byte by byte."""

    members: tuple[int, ...]
    identical: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """Duplicates of a dataset. Lists are bounded; the counts are of all.

    Attributes
    ----------
    identical, near : dict
        ``{"groups": int, "files": int, "shown": [[position, ...], ...]}``.
        Near ones leave out what is identical, and pairs of one known source photograph.
    two_labels, across : dict
        ``{"identical": int, "near": int, "shown": [{"files": [a, b], "identical": bool}, ...]}``:
        pairs under two labels, and pairs of train and test.
    copied : list of bool
        For each picture whether it has a near or identical duplicate, known photograph or not.
    sentences : tuple of str
        What a person should know and do.
    """

    identical: dict[str, Any]
    near: dict[str, Any]
    two_labels: dict[str, Any]
    across: dict[str, Any]
    copied: list[bool]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        raise NotImplementedError


def findings(
    entries: Sequence[Entry], facts: Sequence[PictureFacts], *, shown: int = 200
) -> Findings:
    """Find the duplicates of a dataset.

    Parameters
    ----------
    entries, facts : sequences of the same length
    shown : int
        Most that each list holds.
    """
    raise NotImplementedError
