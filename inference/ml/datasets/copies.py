"""Do the pictures look like augmented copies whose source photographs nobody has told?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference.ml.datasets.alike import Findings
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry


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
        Share with black triangles in corners, as rotation leaves them.
    near : float
        Share that has a near or identical duplicate.
    files_per_palette : float
        Pictures over distinct palettes.
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


def suspicion(
    entries: Sequence[Entry], facts: Sequence[PictureFacts], found: Findings
) -> Suspicion:
    """Weigh the evidence."""
    raise NotImplementedError
