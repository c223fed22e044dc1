"""Decode and measure every picture of a source once, on two threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from inference.ml.data import Decode
from inference.ml.datasets.archive import LeftOut, Member
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.layout import Placed


@dataclass(frozen=True, slots=True)
class Gathered:
    """A picture that passed the gate.

    Attributes
    ----------
    name : str
    data : bytes
        Of the file, to store.
    sha256 : str
    facts : PictureFacts
    """

    name: str
    data: bytes
    sha256: str
    facts: PictureFacts


def gathered(
    members: Iterable[Member | LeftOut],
    pictures: Mapping[str, Placed],
    *,
    decode: Decode,
    workers: int = 2,
) -> Iterator[Gathered | LeftOut]:
    """Decode, measure and hash pictures, in their order.

    Parameters
    ----------
    members : iterable
        From `Source.read(layout.pictures)`. At most a few are held at a time.
    pictures : mapping
        `Layout.pictures`.
    decode : callable
        The gate and the decoder in one; raises ValueError, with a sentence, for what it refuses.
    workers : int
        Threads.

    Yields
    ------
    Gathered or LeftOut

    Raises
    ------
    ArchiveError
        As `Source.read` does.
    """
    raise NotImplementedError
