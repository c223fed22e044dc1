"""What a model does to a laboratory's own labelled cells: the figures of a site's validation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from inference.ml.bundle import Bundle
from inference.ml.data import DataError, Decode, Listing
from inference.ml.evaluation.answers import Answers, answer
from inference.ml.evaluation.figures import figures_of
from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.leakage import unseen
from inference.ml.evaluation.scores import calibration_figures
from inference.ml.evaluation.selective import selective_figures
from inference.ml.evaluation.study import by_knowledge, unknown_classes
from inference.ml.sidecar import training_rows

Report = Callable[[int, int], None]
"""Told how many cells of how many are answered."""


def measure(
    bundle: Bundle,
    listing: Listing,
    report: Report = lambda *_: None,
    *,
    decode: Decode,
    seed: int = 0,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Measure a model on cells that it was not made with; those that it was are left out.

    What counts once, in every interval, is a photograph's (or a smear's) cells of one class:
    cells of one class in one smear tend to be right or wrong together.

    Parameters
    ----------
    bundle : Bundle
    listing : Listing
    report : callable
    decode : callable
        From a file's bytes to its pixels, as serving does it.
    seed, resamples : int
        Of the bootstrap.

    Returns
    -------
    dict
        ``cells``, ``photographs`` (what counts once), ``photographs_known``,
        ``training_known``, ``left_out`` (counts by reason); ``believed``: ``share`` of cells
        that are not flagged and the ``accuracy`` among these, where a cell of a class that the
        model does not know is wrong; ``known``: `figures_of`, ``flags`` of `selective_figures`
        and the calibration of cells of classes that the model knows, or None;
        ``unknown_classes``; ``not_tested``: classes of the model of which there was no cell.

    Raises
    ------
    DataError
        If the model was made with all of the cells, a picture cannot be read, or no cell is
        found in any.
    BundleError
        If the model's files cannot be used.
    """
    items = unseen(listing, training_rows(bundle)).items
    if not items:
        raise DataError(
            f"{bundle.version} was made with all of the {len(listing.items)} cells or with others "
            "of their photographs, so they say nothing about it. Give other ones."
        )
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        report(done, len(items))

    answers = answer(bundle, items, decode=decode, advance=advance)
    return {
        **figures_from(answers, seed=seed, resamples=resamples),
        "photographs_known": not listing.groups_unknown,
        "training_known": bundle.training_known,
        "left_out": {
            "the model was made with them": len(listing.items) - len(items),
            "no cell was found": len(answers.without_cell),
        },
    }


def figures_from(answers: Answers, *, seed: int, resamples: int) -> dict[str, Any]:
    """Those of the figures of `measure` that answers alone tell, and that a verdict rests on."""
    known, unknown = by_knowledge(answers)
    tested = {item.label for item in answers.items}
    return {
        "cells": len(answers.items),
        "photographs": len(set(_units(answers))),
        "believed": _believed(answers, seed, resamples),
        "known": _known(known, seed, resamples) if known else None,
        "unknown_classes": unknown_classes(unknown, seed=seed, resamples=resamples)
        if unknown
        else {},
        "not_tested": [label for label in answers.classes if label not in tested],
    }


def _units(answers: Answers) -> list[str]:
    return [f"{item.group} {item.label}" for item in answers.items]


def _believed(answers: Answers, seed: int, resamples: int) -> dict[str, Any]:
    photographs = Photographs(_units(answers), seed=seed, resamples=resamples)
    believed = ~np.any([*answers.flags.values()], axis=0)
    said = [answers.classes[index] for index in answers.probabilities.argmax(axis=1)]
    right = np.array([item.label == label for item, label in zip(answers.items, said, strict=True)])
    every, kept = photographs.sums(np.ones(len(right))), photographs.sums(believed)
    return {
        "share": photographs.share(kept, every),
        "accuracy": photographs.share(photographs.sums(believed & right), kept),
    }


def _known(known: Answers, seed: int, resamples: int) -> dict[str, Any]:
    photographs = Photographs(_units(known), seed=seed, resamples=resamples)
    probabilities, labels = known.probabilities, known.labels
    calibration = calibration_figures(probabilities, labels, photographs)
    doubts = selective_figures(probabilities, labels, known.flags, photographs)
    return {
        **figures_of(probabilities, labels, photographs, known.classes),
        "names": list(known.classes),
        "calibration_error": calibration["ece"],
        "mean_confidence": calibration["mean_confidence"],
        "flags": doubts["flags"],
    }
