"""What a training run is told. Imports no TensorFlow, so that a form can use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from inference.ml.augment import Augmentation
from inference.ml.bundle import Card
from inference.ml.preprocess import CELL, Preprocessing
from inference.ml.views import VIEWS

SMALLEST_SIZE = 32
"""Under which the backbones, which halve a crop five times, have no map left."""

Balance = Literal["oversample", "weights", "none"]
BALANCES: tuple[Balance, ...] = get_args(Balance)


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The first stage: the last layer alone, on the features of the network as it starts.

    That is a logistic regression, solved and not stepped through: it has neither epochs nor a
    rate. What it has instead:

    Attributes
    ----------
    crops : int
        Over which it is fitted, at most.
    strength : float
        The inverse of its L2 penalty, as scikit-learn's C.
    steps : int
        Of the solver, at most; some 20 to 250 are taken.
    """

    crops: int = 3000
    strength: float = 0.1
    steps: int = 3000

    def __post_init__(self) -> None:
        if min(self.crops, self.steps) < 1 or not self.strength > 0:
            raise ValueError("Crops, steps and strength of the warm-up must be positive.")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run is told.

    Attributes
    ----------
    out : Path
        Folder of the bundle.
    weights : str or None
        Path of starting weights, ``imagenet``, or None for random ones.
    start : Path or None
        Folder of a bundle to go on from, instead of weights: its network, and of its last
        layer what it knows of the classes. Backbone and width must be its own
        (`fixed_by`); the size of the crops may be another. Its sides are kept, too.
    epochs, crops_per_epoch, batch : int
    learning_rate : float
        At the top of its curve.
    patience : int
        Epochs without a better validation loss before training stops.
    validation, test : float
        Shares of the source photographs that are dealt.
    keep_sides_of : tuple of Path
        Bundles. A photograph that one of them knows keeps the side that it had there, see
        `inference.ml.sides`: what was trained on is never tested with, and the test side
        stays the same over generations of models. Only new photographs are dealt.
    given_parts : bool
        Whether items whose part is ``test`` make the test side; `test` then counts for nothing.
    class_map : dict of str to str
        From labels of the data to classes of the model; an empty class leaves the label out.
        Labels that are not in it stay.
    balance : "oversample", "weights" or "none"
        Every class is drawn alike in an epoch; or as often as it occurs, and weighs more in
        the loss the rarer it is; or neither.
    warm_up : WarmUp
        The first stage; what else is said of epochs and rates is of the second.
    seed : int
    preprocessing : Preprocessing
        How crops are cut.
    augmentation : Augmentation
        How strongly training crops vary.
    backbone : str
        A key of `inference.ml.network.BACKBONES`.
    width : float
        Channels of MobileNetV2 over those of the paper.
    label_smoothing : float
        Share of the target that goes to all classes alike: 0 to 0.3.
    adapt_norm : bool
        Whether batch normalisation learns the statistics of smears or keeps ImageNet's.
    views : int
        Symmetries of the square over which the finished model averages: 1, 2, 4 or 8.
    licences : tuple of (str, str)
        Of data sets and of the starting weights (under ``weights``), for the model card.
    command : str
        How the run was started, for the card.
    """

    out: Path
    weights: str | None = None
    start: Path | None = None
    epochs: int = 12
    crops_per_epoch: int = 7200
    batch: int = 32
    learning_rate: float = 3e-4
    patience: int = 8
    validation: float = 0.15
    test: float = 0.2
    keep_sides_of: tuple[Path, ...] = ()
    given_parts: bool = False
    class_map: dict[str, str] = field(default_factory=dict)
    balance: Balance = "oversample"
    warm_up: WarmUp = field(default_factory=WarmUp)
    seed: int = 0
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    backbone: str = "mobilenetv2"
    width: float = 1.0
    label_smoothing: float = 0.05
    adapt_norm: bool = True
    views: int = 4
    licences: tuple[tuple[str, str], ...] = ()
    command: str = ""

    @property
    def earlier(self) -> tuple[Path, ...]:
        """The bundles whose sides are kept."""
        return tuple(dict.fromkeys((*((self.start,) if self.start else ()), *self.keep_sides_of)))

    def __post_init__(self) -> None:
        if self.start and self.weights:
            raise ValueError("Start from a model or from weights, not from both.")
        if self.balance not in BALANCES:
            raise ValueError(f"There is no balance {self.balance!r}; choose of {BALANCES}.")
        if self.preprocessing.region != CELL:
            raise ValueError(
                "What is trained here looks at cells that are cut out, not at whole pictures. "
                "Start from a model of cells, or from weights."
            )
        if self.preprocessing.size < SMALLEST_SIZE:
            raise ValueError(f"Crops must be {SMALLEST_SIZE} pixels or more to train a network.")
        counts = (self.epochs, self.crops_per_epoch, self.batch, self.patience)
        if min(counts) < 1 or not self.learning_rate > 0:
            raise ValueError("Epochs, crops, batch, patience and learning rate must be positive.")
        if not 0 <= self.label_smoothing <= 0.3:
            raise ValueError("Label smoothing must be 0 to 0.3.")
        if self.views not in VIEWS:
            raise ValueError(f"There are no {self.views} views; choose of {VIEWS}.")
        if min(self.validation, self.test) <= 0 or self.validation + self.test >= 1:
            raise ValueError(
                "The shares for validation and test must be above 0, together below 1."
            )


def fixed_by(card: Card) -> dict[str, Any]:
    """What a bundle to start from leaves no choice of: `backbone` and `width`."""
    return {name: card.network[name] for name in ("backbone", "width")}
