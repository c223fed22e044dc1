"""Fit the network to crops: its last layer first, then all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import keras
import numpy as np
from numpy.typing import NDArray

from inference.ml.augment import Augmentation, augment, centre
from inference.ml.calibrate import balanced_weights, fit_temperature, log_loss
from inference.ml.data import Item, count_by
from inference.ml.last_layer import fit_head
from inference.ml.network import pooled_features
from inference.ml.preprocess import Preprocessing, to_network

_WARM_UP_CROPS = 3000
_AVERAGE_EVERY = 10  # steps
_AVERAGE_MOMENTUM = 0.9


@dataclass(frozen=True, slots=True)
class Part:
    """One side of the split: crops (N, S, S, 3), labels (N,) and their items."""

    crops: NDArray[np.uint8]
    labels: NDArray[np.int64]
    items: list[Item]

    @property
    def groups(self) -> list[str]:
        return [item.group for item in self.items]

    @property
    def weights(self) -> NDArray[np.float64]:
        """Every class of every data set alike, and in it every photograph."""
        return balanced_weights(self.groups, [item.stratum for item in self.items])


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast to fine-tune; see `inference.ml.train.Settings`."""

    epochs: int
    crops_per_epoch: int
    batch: int
    learning_rate: float
    patience: int
    seed: int
    label_smoothing: float = 0.05
    augmentation: Augmentation = field(default_factory=Augmentation)

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, self.crops_per_epoch // self.batch)


def epoch_order(items: Sequence[Item], crops: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the crops of an epoch: every class alike, many copies of one photograph less.

    Within a class a photograph's chance is the square root of the number of its
    pictures: between counting photographs and counting pictures. No crop comes twice
    before every crop of its class has come once.

    Returns
    -------
    int64 array of shape (crops,)
        Positions in `items`, in random order.
    """
    labels = np.array([item.label for item in items])
    pictures = count_by([item.group for item in items])
    chance = np.array([1 / math.sqrt(pictures[item.group]) for item in items])
    classes = np.unique(labels)
    drawn: list[NDArray[np.int64]] = []
    for index, name in enumerate(classes):
        share = crops * (index + 1) // len(classes) - crops * index // len(classes)
        members = np.flatnonzero(labels == name)
        odds = chance[members] / chance[members].sum()
        whole, rest = divmod(share, len(members))
        drawn += [members] * whole
        drawn.append(rng.choice(members, rest, replace=False, p=odds))
    return rng.permutation(np.concatenate(drawn))


def predict_logits(
    model: keras.Model, crops: NDArray[np.uint8], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Logits (N, C) of crops (N, S, S, 3), converted to floats batch by batch."""
    batches = [
        np.asarray(model.predict_on_batch(to_network(crops[start : start + 64], preprocessing)))
        for start in range(0, len(crops), 64)
    ]
    return np.concatenate(batches).astype(np.float32, copy=False)


def warm_up(model: keras.Model, part: Part, preprocessing: Preprocessing, seed: int) -> None:
    """Set the last layer by logistic regression on the features of the frozen network."""
    chosen = epoch_order(part.items, min(_WARM_UP_CROPS, len(part.items)), _rng(seed))
    crops = centre(part.crops[chosen], preprocessing.size)
    features = predict_logits(pooled_features(model), crops, preprocessing)
    head = fit_head(features, part.labels[chosen], classes=model.output_shape[-1])
    model.get_layer("logits").set_weights([head.kernel, head.bias])


def fine_tune(
    model: keras.Model,
    training: Part,
    validation: Part,
    preprocessing: Preprocessing,
    *,
    schedule: Schedule,
    report: Callable[[int, int, str], None],
) -> list[dict[str, float]]:
    """Train the whole network and leave it with the weights of its best epoch.

    Parameters
    ----------
    training : Part
        With crops wider than the network's, see `inference.ml.augment`.
    validation : Part
    report : callable
        Told steps done, steps in all and, after an epoch, a line of news.

    Returns
    -------
    list of dict
        Losses before the first epoch and after each. KeyboardInterrupt ends training
        early; it is not raised again, since the best weights so far are of use.
    """
    steps = schedule.steps * schedule.epochs
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=schedule.learning_rate / 20,
        warmup_target=schedule.learning_rate,
        warmup_steps=max(1, steps // 20),
        decay_steps=max(1, steps - steps // 20),
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(rate, weight_decay=0.01, clipnorm=1.0),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=schedule.label_smoothing
        ),
        jit_compile=False,  # XLA is ten times slower on a CPU
    )
    best = _Best(model, validation, preprocessing)
    report(0, steps, f"after warm-up: {_line(best.validate())}")
    average = _Average(model)
    done = 0
    try:
        for epoch in range(1, schedule.epochs + 1):
            losses = []
            for inputs, targets in batches(training, preprocessing, schedule, epoch):
                losses.append(float(model.train_on_batch(inputs, targets)))
                done += 1
                average.follow(done)
                report(done, steps, "")
            with average.in_use():
                record = best.validate(float(np.mean(losses)))
            report(done, steps, f"epoch {epoch}: {_line(record)}")
            if epoch - best.epoch >= schedule.patience:
                break
    except KeyboardInterrupt:
        report(done, steps, "Stopped; going on with the best epoch so far.")
    model.set_weights(best.weights)
    return best.history


def batches(
    part: Part, preprocessing: Preprocessing, schedule: Schedule, epoch: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """An epoch's augmented batches; the next is made while the network learns from one.

    Keras' own loaders stood still for up to a minute at the end of an epoch.
    """
    rng = np.random.default_rng((schedule.seed, epoch))
    order = epoch_order(part.items, schedule.crops_per_epoch, rng)
    targets = np.eye(int(part.labels.max()) + 1, dtype=np.float32)

    def batch(step: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        chosen = order[step * schedule.batch : (step + 1) * schedule.batch]
        crops = augment(
            part.crops[chosen],
            preprocessing.size,
            preprocessing.background,
            rng,
            schedule.augmentation,
        )
        return to_network(crops, preprocessing), targets[part.labels[chosen]]

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(batch, 0)
        for step in range(1, schedule.steps + 1):
            ready = coming.result()
            if step < schedule.steps:
                coming = pool.submit(batch, step)
            yield ready


class _Average:
    """The running average of a network's weights.

    With so few photographs validation jumps from epoch to epoch; the average does so less.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._weights = [np.array(weights) for weights in model.get_weights()]

    def follow(self, step: int) -> None:
        if step % _AVERAGE_EVERY:
            return
        for mean, now in zip(self._weights, self._model.get_weights(), strict=True):
            mean[...] = _AVERAGE_MOMENTUM * mean + (1 - _AVERAGE_MOMENTUM) * now

    @contextmanager
    def in_use(self) -> Iterator[None]:
        now = self._model.get_weights()
        self._model.set_weights(self._weights)
        yield
        self._model.set_weights(now)


class _Best:
    """Validates, and keeps the best weights."""

    def __init__(self, model: keras.Model, part: Part, preprocessing: Preprocessing) -> None:
        self._model, self._part, self._preprocessing = model, part, preprocessing
        self._balance = part.weights
        self.epoch = 0
        self.history: list[dict[str, float]] = []
        self.weights: list[NDArray[np.float32]] = []

    def validate(self, training_loss: float | None = None) -> dict[str, float]:
        """Measure the loss after temperature scaling: confidence is scaled later anyway."""
        labels = self._part.labels
        logits = predict_logits(self._model, self._part.crops, self._preprocessing)
        scaled = logits / fit_temperature(logits, labels, self._balance)
        record = {
            "validation_loss": round(log_loss(scaled, labels, self._balance), 4),
            "validation_accuracy": round(
                float(np.average(logits.argmax(axis=1) == labels, weights=self._balance)), 4
            ),
        }
        if training_loss is not None:
            record["training_loss"] = round(training_loss, 4)
        self.history.append(record)
        if record["validation_loss"] <= self.history[self.epoch]["validation_loss"]:
            self.epoch = len(self.history) - 1
            self.weights = self._model.get_weights()
        return record


def _line(record: dict[str, float]) -> str:
    """The losses in words; in each, classes and data sets count alike."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in record.items())


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
