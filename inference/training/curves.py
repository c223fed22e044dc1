"""The curves of a training as drawings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil

from inference.drawing import HEIGHT, WIDTH, Scale

Record = dict[str, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of validation and training by epoch, as places in the drawing."""

    title: str
    validation: str
    training: str
    across: list[tuple[float, int]]
    up: list[tuple[float, str]]
    width: float = WIDTH
    height: float = HEIGHT


def charts_of(history: Sequence[Record], *, epochs: int) -> list[Chart]:
    """Losses and accuracies, on an axis of all epochs that are meant to come."""
    if not history:
        return []
    losses = [record[name] for record in history for name in LOSS if name in record]
    highest = max(*losses, 0.1)
    accuracies = [record[name] for record in history for name in ACCURACY if name in record]
    floor = max(level for level in (0.0, 0.5, 0.8) if level <= min(accuracies))
    return [
        _chart("Loss", LOSS, history, epochs, (0, ceil(highest * 5) / 5), "{:.1f}".format),
        _chart(
            "Accuracy",
            ACCURACY,
            history,
            epochs,
            (floor, 1.0),
            lambda share: f"{100 * share:.0f} %",
        ),
    ]


LOSS = ("validation_loss", "training_loss")
ACCURACY = ("validation_accuracy", "training_accuracy")


def _chart(
    title: str,
    names: tuple[str, str],
    history: Sequence[Record],
    epochs: int,
    up: tuple[float, float],
    words: Callable[[float], str],
) -> Chart:
    last = max(epochs, len(history) - 1)
    scale = Scale((0, last), up)
    every = max(1, ceil(last / 6))
    ticks = [up[0] + (up[1] - up[0]) * step / 2 for step in range(3)]
    validation, training = (
        scale.points([(at, record[name]) for at, record in enumerate(history) if name in record])
        for name in names
    )
    return Chart(
        title=title,
        validation=validation,
        training=training,
        across=[(scale.x(epoch), epoch) for epoch in range(0, last + 1, every)],
        up=[(scale.y(tick), words(tick)) for tick in ticks],
    )


def best_epoch(history: Sequence[Record]) -> int | None:
    """The epoch whose weights the model has: the last one with the lowest validation loss."""
    best = None
    for epoch, record in enumerate(history):
        if best is None or record["validation_loss"] <= history[best]["validation_loss"]:
            best = epoch
    return best
