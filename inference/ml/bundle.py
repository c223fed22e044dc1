"""A trained model in a folder: read it, check it, refuse it if anything is off.

``model.tflite`` serves, ``model.keras`` is what training goes on from, and
``card.json`` says everything else, with the SHA-256 of both.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from inference.ml.preprocess import Preprocessing

SCHEMA_VERSION = 1
CARD_NAME = "card.json"
TFLITE_NAME = "model.tflite"
KERAS_NAME = "model.keras"


class BundleError(Exception):
    """A model bundle cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Card:
    """What a bundle says about its model.

    Attributes
    ----------
    schema : int
        Version of this structure.
    version : str
        Name of the model, e.g. ``mobilenetv2-128-20261120-1a2b3c4d``.
    created : str
        Time in UTC, ISO 8601.
    classes : tuple of str
        In the order of the network's answers.
    preprocessing : Preprocessing
    finder_version : str
        The finder that cut the training crops.
    outputs : dict
        Names of the tensors ``logits`` (1, C) and ``features`` (1, h, w, channels).
    temperature : float
        Divides the logits before softmax.
    thresholds : dict
        Confidence under which an answer of this class is flagged as uncertain.
    metrics, dataset, split, training : dict
        Figures with intervals; fingerprint and counts; sides and seed; how it was made.
    files : dict
        SHA-256 of the other files of the folder.
    """

    schema: int
    version: str
    created: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    finder_version: str
    outputs: dict[str, str]
    temperature: float
    thresholds: dict[str, float]
    metrics: dict[str, Any]
    dataset: dict[str, Any]
    split: dict[str, Any]
    training: dict[str, Any]
    files: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Card:
        """Read a card.

        Raises
        ------
        ValueError
            If it is no JSON, of another schema, incomplete or inconsistent.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or values.get("schema") != SCHEMA_VERSION:
            raise ValueError(f"its schema is not {SCHEMA_VERSION}")
        missing = {field.name for field in fields(cls)} ^ set(values)
        if missing:
            raise ValueError(f"these entries are missing or unknown: {', '.join(sorted(missing))}")
        try:
            values["classes"] = tuple(values["classes"])
            values["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
            card = cls(**values)
            card._check()
        except (TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"an entry has the wrong type ({error})") from error
        return card

    def _check(self) -> None:
        # The version names a folder: it must not lead anywhere else.
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", self.version):
            raise ValueError("its version is no plain name")
        if len(self.classes) < 2 or len(set(self.classes)) != len(self.classes):
            raise ValueError("its classes are fewer than two or not distinct")
        if set(self.thresholds) != set(self.classes):
            raise ValueError("its thresholds do not match its classes")
        if not all(0 <= float(threshold) <= 1 for threshold in self.thresholds.values()):
            raise ValueError("its thresholds are not all in 0 to 1")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError("its temperature is not positive")
        if not {"logits", "features"} <= set(self.outputs):
            raise ValueError("it does not name the outputs logits and features")
        if not isinstance(self.files, dict) or TFLITE_NAME not in self.files:
            raise ValueError(f"it has no SHA-256 of {TFLITE_NAME}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checked bundle.

    Attributes
    ----------
    path : Path
        Its folder.
    card : Card
    sha256 : str
        Of the card, and so of everything, since the card holds the files' hashes.
    """

    path: Path
    card: Card
    sha256: str

    @property
    def version(self) -> str:
        return self.card.version

    @property
    def classes(self) -> tuple[str, ...]:
        return self.card.classes

    @property
    def tflite_path(self) -> Path:
        return self.path / TFLITE_NAME

    @property
    def keras_path(self) -> Path:
        return self.path / KERAS_NAME


def load_bundle(path: Path) -> Bundle:
    """Read and check a bundle.

    Parameters
    ----------
    path : Path
        The folder with the card.

    Raises
    ------
    BundleError
        If the folder, its card or a file that the card names is missing or altered.
    """
    try:
        text = (path / CARD_NAME).read_bytes()
    except OSError as error:
        raise BundleError(
            f"There is no model at {path} ({CARD_NAME}: {error.strerror}). "
            "Train one with 'make train' or set MODEL_BUNDLE to a bundle's folder."
        ) from error
    try:
        card = Card.from_json(text.decode())
    except ValueError as error:
        raise BundleError(
            f"The card of the model at {path} cannot be used: {error}. "
            "Copy the bundle again or train one with this version of the program."
        ) from error
    for name, expected in card.files.items():
        if Path(name).name != name:
            raise BundleError(f"The card of the model at {path} names a file outside it: {name}.")
        if not (path / name).is_file():
            raise BundleError(f"The model at {path} lacks {name}. Copy the bundle again.")
        if sha256_of(path / name) != expected:
            raise BundleError(
                f"{name} of the model at {path} is not the file that its card describes "
                "(SHA-256 differs). Copy the bundle again; do not use this one."
            )
    return Bundle(path=path, card=card, sha256=hashlib.sha256(text).hexdigest())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
