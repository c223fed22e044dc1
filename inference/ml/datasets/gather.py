"""Decode and measure every picture of a source once, on two threads."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from inference.ml.data import Decode
from inference.ml.datasets.archive import LeftOut, Member
from inference.ml.datasets.facts import PictureFacts, measure
from inference.ml.datasets.layout import Placed

_AHEAD = 4  # pictures for each thread that wait, or have been measured and wait


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
        From `Source.read(layout.pictures)`. A few are held at a time.
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

    def gather(member: Member) -> Gathered | LeftOut:
        try:
            image = decode(member.data)
            facts = measure(image, pictures[member.name].label)
        except ValueError as error:
            return LeftOut(member.name, str(error))
        digest = hashlib.sha256(member.data).hexdigest()
        return Gathered(member.name, member.data, digest, facts)

    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Gathered | LeftOut] | LeftOut] = deque()
        try:
            for member in members:
                if isinstance(member, LeftOut):
                    waiting.append(member)
                else:
                    waiting.append(pool.submit(gather, member))
                if len(waiting) > _AHEAD * workers:
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _result(one: Future[Gathered | LeftOut] | LeftOut) -> Gathered | LeftOut:
    return one.result() if isinstance(one, Future) else one
