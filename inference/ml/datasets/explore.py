"""Look at a dataset: figures, tables, outliers and what a person should do about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry

Exploration = dict[str, Any]
"""JSON-able. Keys: see `summarise`."""


def summarise(
    entries: Sequence[Entry],
    facts: Sequence[PictureFacts],
    *,
    left_out: Sequence[LeftOut] = (),
    notes: Sequence[str] = (),
    shown: int = 200,
) -> Exploration:
    """The exploratory analysis of a dataset's version.

    Parameters
    ----------
    entries, facts : sequences of the same length
    left_out : sequence of LeftOut
        Every file that was not taken.
    notes : sequence of str
        `Layout.notes`.
    shown : int
        Most rows of each list of files.

    Returns
    -------
    dict
        ``pictures``, ``photographs`` (None where unknown), ``classes`` (a row for each: pictures,
        photographs, train, test, intensity, colour, histogram, ...), ``balance``, ``sizes``,
        ``resolution``, ``outliers``, ``left_out``, ``duplicates`` (`Findings.to_dict`), ``copies``
        (`Suspicion`), ``samples`` (for each class positions of pictures to show), ``notes``
        and ``sentences`` (``[{"kind": "bad" | "warn" | "good", "text": str}]``).
    """
    raise NotImplementedError
