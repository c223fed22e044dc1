"""What a training tells while it runs, and how it is told to stop. Imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

Stage = Literal["cut", "warm up", "train", "evaluate"]


class Cancelled(Exception):  # noqa: N818 - a wish and no error
    """A training was stopped and nothing is to be kept of it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands.

    Attributes
    ----------
    stage : Stage
    done, total : int
        Steps of the stage.
    message : str
        A line, if there is news.
    epoch : int or None
        The epoch that has ended, if one has; 0 is the warm-up. A run that is taken up again
        tells of every epoch before once more.
    record : dict or None
        Losses and accuracies of that epoch: its entry in the history.
    """

    stage: Stage
    done: int
    total: int
    message: str = ""
    epoch: int | None = None
    record: dict[str, float] | None = None


Report = Callable[[Progress], None]

Stop = Callable[[], str]
"""Asked at every step; an empty answer means: go on. ``finish``: end the fine-tuning, and evaluate
and write the best epoch so far. ``cancel``: raise `Cancelled`. Before there is an epoch to keep,
``finish`` does so, too."""


def go_on() -> str:
    """The `Stop` of a run that nobody stops."""
    return ""


def cancelled() -> NoReturn:
    """Raise `Cancelled`."""
    raise Cancelled("The training was stopped; no model was written.")
