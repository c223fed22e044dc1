"""A trained model in a folder: read it, check it, refuse it if anything is off.

``model.tflite`` goes from a crop to its feature map and ``head.npz`` from there to the
answer; ``features.npz`` and ``manifest.csv.gz`` are what is left of the training data
(see `inference.ml.sidecar`); ``model.keras``, if there, is what training goes on from, but for
its last layer, which may be that of the model this one was adapted from.
``card.json`` says everything else, with the SHA-256 of all of them.

A model that was trained elsewhere comes without what is left of training: nothing is known of
the pictures it has seen, so it cannot tell what is unfamiliar, and its card says so.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from inference.ml.preprocess import AREA, CELL, Preprocessing
from inference.ml.views import VIEWS

SCHEMA_VERSION = 3
_READ = (2, 3)
"""Cards of schema 2 know one region and one interpolation, and say neither."""

CARD_NAME = "card.json"
TFLITE_NAME = "model.tflite"
HEAD_NAME = "head.npz"
FEATURES_NAME = "features.npz"
MANIFEST_NAME = "manifest.csv.gz"
KERAS_NAME = "model.keras"

LONGEST_CLASS = 40
"""Letters of a class's name: what the database keeps of an answer."""

MOST_CLASSES = 100

SCORE = "cosine-knn"
"""Of unfamiliarity, see `inference.ml.unfamiliar`; there is no other yet."""

_NEEDED = (TFLITE_NAME, HEAD_NAME)
_OF_TRAINING = (FEATURES_NAME, MANIFEST_NAME)


class BundleError(Exception):
    """A model bundle cannot be used; the message says why and what to do."""


class SchemaError(BundleError, ValueError):
    """A bundle was made by another version of the program."""


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
    network : dict
        ``backbone``; its ``width``; how many ``features`` its last map has; over how many
        ``views`` (symmetries of the square) answers are averaged.
    unfamiliarity : dict or None
        The ``score``, how many ``neighbours`` it looks at, the ``threshold`` over which a
        cell is flagged, and the ``share`` of home's cells that may be. None if the model's
        training is not known: then nothing is flagged as unfamiliar.
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
    network: dict[str, Any]
    unfamiliarity: dict[str, Any] | None
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
        SchemaError
            If it is of another schema.
        ValueError
            If it is no JSON, incomplete or inconsistent.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError("it is no object")
        if values.get("schema") not in _READ:
            raise SchemaError(
                f"its schema is {values.get('schema')}, and this version of the program reads "
                f"{' and '.join(map(str, _READ))}"
            )
        missing = {field.name for field in fields(cls)} ^ set(values)
        if missing:
            raise ValueError(f"these entries are missing or unknown: {', '.join(sorted(missing))}")
        try:
            values["classes"] = tuple(values["classes"])
            if values["schema"] == 2:
                values["preprocessing"] = {
                    "region": CELL,
                    "interpolation": AREA,
                } | values["preprocessing"]
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
        if len(self.classes) > MOST_CLASSES:
            raise ValueError(f"its classes are more than {MOST_CLASSES}")
        if not all(0 < len(label) <= LONGEST_CLASS for label in self.classes):
            raise ValueError(f"a class has no name, or one of more than {LONGEST_CLASS} letters")
        if set(self.thresholds) != set(self.classes):
            raise ValueError("its thresholds do not match its classes")
        if not all(0 <= float(threshold) <= 1 for threshold in self.thresholds.values()):
            raise ValueError("its thresholds are not all in 0 to 1")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError("its temperature is not positive")
        if set(self.network) != {"backbone", "width", "features", "views"}:
            raise ValueError("its network is not backbone, width, features and views")
        if self.network["features"] < 1 or self.network["views"] not in VIEWS:
            raise ValueError(f"its network has no features, or views are not in {VIEWS}")
        needed = set(_NEEDED)
        if self.unfamiliarity is not None:
            needed |= set(_OF_TRAINING)
            self._check_unfamiliarity(self.unfamiliarity)
        lacking = needed - set(dict(self.files))
        if lacking:
            raise ValueError(f"it has no SHA-256 of {', '.join(sorted(lacking))}")

    @staticmethod
    def _check_unfamiliarity(told: dict[str, Any]) -> None:
        if set(told) != {"score", "neighbours", "threshold", "share"}:
            raise ValueError("its unfamiliarity is not score, neighbours, threshold and share")
        if told["score"] != SCORE or told["neighbours"] < 1:
            raise ValueError("its score of unfamiliarity is none that this program knows")
        if not 0 <= told["threshold"] <= 2:
            raise ValueError("its threshold of unfamiliarity is not in 0 to 2")


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
    def training_known(self) -> bool:
        """Whether it says which pictures it was made with, and can tell what is unlike them."""
        return self.card.unfamiliarity is not None

    @property
    def tflite_path(self) -> Path:
        return self.path / TFLITE_NAME

    @property
    def head_path(self) -> Path:
        return self.path / HEAD_NAME

    @property
    def features_path(self) -> Path:
        return self.path / FEATURES_NAME

    @property
    def manifest_path(self) -> Path:
        return self.path / MANIFEST_NAME

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
    SchemaError
        If it was made by another version of the program.
    BundleError
        If the folder, its card or a file that the card names is missing or altered.
    """
    try:
        text = (path / CARD_NAME).read_bytes()
    except OSError as error:
        raise BundleError(
            f"There is no model at {path.name or path} ({CARD_NAME}: {error.strerror}). "
            "Train one with 'make train' or set MODEL_BUNDLE to a bundle's folder."
        ) from error
    try:
        card = Card.from_json(text.decode())
    except ValueError as error:
        kind = SchemaError if isinstance(error, SchemaError) else BundleError
        raise kind(
            f"The card of the model at {path.name} cannot be used: {error}. "
            "Copy the bundle again or train one with this version of the program."
        ) from error
    for name, expected in card.files.items():
        if Path(name).name != name:
            raise BundleError(
                f"The card of the model at {path.name} names a file outside it: {name}."
            )
        if not (path / name).is_file():
            raise BundleError(f"The model at {path.name} lacks {name}. Copy the bundle again.")
        if sha256_of(path / name) != expected:
            raise BundleError(
                f"{name} of the model at {path.name} is not the file that its card describes "
                "(SHA-256 differs). Copy the bundle again; do not use this one."
            )
    return Bundle(path=path, card=card, sha256=hashlib.sha256(text).hexdigest())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
