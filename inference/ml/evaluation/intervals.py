"""Intervals over source photographs: by bootstrap, and by formula where that would flatter."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Figure = dict[str, Any]
"""``value``, ``interval`` (two numbers), ``by`` (what gave it), ``photographs``, ``images``."""

BOOTSTRAP = "bootstrap"
WILSON = "wilson"
COMBINED = "combined"
NONE = "none"

FEW_PHOTOGRAPHS = 20
FEW_CASES = 5
_Z = 1.959964


class Photographs:
    """Which source photograph each picture comes from, and draws of photographs.

    Parameters
    ----------
    groups : sequence of str
        Source photograph of each of N pictures.
    seed, resamples : int

    Attributes
    ----------
    names : list of str
        The G photographs.
    index : int array of shape (N,)
        Position of each picture's photograph in `names`.
    """

    def __init__(self, groups: Sequence[str], *, seed: int, resamples: int) -> None:
        if not len(groups):
            raise ValueError("There are no pictures to evaluate.")
        names, self.index = np.unique(np.asarray(groups), return_inverse=True)
        self.names: list[str] = names.tolist()
        self._seed, self._resamples = seed, resamples

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def draws(self) -> NDArray[np.float32]:
        """How often each photograph is drawn (R, G), with replacement, G at a time."""
        count = len(self)
        rng = np.random.default_rng(self._seed)
        draws = np.empty((self._resamples, count), np.float32)
        for row in draws:
            row[:] = np.bincount(rng.integers(count, size=count), minlength=count)
        return draws

    def sums(self, values: Floats | Ints | NDArray[np.bool_]) -> NDArray[np.float64]:
        """Sums (G, ...) over the pictures of each photograph of values (N, ...)."""
        sums = np.zeros((len(self), *values.shape[1:]))
        np.add.at(sums, self.index, values)
        return sums

    def resampled(self, sums: Floats) -> NDArray[np.float32]:
        """Sums (R, ...) over drawn photographs, of sums (G, ...) of each photograph."""
        flat = self.draws @ sums.reshape(len(self), -1).astype(np.float32)
        return flat.reshape(-1, *sums.shape[1:])

    def share(self, part: Floats, whole: Floats, *, images: Floats | None = None) -> Figure:
        """A share of pictures, such as an accuracy, with its interval.

        The bootstrap has seen no error where the data have none, and promises too much
        where they have few: with fewer than 20 photographs, or fewer than 5 in which
        something is right or something is wrong, the interval is Wilson's, for as many
        independent trials as there are photographs (Kish's effective number, as some have
        more copies). That is as if the copies of a photograph always agreed: careful.

        Parameters
        ----------
        part, whole : arrays of shape (G,)
            Of each photograph, e.g. right answers and pictures.
        images : array of shape (G,), optional
            Pictures behind `whole`, where it does not count them itself.
        """
        figure = {
            "photographs": int((whole > 0).sum()),
            "images": round(float((whole if images is None else images).sum())),
        }
        total = float(whole.sum())
        if not total:
            return {"value": None, "interval": [None, None], "by": NONE, **figure}
        value = float(part.sum()) / total
        wrong = int((whole - part > 1e-9).sum())
        if figure["photographs"] < FEW_PHOTOGRAPHS or min(wrong, (part > 0).sum()) < FEW_CASES:
            trials = total**2 / float((whole**2).sum())
            interval, by = wilson(value * trials, trials), WILSON
        else:
            interval = percentiles(
                ratio(self.resampled(part), self.resampled(whole)),
            )
            by = BOOTSTRAP
        return {"value": rounded(value), "interval": [*map(rounded, interval)], "by": by, **figure}

    def measure(self, sums: Floats, function: Callable[[Floats], Floats]) -> Figure:
        """Any function of sums over pictures, by bootstrap.

        Parameters
        ----------
        sums : array of shape (G, ...)
        function : callable
            From sums (..., K) to figures (...). Each photograph's sums are flattened to K.
        """
        flat = sums.reshape(len(self), -1)
        return self.figure(function(flat.sum(axis=0)), function(self.resampled(flat)))

    def figure(self, value: float | Floats, samples: Floats) -> Figure:
        """A figure whose resamples (R,) are there; without interval for a few photographs."""
        few = len(self) < FEW_CASES
        return {
            "value": rounded(value),
            "interval": [None, None] if few else [*map(rounded, percentiles(samples))],
            "by": NONE if few else BOOTSTRAP,
            "photographs": len(self),
            "images": len(self.index),
        }


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share.

    References
    ----------
    Wilson: Probable inference, the law of succession, and statistical inference.
    JASA 22 (1927) 209-212.
    """
    if trials <= 0:
        return 0.0, 1.0
    share = successes / trials
    middle = share + _Z * _Z / (2 * trials)
    reach = _Z * math.sqrt(share * (1 - share) / trials + _Z * _Z / (4 * trials * trials))
    scale = 1 + _Z * _Z / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def mean_of_shares(figures: Sequence[Figure], *, independent: bool = True) -> Figure:
    """The plain mean of shares, such as the recalls of the classes.

    Its interval comes from theirs, so that a class without any error, or with three
    photographs, makes it as wide as it should be.

    Parameters
    ----------
    figures : sequence of Figure
    independent : bool
        Whether they are of different pictures, so that some of their errors cancel.
        Otherwise they are taken to err all the same way, which is careful.

    References
    ----------
    Zou, Donner: Construction of confidence limits about effect measures: a general
    approach. Statistics in Medicine 27 (2008) 1693-1702.
    """
    known = [figure for figure in figures if figure["value"] is not None]
    counts = {key: sum(figure[key] for figure in known) for key in ("photographs", "images")}
    if not known:
        return {"value": None, "interval": [None, None], "by": NONE, **counts}
    values = np.array([figure["value"] for figure in known])
    lows, highs = np.array([figure["interval"] for figure in known]).T
    value = float(values.mean())
    if independent:
        low = value - math.sqrt(float(((values - lows) ** 2).sum())) / len(known)
        high = value + math.sqrt(float(((highs - values) ** 2).sum())) / len(known)
    else:
        low, high = float(lows.mean()), float(highs.mean())
    interval = [rounded(max(0.0, low)), rounded(min(1.0, high))]
    return {"value": rounded(value), "interval": interval, "by": COMBINED, **counts}


def percentiles(samples: Floats) -> tuple[float, float]:
    """The middle 95 % of the resamples in which the figure exists: a class may lack in some."""
    if np.isnan(samples).all():
        return math.nan, math.nan
    low, high = np.nanpercentile(samples, [2.5, 97.5])
    return float(low), float(high)


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole; not a number for a ratio of nothing."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def rounded(value: float | Floats) -> float | None:
    """To 4 places. None for what does not exist: JSON knows no NaN, and 0 would be untrue."""
    return None if np.isnan(value) else round(float(value), 4)
