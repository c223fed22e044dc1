"""The pages that show models' cards, whichever version of the program wrote them."""

from typing import Any

import numpy as np
import pytest
from django.test import Client

from accounts.permissions import Role
from inference.cells import NOT_RECOGNISED, not_recognised
from inference.ml.evaluation.summary import card_figures
from inference.ml.preprocess import Preprocessing
from tests.factories import ModelVersionFactory, UserFactory, activate

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

# As the first release wrote it, with one data set of the two and two of its classes.
SCHEMA_1: dict[str, Any] = {
    "schema": 1,
    "version": "mobilenetv2-128-20261118-0a1b2c3d",
    "created": "2026-11-18T09:00:00+00:00",
    "classes": ["lymphocyte", "monocyte"],
    "preprocessing": {"size": 128, "context": 1.5, "background": 235},
    "finder_version": "1",
    "outputs": {"logits": 0, "features": 1},
    "temperature": 1.2,
    "thresholds": {"lymphocyte": 0.8, "monocyte": 0.8},
    "metrics": {
        "bccd/TRAIN": {
            "what": "photographs never seen in training",
            "images": 1927,
            "photographs": 55,
            "accuracy": {"value": 0.8298, "interval": [0.668, 0.9442]},
            "balanced_accuracy": {"value": 0.8294, "interval": [0.6601, 0.9442]},
            "by_photograph": {
                "right": 47,
                "photographs": 55,
                "value": 0.8545,
                "interval": [0.7384, 0.9244],
            },
            "classes": {
                "monocyte": {
                    "images": 464,
                    "photographs": 3,
                    "recall": {"value": 0.6272, "interval": [0.0, 1.0]},
                    "precision": {"value": 1.0, "interval": [1.0, 1.0]},
                }
            },
            "confusion": [[0, 0], [173, 291]],
            "calibration_error": 0.0939,
            "mean_confidence": 0.918,
            "not_flagged": 0.6736,
            "wrong_among_not_flagged": 0.0339,
        }
    },
    "dataset": {"groups_unknown": []},
    "split": {},
    "training": {},
    "files": {},
}


def schema_2() -> dict[str, Any]:
    """With the figures that training writes today."""
    random = np.random.default_rng(0)
    probabilities = random.dirichlet((1, 1), 40)
    figures = card_figures(
        probabilities,
        random.integers(0, 2, 40),
        [f"photograph {n // 2}" for n in range(40)],
        ("blast", "monocyte"),
        np.full(2, 0.6),
        seed=0,
        resamples=50,
    )
    return {
        "schema": 2,
        "created": "2026-11-20T09:00:00+00:00",
        "classes": ["blast", "monocyte"],
        "preprocessing": Preprocessing().to_dict(),
        "network": {"backbone": "vgg16", "width": 1.0, "features": 512, "views": 4},
        "unfamiliarity": {"neighbours": 5, "threshold": 0.1, "share": 0.02},
        "metrics": {"home": {"what": "photographs never seen in training", **figures}},
        "dataset": {"groups_unknown": []},
    }


def pages(client: Client, card: dict[str, Any]) -> tuple[str, str]:
    """The front page and the model's page, with this card in use, in one line each."""
    model = activate(ModelVersionFactory.create(card=card))
    client.force_login(UserFactory.create(role=Role.ADMIN))
    responses = [client.get("/"), client.get(f"/models/{model.pk}/")]
    assert [response.status_code for response in responses] == [200, 200]
    front, models = (" ".join(response.content.decode().split()) for response in responses)
    return front, models


def test_a_card_of_schema_1_is_still_shown(client: Client) -> None:
    for page in pages(client, SCHEMA_1):
        assert "67.4 %, of which wrong 3.4 %" in page
        assert "83.0 % (66.8–94.4)" in page
        assert "unfamiliar" not in page.lower()
    front, _ = pages(client, SCHEMA_1)
    assert "goes to a neural network that was trained on labelled cells" in front


def test_a_card_of_today(client: Client) -> None:
    front, models = pages(client, schema_2())
    for page in (front, models):
        assert "Not flagged as uncertain" in page
    assert "goes to a neural network (VGG16) that was trained on labelled cells" in front
    assert "Not every such cell is caught, and up to 2.0 % of ordinary cells" in front
    assert "recognise band neutrophils as such, reactive" in front


@pytest.mark.parametrize(
    ("classes", "learnt"),
    [
        (["monocyte"], set()),
        (["blast", "smudge_cells"], {"blasts", "smudge cells"}),
        (["band neutrophil", "Plasma-Cell"], {"band neutrophils as such", "plasma cells"}),
    ],
)
def test_what_a_class_teaches_is_recognised(classes: list[str], learnt: set[str]) -> None:
    assert set(NOT_RECOGNISED) - set(not_recognised(classes)) == learnt
