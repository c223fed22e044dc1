"""The rules of docs/first-day.md, each at its edge."""

from copy import deepcopy
from typing import Any

import pytest

from inference.sites.verdict import judge

pytestmark = pytest.mark.unit


def share(value: float, low: float, high: float) -> dict[str, Any]:
    return {"value": value, "interval": [low, high]}


def recognised(images: int, recall: float) -> dict[str, Any]:
    return {"images": images, "recall": share(recall, recall - 0.1, min(1, recall + 0.1))}


GOOD: dict[str, Any] = {
    "cells": 100,
    "photographs": 100,
    "believed": {"accuracy": share(0.96, 0.91, 0.99), "share": share(0.8, 0.7, 0.88)},
    "known": {
        "classes": {"neutrophil": recognised(60, 0.97), "lymphocyte": recognised(40, 0.95)},
        "calibration_error": share(0.04, 0.01, 0.09),
    },
}


def changed(path: str, value: object) -> dict[str, Any]:
    figures = deepcopy(GOOD)
    *parents, name = path.split(".")
    inner = figures
    for parent in parents:
        inner = inner[parent]
    inner[name] = value
    return figures


def test_every_rule_is_met() -> None:
    told = judge(GOOD)
    assert told["verdict"] == "fit"
    assert all(finding["met"] for finding in told["findings"])
    assert "96 % right (95 % interval 91 % to 99 %)" in told["findings"][1]["sentence"]


@pytest.mark.parametrize(
    ("path", "value", "verdict", "words"),
    [
        ("photographs", 19, "unknown", "fewer than 20"),
        ("believed.accuracy", share(0.9, 0.84, 0.95), "unknown", "more or less than 85 %"),
        ("believed.accuracy", share(0.7, 0.6, 0.84), "not_fit", "surely less than 85 %"),
        ("believed.accuracy", share(0.9, 0.85, 0.95), "fit", "surely more than 85 %"),
        ("believed.accuracy", {"value": None, "interval": [None, None]}, "not_fit", "every single"),
        ("believed.share", share(0.49, 0.4, 0.6), "unknown", "more or less than half"),
        ("believed.share", share(0.4, 0.3, 0.49), "not_fit", "surely more than half"),
        ("known.classes.lymphocyte", recognised(5, 0.4), "not_fit", "lymphocytes (40 % of 5)"),
        ("known.classes.lymphocyte", recognised(5, 0.65), "unknown", "more or fewer than 70 %"),
        ("known.classes.lymphocyte", recognised(4, 0.0), "unknown", "Only 1 of its classes"),
        ("known.calibration_error", share(0.2, 0.11, 0.3), "not_fit", "does not mean"),
        ("known.calibration_error", share(0.2, 0.1, 0.3), "fit", "Nothing shows"),
        ("known.calibration_error", {"value": 0.1, "interval": [None, None]}, "unknown", "Too few"),
        ("known", None, "unknown", "Only 0 of its classes"),
    ],
)
def test_a_rule_that_is_not_met(path: str, value: object, verdict: str, words: str) -> None:
    told = judge(changed(path, value))
    assert told["verdict"] == verdict
    assert words in " ".join(finding["sentence"] for finding in told["findings"])
    assert told["advice"].endswith(".")


def test_a_broken_rule_outweighs_what_is_not_clear() -> None:
    figures = changed("photographs", 10)
    figures["believed"]["share"] = share(0.2, 0.1, 0.4)
    assert judge(figures)["verdict"] == "not_fit"


def test_few_weak_cells_of_a_class_are_no_proof() -> None:
    figures = changed("known.classes.monocyte", recognised(4, 0.0))
    assert judge(figures)["verdict"] == "fit"
