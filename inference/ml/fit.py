"""Fit the network to crops: its last layer first, then all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from inference.ml.augment import Augmentation, augment, centre
from inference.ml.calibrate import balanced_weights, fit_temperature, log_loss
from inference.ml.checkpoint import Checkpoint
from inference.ml.data import DataError, Item, count_by
from inference.ml.last_layer import fit_head
from inference.ml.network import pooled_features
from inference.ml.preprocess import Preprocessing, to_network
from inference.ml.progress import Progress, Report, Stop, cancelled, go_on
from inference.ml.settings import Balance, WarmUp
from inference.ml.sidecar import Head

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
    """How long and how fast to fine-tune; see `inference.ml.settings.Settings`."""

    epochs: int
    crops_per_epoch: int
    batch: int
    learning_rate: float
    patience: int
    seed: int
    label_smoothing: float = 0.05
    augmentation: Augmentation = field(default_factory=Augmentation)
    balance: Balance = "oversample"

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, self.crops_per_epoch // self.batch)


def epoch_order(
    items: Sequence[Item], crops: int, rng: np.random.Generator, balance: Balance = "oversample"
) -> NDArray[np.int64]:
    """Draw the crops of an epoch: many copies of one photograph less, and rare classes more.

    A photograph's chance is the square root of the number of its pictures: between counting
    photographs and counting pictures. No crop comes twice before every other that it is drawn
    with has come once.

    Parameters
    ----------
    items : sequence of Item
    crops : int
    rng : numpy Generator
    balance : "oversample", "weights" or "none"
        With the first every class is drawn alike, by itself; else all of them together.

    Returns
    -------
    int64 array of shape (crops,)
        Positions in `items`, in random order.
    """
    labels = np.array([item.label for item in items])
    pictures = count_by([item.group for item in items])
    chance = np.array([1 / math.sqrt(pictures[item.group]) for item in items])
    pools = [np.arange(len(items))]
    if balance == "oversample":
        pools = [np.flatnonzero(labels == name) for name in np.unique(labels)]
    drawn: list[NDArray[np.int64]] = []
    for index, members in enumerate(pools):
        share = crops * (index + 1) // len(pools) - crops * index // len(pools)
        odds = chance[members] / chance[members].sum()
        whole, rest = divmod(share, len(members))
        drawn += [members] * whole
        drawn.append(rng.choice(members, rest, replace=False, p=odds))
    return rng.permutation(np.concatenate(drawn))


def alike(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights (N,) with mean 1 by which every class that occurs counts the same."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return (len(labels) / len(counts) / counts[place]).astype(np.float32)


def predict_logits(
    model: keras.Model, crops: NDArray[np.uint8], preprocessing: Preprocessing
) -> NDArray[np.float32]:
    """Logits (N, C) of crops (N, S, S, 3), converted to floats batch by batch."""
    batches = [
        np.asarray(model.predict_on_batch(to_network(crops[start : start + 64], preprocessing)))
        for start in range(0, len(crops), 64)
    ]
    return np.concatenate(batches).astype(np.float32, copy=False)


def warm_up(
    model: keras.Model,
    part: Part,
    preprocessing: Preprocessing,
    seed: int,
    *,
    how: WarmUp | None = None,
    prior: Head | None = None,
) -> None:
    """Set the last layer by logistic regression on the features of the frozen network.

    This stage is solved, not stepped through: it has no epochs and no rate.

    Parameters
    ----------
    model : keras.Model
    part : Part
    preprocessing : Preprocessing
    seed : int
        Of the crops that are drawn.
    how : WarmUp, optional
    prior : Head, optional
        What the penalty pulls towards: the last layer of the model that is gone on from. Thus
        a class with few cells stays as that knew it, one with many is set by them, and one
        that is new starts from no opinion.
    """
    how = how or WarmUp()
    chosen = epoch_order(part.items, min(how.crops, len(part.items)), np.random.default_rng(seed))
    crops = centre(part.crops[chosen], preprocessing.size)
    features = predict_logits(pooled_features(model), crops, preprocessing)
    head = fit_head(
        features,
        part.labels[chosen],
        classes=model.output_shape[-1],
        strength=how.strength,
        prior=prior,
        steps=how.steps,
    )
    model.get_layer("logits").set_weights([head.kernel, head.bias])


def fine_tune(
    model: keras.Model,
    training: Part,
    validation: Part,
    preprocessing: Preprocessing,
    *,
    schedule: Schedule,
    report: Report = lambda _: None,
    stop: Stop = go_on,
    checkpoint: Path | None = None,
) -> list[dict[str, float]]:
    """Train the whole network and leave it with the weights of its best epoch.

    Parameters
    ----------
    training : Part
        With crops wider than the network's, see `inference.ml.augment`.
    validation : Part
    report, stop : callable
    checkpoint : Path, optional
        Written after the warm-up and after every epoch. If it is there already, training goes
        on after its epoch, with the same batches as without the interruption.

    Returns
    -------
    list of dict
        Losses and accuracies before the first epoch and after each. Those of training are of
        its augmented crops, as they are drawn, while the network learns.

    Raises
    ------
    Cancelled
    DataError
        If the checkpoint cannot be read, or the training diverges.
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
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,  # XLA is ten times slower on a CPU
    )
    model.optimizer.build(model.trainable_variables)
    run = _Run(model, _Average(model), _Best(model, validation, preprocessing))
    before = Checkpoint.load(checkpoint) if checkpoint else None
    if before:
        run.take_up(before)
    else:
        run.best.validate()
        run.keep(checkpoint)
    for epoch, record in enumerate(run.best.history):
        report(_news(epoch, record, epoch * schedule.steps, steps))
    if before and before.epoch:
        told = f"Going on after epoch {before.epoch}."
        report(Progress("train", before.epoch * schedule.steps, steps, told))
    for epoch in range(len(run.best.history), schedule.epochs + 1):
        if epoch - 1 - run.best.epoch >= schedule.patience:
            break
        losses = []
        done = (epoch - 1) * schedule.steps
        for batch in batches(training, preprocessing, schedule, epoch):
            wish = stop()
            if wish == "cancel":
                cancelled()
            if wish == "finish":
                break
            losses.append(model.train_on_batch(*batch))
            done += 1
            run.average.follow(done)
            report(Progress("train", done, steps))
        if len(losses) < schedule.steps:
            told = "Stopped; going on with the best epoch so far."
            report(Progress("train", done, steps, told))
            break
        with run.average.in_use():
            record = run.best.validate(*np.mean(losses, axis=0).tolist())
        run.keep(checkpoint)
        report(_news(epoch, record, done, steps))
    model.set_weights(run.best.weights)
    return run.best.history


def batches(
    part: Part, preprocessing: Preprocessing, schedule: Schedule, epoch: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]]:
    """An epoch's augmented batches; the next is made while the network learns from one.

    Inputs, targets and, if the schedule says so, weights. They depend on the seed and the
    number of the epoch alone. Keras' own loaders stood still for up to a minute at the end of
    an epoch.
    """
    rng = np.random.default_rng((schedule.seed, epoch))
    order = epoch_order(part.items, schedule.crops_per_epoch, rng, schedule.balance)
    targets = np.eye(int(part.labels.max()) + 1, dtype=np.float32)
    weights = alike(part.labels[order]) if schedule.balance == "weights" else None

    def batch(
        step: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None]:
        where = slice(step * schedule.batch, (step + 1) * schedule.batch)
        chosen = order[where]
        crops = augment(
            part.crops[chosen],
            preprocessing.size,
            preprocessing.background,
            rng,
            schedule.augmentation,
        )
        inputs = to_network(crops, preprocessing)
        return inputs, targets[part.labels[chosen]], None if weights is None else weights[where]

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
        self.weights = [np.array(weights) for weights in model.get_weights()]

    def follow(self, step: int) -> None:
        if step % _AVERAGE_EVERY:
            return
        for mean, now in zip(self.weights, self._model.get_weights(), strict=True):
            mean[...] = _AVERAGE_MOMENTUM * mean + (1 - _AVERAGE_MOMENTUM) * now

    @contextmanager
    def in_use(self) -> Iterator[None]:
        now = self._model.get_weights()
        self._model.set_weights(self.weights)
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

    def validate(
        self, training_loss: float | None = None, training_accuracy: float | None = None
    ) -> dict[str, float]:
        """Measure the loss after temperature scaling: confidence is scaled later anyway.

        Raises
        ------
        DataError
            If the network answers no numbers any more.
        """
        labels = self._part.labels
        logits = predict_logits(self._model, self._part.crops, self._preprocessing)
        if not np.isfinite([training_loss or 0.0, *logits.ravel()]).all():
            raise DataError(
                "The training has diverged: its loss is no number any more. Train again with a "
                "lower learning rate."
            )
        scaled = logits / fit_temperature(logits, labels, self._balance)
        told = {
            "validation_loss": log_loss(scaled, labels, self._balance),
            "validation_accuracy": np.average(
                logits.argmax(axis=1) == labels, weights=self._balance
            ),
            "training_loss": training_loss,
            "training_accuracy": training_accuracy,
        }
        record = {name: round(float(value), 4) for name, value in told.items() if value is not None}
        self.history.append(record)
        if record["validation_loss"] <= self.history[self.epoch]["validation_loss"]:
            self.epoch = len(self.history) - 1
            self.weights = self._model.get_weights()
        return record


@dataclass(frozen=True, slots=True)
class _Run:
    """What changes in the course of a training."""

    model: keras.Model
    average: _Average
    best: _Best

    def keep(self, path: Path | None) -> None:
        if path is None:
            return
        Checkpoint(
            history=self.best.history,
            best_epoch=self.best.epoch,
            variables=[np.asarray(variable) for variable in self.model.variables],
            optimizer=[np.asarray(variable) for variable in self.model.optimizer.variables],
            average=self.average.weights,
            best=self.best.weights,
        ).save(path)

    def take_up(self, kept: Checkpoint) -> None:
        for variables, values in (
            (self.model.variables, kept.variables),
            (self.model.optimizer.variables, kept.optimizer),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        self.average.weights = kept.average
        self.best.history = list(kept.history)
        self.best.epoch = kept.best_epoch
        self.best.weights = kept.best


def _news(epoch: int, record: dict[str, float], done: int, steps: int) -> Progress:
    """The end of an epoch; in each figure of validation, classes and data sets count alike."""
    told = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in record.items())
    when = f"epoch {epoch}" if epoch else "after warm-up"
    return Progress("train", done, steps, f"{when}: {told}", epoch=epoch, record=record)
