"""Put a bundle's folder together, without TensorFlow."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inference.ml.bundle import CARD_NAME, SCHEMA_VERSION, Card, load_bundle, sha256_of
from inference.ml.finder import FINDER_VERSION
from inference.ml.preprocess import Preprocessing

PARITY = 1e-3
"""Largest difference of a probability between Keras and LiteRT that is let through."""


class ExportError(Exception):
    """A model cannot be written; the message says why."""


@contextmanager
def bundle_draft(folder: Path) -> Iterator[Path]:
    """A folder to write a bundle into; it takes its place whole or not at all.

    A bundle that is there already is replaced.

    Raises
    ------
    ExportError
        If the place holds something else or cannot be written.
    """
    with folder_draft(folder, known_by=CARD_NAME) as draft:
        yield draft
        load_bundle(draft)


@contextmanager
def folder_draft(folder: Path, *, known_by: str) -> Iterator[Path]:
    """A folder to write into; it takes its place whole or not at all.

    One that is there already is replaced if it holds the file that such folders are known by.

    Raises
    ------
    ExportError
        If the place holds something else or cannot be written.
    """
    check_target(folder, known_by=known_by)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o755)
        _replace(draft, folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_card(
    draft: Path,
    *,
    network: dict[str, Any],
    unfamiliarity: dict[str, Any] | None,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    temperature: float,
    thresholds: dict[str, float],
    metrics: dict[str, Any],
    dataset: dict[str, Any],
    split: dict[str, Any],
    training: dict[str, Any],
) -> None:
    """Describe the files that a draft holds, and everything else, in its card.

    The version is made of the network, the size of its crops, the day and the files.
    """
    files = {path.name: sha256_of(path) for path in sorted(draft.iterdir())}
    told = hashlib.sha256("".join(files.values()).encode()).hexdigest()[:8]
    now = datetime.now(UTC)
    card = Card(
        schema=SCHEMA_VERSION,
        version=f"{network['backbone']}-{preprocessing.size}-{now:%Y%m%d}-{told}",
        created=now.isoformat(timespec="seconds"),
        classes=classes,
        preprocessing=preprocessing,
        finder_version=FINDER_VERSION,
        network=network,
        unfamiliarity=unfamiliarity,
        temperature=temperature,
        thresholds=thresholds,
        metrics=metrics,
        dataset=dataset,
        split=split,
        training=training,
        files=files,
    )
    (draft / CARD_NAME).write_text(card.to_json(), encoding="utf-8")


def check_target(folder: Path, *, known_by: str = CARD_NAME) -> None:
    """Make sure that a bundle, or what else is known by a file of it, can be written to a folder.

    Raises
    ------
    ExportError
        If the folder holds something else or cannot be written.
    """
    if folder.exists() and not (folder / known_by).is_file():
        what = "model bundle" if known_by == CARD_NAME else f"folder with {known_by}"
        raise ExportError(f"{folder} exists and is no {what}. Give another --out.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExportError(f"{folder.parent} cannot be made ({error.strerror}).") from error
    if not os.access(folder.parent, os.W_OK):
        raise ExportError(f"{folder.parent} cannot be written. Give another --out.")


def _replace(draft: Path, folder: Path) -> None:
    """Rename a finished draft into place; an older bundle steps aside for a moment."""
    aside = draft.with_name(draft.name + "-old")
    if folder.exists():
        folder.rename(aside)
    try:
        draft.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
