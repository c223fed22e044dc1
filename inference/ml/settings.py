"""What a training run is told. Imports no TensorFlow, so that a form can use it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from inference.ml.augment import Augmentation
from inference.ml.preprocess import Preprocessing
from inference.ml.views import VIEWS


@dataclass(frozen=True, slots=True)
class Settings:
    """What a training run is told.

    Attributes
    ----------
    data, groups : tuple of Path
        Folders of class sub-folders; tables of source photographs.
    out : Path
        Folder of the bundle.
    weights : str or None
        Path of starting weights, ``imagenet``, or None for random ones (tests only).
    epochs, crops_per_epoch, batch : int
    learning_rate : float
        At the top of its curve.
    patience : int
        Epochs without a better validation loss before training stops.
    validation, test : float
        Shares of the source photographs.
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

    data: tuple[Path, ...]
    out: Path
    weights: str | None
    groups: tuple[Path, ...] = ()
    epochs: int = 12
    crops_per_epoch: int = 7200
    batch: int = 32
    learning_rate: float = 3e-4
    patience: int = 8
    validation: float = 0.15
    test: float = 0.2
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

    def __post_init__(self) -> None:
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
