"""The model card says what the bundle's own card says, and docs/model/card.md is up to date."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from inference.cells import NOT_RECOGNISED, not_recognised
from inference.ml.bundle import Bundle
from inference.ml.model_card import render_model_card, shown
from tests.ml.conftest import BUNDLE

pytestmark = pytest.mark.unit

DOCUMENT = Path(__file__).parents[2] / "docs" / "model" / "card.md"
SECTIONS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)


def render(bundle: Bundle, **changes: Any) -> str:
    changed = replace(bundle, card=replace(bundle.card, **changes))
    missing = not_recognised(changed.classes)
    return render_model_card(changed, names={}, not_recognised=missing)


def test_the_document_is_what_the_command_writes() -> None:
    out = StringIO()
    call_command("model_card", BUNDLE, stdout=out)

    assert DOCUMENT.read_text() == out.getvalue(), (
        "Run: manage.py model_card inference/bundles/default --out docs/model/card.md"
    )


def test_it_has_every_section_and_the_figures_of_the_card(bundle: Bundle) -> None:
    text = render(bundle)

    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert bundle.version in text
    for kind in NOT_RECOGNISED:
        assert kind in text
    for label, threshold in bundle.card.thresholds.items():
        assert f"| {label} | {threshold:.3f} |" in text
    for name, figures in bundle.card.metrics.items():
        assert f"### {name}" in text
        assert shown(figures["accuracy"], "accuracy") in text
        for label, row in figures["classes"].items():
            assert shown(row["recall"], "recall") in text
            counts = figures["confusion"][bundle.classes.index(label)]
            assert f"| {label} | {' | '.join(map(str, counts))} |" in text
    for name in bundle.card.dataset["groups_unknown"]:
        assert f"**{name}.** Licence" in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_further_figures_are_shown_and_curves_are_not(bundle: Bundle) -> None:
    metrics = json.loads(json.dumps(bundle.card.metrics))
    figures = metrics["bccd/TRAIN"]
    figures["brier"] = {"value": 0.1234, "interval": [0.1, 0.2]}
    figures["macro_f1"] = {"value": 0.5, "interval": [None, None]}
    figures["curve"] = {"x": [0.0, 1.0]}
    figures["by_photograph"]["by_mean_probability"] = {"value": 0.9, "interval": [0.8, 0.95]}
    counted = {"right": 2, "photographs": 3, "value": 2 / 3, "interval": [0.2, 0.94]}
    figures["by_photograph"]["classes"] = dict.fromkeys(figures["classes"], counted)
    for row in figures["classes"].values():
        row["f1"] = {"value": 0.75, "interval": [0.5, 0.875]}
    text = render(bundle, metrics=metrics)

    assert "| Brier score (0 to 2) | 0.123 [0.100, 0.200] |" in text
    assert "| macro F1 | 50.0 % |" in text
    assert "| accuracy by photograph, by mean probability | 90.0 % [80.0, 95.0] |" in text
    assert "75.0 % [50.0, 87.5] | 66.7 % (2 of 3) [20.0, 94.0] |" in text
    assert "curve |" not in text


def test_licences_are_told_or_said_to_be_unknown(bundle: Bundle) -> None:
    told = {"bccd/TRAIN": "MIT", "weights": "Apache-2.0"}
    text = render(bundle, dataset={**bundle.card.dataset, "licences": told})

    assert "**bccd/TRAIN.** Licence: MIT." in text
    assert "**data/pbc.** Licence: not stated." in text
    assert "`mobilenet_v2_imagenet_notop.weights.h5`. Licence: Apache-2.0." in text


def test_an_adapted_model_says_from_what_and_with_what(bundle: Bundle) -> None:
    card = bundle.card
    pictures = {**card.dataset["pictures"], "our/slides:monocyte": 30}
    adaptation = {"cells": {"our/slides:monocyte": 20}, "held_out": {"our/slides:monocyte": 10}}
    figures = card.metrics["bccd/TRAIN"]
    text = render(
        bundle,
        dataset={**card.dataset, "pictures": pictures},
        training={
            **card.training,
            "augmentation": {"colour": 1.0, "stain": 0.5},
            "adapted_from": {"version": "earlier-1", "sha256": "a"},
            "adaptation": adaptation,
        },
        metrics={"home": {**figures, "before": {"accuracy": figures["accuracy"]}}},
    )

    assert "Adapted from earlier-1" in text
    assert "| our/slides:monocyte | 20 | 10 |" in text
    assert "| monocyte | 30 | – | – | – |" in text
    assert "| augmentation | colour 1.0, stain 0.5 |" in text
    assert "which neither training nor the choice" not in text
    assert (
        f"| the model before, accuracy by picture | {shown(figures['accuracy'], 'accuracy')} |"
        in text
    )


def test_what_training_went_on_from_is_said(bundle: Bundle) -> None:
    started = {"version": "parent-1", "sha256": "ab" * 32, "training_known": True}
    training = {**bundle.card.training, "started_from": started, "class_map": {}, "weights": None}
    text = render(bundle, training=training)

    assert "Training went on from parent-1. Photographs that it knew kept their sides" in text
    assert "class map" not in text
    assert "nothing is known" in render(
        bundle, training={**training, "started_from": {**started, "training_known": False}}
    )


def test_figures_of_the_validation_side_are_no_evidence(bundle: Bundle) -> None:
    tuned = {"side": "validation", "what": "tuned and calibrated on, which flatters"}
    metrics = {name: {**one, **tuned} for name, one in bundle.card.metrics.items()}
    text = render(bundle, metrics=metrics)

    assert text.count("**tuned and calibrated on, which flatters**") == len(metrics)
    assert "tuned and calibrated" not in render(bundle)


@pytest.mark.parametrize(("stain", "corrected"), [("own", False), ("anchors-1", True)])
def test_what_is_done_about_the_stain_is_said(bundle: Bundle, stain: str, corrected: bool) -> None:
    text = render(bundle, preprocessing=replace(bundle.card.preprocessing, stain=stain))

    assert ("and so is the stain" in text) is corrected
    assert ("is not corrected" in text) is not corrected


def test_a_model_that_knows_blasts_is_not_said_not_to(bundle: Bundle) -> None:
    classes = tuple("blast" if name == "basophil" else name for name in bundle.classes)
    text = render(bundle, classes=classes)

    assert "cannot name blasts" not in text
    assert "does not know blasts" not in text
    assert "plasma cells" in text


def test_names_of_folders_cannot_break_the_page(bundle: Bundle) -> None:
    dataset = {**bundle.card.dataset, "pictures": {"a|b\n# <script>:monocyte": 3}}
    text = render(bundle, dataset=dataset)

    assert "**a\\|b # &lt;script>.**" in text


def test_a_bundle_without_figures_has_a_card(bundle: Bundle) -> None:
    text = render(bundle, metrics={}, dataset={}, split={}, training={})

    assert "No figures were measured." in text
    assert "Not stated." in text


def test_the_command_writes_a_file_or_says_why_not(tmp_path: Path) -> None:
    printed, told = StringIO(), StringIO()
    call_command("model_card", BUNDLE, stdout=printed)
    call_command("model_card", BUNDLE, out=tmp_path / "card.md", stdout=told)
    assert "card.md" in told.getvalue()
    assert (tmp_path / "card.md").read_text() == printed.getvalue()

    with pytest.raises(CommandError, match="cannot be written"):
        call_command("model_card", BUNDLE, out=tmp_path / "nowhere" / "card.md")
    with pytest.raises(CommandError, match="no model at"):
        call_command("model_card", tmp_path)


@pytest.mark.parametrize(
    ("value", "interval", "name", "text"),
    [
        (0.881, [0.84, 0.917], "recall", "88.1 % [84.0, 91.7]"),
        (1.0, [1.0, 1.0], "recall", "100 % (no error seen)"),
        (0.0, [0.0, 0.0], "recall", "0.0 %"),
        (None, [None, None], "precision", "–"),
        (0.0213, [0.01, 0.03], "ece", "0.021 [0.010, 0.030]"),
    ],
)
def test_figures_in_words(value: Any, interval: Any, name: str, text: str) -> None:
    assert shown({"value": value, "interval": interval}, name) == text
