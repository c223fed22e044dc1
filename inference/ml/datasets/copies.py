"""Do the pictures look like augmented copies whose source photographs nobody has told?

Copies of one photograph on both sides of a split make every figure worthless, and nothing in their
names need show it. Three things do: corners that turning cut off, pictures that look alike, and
palettes. The median colours of field, red cells and nuclei are, together, a photograph's own to
within a level or so, and neither turning nor shifting changes them much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from inference.ml.datasets.alike import Findings
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry

WARN = 0.5
# Each is enough for the warning: half of what counts as certain. Of BCCD's copies 82 % have a
# corner cut off, 83 % look like another and 42 share a palette; of PBC none, 0.15 % and 1.1.
_CERTAIN_CORNERS = 0.2
_CERTAIN_NEAR = 0.4
_CERTAIN_PALETTE = 10.0
_FEWEST = 10  # pictures of which anything is said
_SAME_PALETTE = 1  # level, in each of the nine
_SAMPLE = 1000  # pictures whose palettes are compared with all


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Evidence of augmented copies among pictures without a known source photograph.

    Attributes
    ----------
    score : float
        0 to 1; from `WARN` on the warning is due.
    pictures : int
        How many have no known photograph; the shares are of these.
    cut_corners : float
        Share with black triangles in corners, as turning leaves them.
    near : float
        Share that has a near or identical duplicate.
    files_per_palette : float
        How many pictures have the palette of one picture, on average.
    sentence : str
        "" where nothing is suspected.
    """

    score: float
    pictures: int
    cut_corners: float
    near: float
    files_per_palette: float
    sentence: str

    @property
    def warn(self) -> bool:
        return bool(self.sentence)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def suspicion(
    entries: Sequence[Entry], facts: Sequence[PictureFacts], found: Findings
) -> Suspicion:
    """Weigh the evidence; pictures whose photograph is known are left out.

    So are those in which no cell is found: training leaves them out, too.
    """
    unknown = [
        at
        for at, (entry, fact) in enumerate(zip(entries, facts, strict=True))
        if not entry.group and (entry.box or fact.cells)
    ]
    if len(unknown) < _FEWEST:
        return Suspicion(0.0, len(unknown), 0.0, 0.0, 0.0, "")
    corners = sum(facts[at].corners > 0 for at in unknown) / len(unknown)
    near = sum(found.copied[at] for at in unknown) / len(unknown)
    palette = _files_per_palette([facts[at].palette for at in unknown])
    score = min(
        1.0,
        max(
            corners / _CERTAIN_CORNERS,
            near / _CERTAIN_NEAR,
            (palette - 1) / (_CERTAIN_PALETTE - 1),
        ),
    )
    sentence = ""
    if score >= WARN:
        sentence = (
            "These pictures look like augmented copies of fewer photographs: "
            f"{corners:.0%} have black corners as turning leaves them, {near:.0%} look like "
            f"another picture, and {palette:.1f} on average share one palette. Nobody has told "
            "which photograph each comes from, so copies will lie on both sides of a split and "
            "the figures will flatter. Add a table with the columns file and photograph."
        )
    return Suspicion(
        round(score, 3),
        len(unknown),
        round(corners, 4),
        round(near, 4),
        round(palette, 2),
        sentence,
    )


def _files_per_palette(palettes: Sequence[tuple[int, ...]]) -> float:
    """Mean number of pictures with a picture's palette, itself included, over a sample."""
    levels = np.array(palettes, np.int16)
    step = max(1, len(levels) // _SAMPLE)
    counts = [
        np.count_nonzero((np.abs(levels - one) <= _SAME_PALETTE).all(axis=1))
        for one in levels[::step]
    ]
    return float(np.mean(counts))
