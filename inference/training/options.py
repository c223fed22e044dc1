"""What a person chooses for a training run, as the row keeps it and as the core is told it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from django.conf import settings as django_settings

from inference.ml.augment import Augmentation
from inference.ml.bundle import KERAS_NAME, Card
from inference.ml.preprocess import CELL, Preprocessing
from inference.ml.settings import Balance, Settings, WarmUp, fixed_by
from inference.models import DatasetVersion, ModelVersion, TrainingRun
from inference.registry.selectors import bundle_folder

Split = Literal["locked", "photograph", "given"]

Start = TrainingRun.Start


@dataclass(frozen=True, slots=True)
class Options:
    """The choices that are the same whatever the data are; see `inference.ml.settings.Settings`.

    ``split``: ``locked`` keeps the test set of the model in use, ``photograph`` deals all anew,
    ``given`` takes the test set that came with the data. ``stop_after_minutes`` ends the
    fine-tuning, with the best epoch so far.
    """

    backbone: str = "mobilenetv2"
    width: float = 1.0
    size: int = 128
    split: Split = "locked"
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    warm_up_crops: int = 3000
    warm_up_strength: float = 0.1
    warm_up_steps: int = 3000
    epochs: int = 12
    crops_per_epoch: int = 7200
    learning_rate: float = 3e-4
    batch: int = 32
    patience: int = 8
    stop_after_minutes: int | None = None
    balance: Balance = "oversample"
    label_smoothing: float = 0.05
    colour: float = 1.5
    stain: float = 1.0
    focus: float = 0.5
    views: int = 4

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Options:
        """As `to_json` wrote them, perhaps by an earlier version of the program."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Order:
    """A training that a person asks for.

    ``class_map`` goes from every label of the data to a class of the model; "" leaves it out.
    ``parent`` is the model in use: what is started from, or whose test set stays locked.
    """

    versions: Sequence[DatasetVersion]
    class_map: Mapping[str, str]
    start: Start
    parent: ModelVersion | None
    options: Options


def default_options(model: ModelVersion | None) -> Options:
    """What the form begins with: the network of the model in use."""
    card = card_of(model) if model else None
    if card is None or not can_go_on(card):
        return Options(split="photograph")
    return Options(**fixed_by(card), size=card.preprocessing.size)


def card_of(model: ModelVersion) -> Card | None:
    """Its card, if this version of the program reads it."""
    try:
        return Card.from_json(json.dumps(model.card))
    except ValueError:
        return None


def can_go_on(card: Card) -> bool:
    """Whether a training can start from it: one from elsewhere may lack what that takes."""
    return KERAS_NAME in card.files and card.preprocessing.region == CELL


def settings_for(
    *,
    options: Options,
    start: Start | str,
    parent: ModelVersion | None,
    out: Path,
    licences: tuple[tuple[str, str], ...] = (),
    command: str = "",
) -> Settings:
    """What the core is told.

    Args:
        parent: the model in use when the run was asked for.

    Raises:
        ValueError: a value is out of its bounds; the text says which.
    """
    going_on = start == Start.ACTIVE
    if going_on and parent is None:
        raise ValueError("No model is in use to start from. Start from other weights.")
    card = card_of(parent) if parent and going_on else None
    return Settings(
        out=out,
        start=bundle_folder(parent) if parent and going_on else None,
        weights=_imagenet(options.backbone) if start == Start.IMAGENET else None,
        keep_sides_of=_line_of(parent) if going_on or options.split == "locked" else (),
        given_parts=options.split == "given",
        backbone=options.backbone,
        width=options.width,
        preprocessing=replace(card.preprocessing if card else Preprocessing(), size=options.size),
        validation=options.validation,
        test=options.test,
        seed=options.seed,
        warm_up=WarmUp(
            crops=options.warm_up_crops,
            strength=options.warm_up_strength,
            steps=options.warm_up_steps,
        ),
        epochs=options.epochs,
        crops_per_epoch=options.crops_per_epoch,
        learning_rate=options.learning_rate,
        batch=options.batch,
        patience=options.patience,
        balance=options.balance,
        label_smoothing=options.label_smoothing,
        augmentation=Augmentation(colour=options.colour, stain=options.stain, focus=options.focus),
        views=options.views,
        licences=licences,
        command=command,
    )


def _line_of(model: ModelVersion | None) -> tuple[Path, ...]:
    """The bundles of a model and of those that it comes from: what one of them was trained with
    is in the weights of all that follow."""
    line = []
    while model:
        line.append(bundle_folder(model))
        model = model.parent
    return tuple(line)


def _imagenet(backbone: str) -> str:
    """A file on the server where there is one for this network, else the download."""
    file = str(django_settings.IMAGENET_WEIGHTS or "")
    return file if file and backbone == "mobilenetv2" else "imagenet"
