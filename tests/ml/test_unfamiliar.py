"""Distance to the nearest of training, and the threshold that home's cells set."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inference.ml.sidecar import TrainingFeatures
from inference.ml.unfamiliar import Neighbours, describe, threshold_of

pytestmark = pytest.mark.unit


def test_distances_are_those_of_the_nearest() -> None:
    references = np.array([[1, 0], [2, 0], [0, 3], [-1, 0]], np.float16)
    found = Neighbours(references, 2).distances(
        np.array([[5, 0], [0, 1], [1, 1], [0, 0], [0, -1]], np.float32)
    )

    root = np.sqrt(0.5)
    assert found == pytest.approx([0, 0.5, 1 - root, 2, 1], abs=1e-6)


def test_fewer_references_than_neighbours_are_all_looked_at() -> None:
    found = Neighbours(np.array([[1.0, 0], [0, 1]]), 5).distances(np.array([[1.0, 0]]))

    assert found == pytest.approx([0.5])


def test_distances_do_not_depend_on_company_or_length() -> None:
    rng = np.random.default_rng(0)
    neighbours = Neighbours(rng.random((300, 64)))
    cells = rng.random((9, 64)).astype(np.float32)

    together = neighbours.distances(cells)
    assert np.array_equal(together[4:5], neighbours.distances(cells[4:5]))
    assert neighbours.distances(cells * 7) == pytest.approx(together, abs=1e-5)
    assert neighbours.distances(cells[:0]).shape == (0,)


@given(
    distances=hnp.arrays(np.float32, st.integers(1, 50), elements=st.floats(0, 2, width=16)),
    share=st.floats(0, 0.5),
    seed=st.integers(0, 9),
)
def test_no_more_than_the_share_lies_over_the_threshold(
    distances: np.ndarray, share: float, seed: int
) -> None:
    weights = np.random.default_rng(seed).random(len(distances)) + 0.01
    threshold = threshold_of(distances, weights, share)

    def over(limit: float) -> float:
        return float(weights[distances > limit].sum() / weights.sum())

    assert threshold in distances
    assert over(threshold) <= share + 1e-9
    lower = distances[distances < threshold]
    if len(lower):  # the next lower one would flag too many
        assert over(float(lower.max())) > share - 1e-9


def test_a_threshold_needs_cells() -> None:
    with pytest.raises(ValueError, match="no held-back cells"):
        threshold_of(np.array([]), np.array([]))


def test_the_cards_entry_is_measured_from_validation_to_training() -> None:
    rng = np.random.default_rng(0)
    rows = 400
    kept = TrainingFeatures(
        features=rng.random((rows, 32)).astype(np.float16),
        labels=np.zeros(rows, np.int16),
        sides=(np.arange(rows) % 2).astype(np.uint8),
        groups=np.arange(rows).astype(str),
        datasets=np.repeat("set", rows),
        shas=np.arange(rows).astype(str),
    )
    told = describe(kept, np.ones(rows // 2))
    distances = Neighbours(kept.of_side(0).features).distances(kept.of_side(1).features)

    assert told["score"] == "cosine-knn"
    assert told["share"] == 0.02
    assert (distances > told["threshold"]).sum() == 4
