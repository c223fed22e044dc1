"""What a person says of a file that cannot say it itself. Imports nothing heavy, for forms."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from inference.ml.preprocess import BILINEAR, INTERPOLATIONS

SCALES = ("0..1", "-1..1", "0..255", "caffe")
"""What pixels were before they went into the network. ``caffe``: 0 to 255 less the means over
ImageNet, as `keras.applications.vgg16.preprocess_input` does it."""

RGB, BGR = "rgb", "bgr"
COLOURS = (RGB, BGR)

USUAL = {
    "mobilenetv2": "-1..1",
    "resnet50v2": "-1..1",
    "vgg16": "caffe",
    "efficientnetv2b0": "0..255",
    "plain-cnn": "0..1",
}
"""What the weights of each network were made for; many a notebook divides by 255 all the same."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person says.

    Attributes
    ----------
    classes : tuple of str
        In the order of the network's answers, in lower case.
    scale : str
        Of `SCALES`.
    colours : str
        In which order the three numbers of a pixel go in, of `COLOURS`.
    interpolation : str
        How pictures were squeezed, see `inference.ml.preprocess.Preprocessing`.
    """

    classes: tuple[str, ...]
    scale: str
    colours: str = RGB
    interpolation: str = BILINEAR

    def __post_init__(self) -> None:
        if self.scale not in SCALES or self.colours not in COLOURS:
            raise ValueError(f"Pixels are scaled to one of {SCALES}, in one of {COLOURS}.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"Pictures are scaled by one of {INTERPOLATIONS}.")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError("Classes must be two at least, and each another.")
        if not all(re.fullmatch(r"[a-z0-9][a-z0-9 _-]{0,39}", name) for name in self.classes):
            raise ValueError(
                "Classes are called by up to 40 small letters, digits, spaces, _ and -."
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Options:
        """What `to_dict` gave, after JSON."""
        return cls(**(values | {"classes": tuple(values["classes"])}))


def usual_scale(backbone: str, *, scales_pixels: bool) -> str:
    """What to suggest: a network that scales pixels itself takes them as they are."""
    return "0..255" if scales_pixels else USUAL[backbone]
