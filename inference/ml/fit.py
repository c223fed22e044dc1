"""Fit the network to crops: its last layer first, then all of it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from inference.ml.augment import Augmentation, augment, centre
from inference.ml.calibrate import balanced_weights, fit_temperature, log_loss
from inference.ml.data import Item, count_by
from inference.ml.network import pooled_features
from inference.ml.preprocess import Preprocessing, to_network

_WARM_UP_CROPS = 3000
_AVERAGE_MOMENTUM = 0.99


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
    regression = LogisticRegression(C=0.1, max_iter=200)
    with warnings.catch_warnings():
        # Near the optimum is good enough: fine-tuning goes on from there.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(features, part.labels[chosen])
    kernel, bias = regression.coef_.T, regression.intercept_
    if kernel.shape[1] == 1:  # scikit-learn keeps one column for two classes
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.hstack([-bias / 2, bias / 2])
    model.get_layer("logits").set_weights([kernel, bias])


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
        # Validation jumps from epoch to epoch with so few photographs; the running average
        # of the weights does so less.
        optimizer=keras.optimizers.AdamW(
            rate, weight_decay=0.01, clipnorm=1.0, use_ema=True, ema_momentum=_AVERAGE_MOMENTUM
        ),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=schedule.label_smoothing
        ),
        jit_compile=False,  # XLA is ten times slower on a CPU
    )
    best = _KeepBest(validation, preprocessing, schedule, report)
    best.set_model(model)
    best.validate()
    report(0, steps, f"after warm-up: {_line(best.history[0])}")
    try:
        model.fit(
            _Epochs(training, preprocessing, schedule),
            epochs=schedule.epochs,
            callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True), best],
            verbose=0,
        )
    except KeyboardInterrupt:
        report(best.done, steps, "Stopped; going on with the best epoch so far.")
    model.set_weights(best.weights)
    return best.history


class _Epochs(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """Augmented batches, drawn anew for each epoch."""

    def __init__(self, part: Part, preprocessing: Preprocessing, schedule: Schedule) -> None:
        super().__init__()
        self._part, self._preprocessing, self._schedule = part, preprocessing, schedule
        self._targets = np.eye(int(part.labels.max()) + 1, dtype=np.float32)[part.labels]
        self._rng = _rng(schedule.seed + 1)
        self.on_epoch_end()

    def __len__(self) -> int:
        return self._schedule.steps

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        batch = self._schedule.batch
        chosen = self._order[index * batch : (index + 1) * batch]
        parameters = self._preprocessing
        crops = augment(
            self._part.crops[chosen],
            parameters.size,
            parameters.background,
            self._rng,
            self._schedule.augmentation,
        )
        return to_network(crops, parameters), self._targets[chosen]

    def on_epoch_end(self) -> None:
        self._order = epoch_order(self._part.items, self._schedule.crops_per_epoch, self._rng)


class _KeepBest(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Validate after each epoch, keep the best weights, stop when none comes any more."""

    def __init__(
        self,
        validation: Part,
        preprocessing: Preprocessing,
        schedule: Schedule,
        report: Callable[[int, int, str], None],
    ) -> None:
        super().__init__()
        self._validation, self._preprocessing = validation, preprocessing
        self._schedule, self._report = schedule, report
        self._balance = validation.weights
        self._best_epoch = 0
        self.done = 0
        self.history: list[dict[str, float]] = []
        self.weights: list[NDArray[np.float32]] = []

    def validate(self, training_loss: float | None = None) -> None:
        """Measure the loss after temperature scaling: confidence is scaled later anyway."""
        labels = self._validation.labels
        logits = predict_logits(self.model, self._validation.crops, self._preprocessing)
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
        if record["validation_loss"] <= self.history[self._best_epoch]["validation_loss"]:
            self._best_epoch = len(self.history) - 1
            self.weights = self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.done += 1
        self._report(self.done, self._schedule.steps * self._schedule.epochs, "")

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.validate((logs or {}).get("loss"))
        self._report(
            self.done,
            self._schedule.steps * self._schedule.epochs,
            f"epoch {epoch + 1}: {_line(self.history[-1])}",
        )
        if epoch + 1 - self._best_epoch >= self._schedule.patience:
            self.model.stop_training = True


def _line(record: dict[str, float]) -> str:
    """The losses in words; in each, classes and data sets count alike."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in record.items())


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)
