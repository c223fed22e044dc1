"""Copies of training under another name."""

import numpy as np
import pytest

from inference.ml.evaluation.copies import Lookalikes, turned
from inference.ml.sidecar import TRAIN, VALIDATION, TrainingFeatures

pytestmark = pytest.mark.unit


def features_of(classes: list[int], seed: int = 0) -> TrainingFeatures:
    """Twelve training and twelve validation crops of each class, in directions of their own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(classes, 24)
    return TrainingFeatures(
        features=rng.normal(size=(len(labels), 16)).astype(np.float16),
        labels=labels.astype(np.int16),
        sides=np.array([TRAIN, VALIDATION] * (len(labels) // 2), np.uint8),
        groups=np.array([f"photo{n}" for n in range(len(labels))]),
        datasets=np.array(["x"] * len(labels)),
        shas=np.array([f"{n:016x}" for n in range(len(labels))]),
    )


def test_a_copy_is_found_in_any_view_and_whatever_its_brightness() -> None:
    training = features_of([0, 1])
    lookalikes = Lookalikes(training, 2)
    stranger = np.random.default_rng(9).normal(size=16)
    distance, place = lookalikes.nearest(np.stack([stranger, 3 * training.features[7]]))

    assert place == 7
    assert distance == pytest.approx(0, abs=1e-3)
    assert lookalikes.is_copy(distance, place)
    assert lookalikes.photograph(place) == "photo7"


def test_another_photograph_is_none() -> None:
    training = features_of([0, 1])
    lookalikes = Lookalikes(training, 2)
    for seed in range(100, 120):
        distance, place = lookalikes.nearest(np.random.default_rng(seed).normal(size=(1, 16)))
        assert not lookalikes.is_copy(distance, place)


def test_no_validation_crop_of_the_class_says_nothing() -> None:
    """Without knowing how alike different photographs are, nothing is called a copy."""
    training = features_of([0])
    lookalikes = Lookalikes(training.of_side(TRAIN), 1)
    assert lookalikes.blind == [0]
    assert Lookalikes(features_of([0, 1]), 3).blind == [2]

    assert not lookalikes.is_copy(*lookalikes.nearest(training.features[:1]))


def test_only_views_that_the_network_does_not_average_are_looked_at() -> None:
    crop = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)

    assert len({one.tobytes() for one in turned(crop, averaged=1)}) == 8
    assert turned(crop, averaged=8).shape == (1, 4, 4, 3)
    assert (turned(crop, averaged=4)[0] == crop).all()


def test_one_unknown_twin_does_not_end_the_search() -> None:
    training = features_of([0])
    training.features[1] = training.features[0]  # of the validation and of the training side
    lookalikes = Lookalikes(training, 1)

    assert lookalikes.blind == []
    assert lookalikes.is_copy(*lookalikes.nearest(training.features[4:5]))
