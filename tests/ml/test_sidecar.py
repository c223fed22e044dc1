"""What lies beside the network comes back as it went in, and nothing else does."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.ml.bundle import BundleError
from inference.ml.sidecar import (
    Head,
    ManifestRow,
    TrainingFeatures,
    kept_rows,
    read_manifest,
    write_manifest,
)

pytestmark = pytest.mark.unit


def features(rows: int = 6) -> TrainingFeatures:
    rng = np.random.default_rng(0)
    return TrainingFeatures(
        features=rng.random((rows, 4)).astype(np.float16),
        labels=(np.arange(rows) % 2).astype(np.int16),
        sides=(np.arange(rows) % 3 == 0).astype(np.uint8),
        groups=np.array([f"photograph Ü{row}" for row in range(rows)]),
        datasets=np.repeat("set", rows),
        shas=np.array([f"{row:016x}" for row in range(rows)]),
    )


def test_features_come_back(tmp_path: Path) -> None:
    kept = features()
    kept.save(tmp_path / "features.npz")
    read = TrainingFeatures.load(tmp_path / "features.npz")

    assert len(read.of_side(0)) == 4
    assert read.of_side(1).groups.tolist() == ["photograph Ü0", "photograph Ü3"]
    for name in ("features", "labels", "sides", "groups", "datasets", "shas"):
        assert np.array_equal(getattr(read, name), getattr(kept, name))
        assert getattr(read, name).dtype == getattr(kept, name).dtype


def test_a_head_comes_back_and_answers_each_row_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    head = Head(rng.random((16, 3)).astype(np.float32), rng.random(3).astype(np.float32))
    head.save(tmp_path / "head.npz")
    read = Head.load(tmp_path / "head.npz")
    rows = rng.random((5, 16)).astype(np.float32)

    assert np.allclose(read.logits(rows), rows @ head.kernel + head.bias, atol=1e-5)
    assert np.array_equal(read.logits(rows)[3:4], read.logits(rows[3:4]))
    assert read.logits(rows[:0]).shape == (0, 3)


def test_a_manifest_comes_back(tmp_path: Path) -> None:
    rows = [
        ManifestRow("test", "a/set", "neutrophil", 'a "group", with a comma', "f" * 64),
        ManifestRow("train", "a/set", "monocyte", "ü", "0" * 64),
    ]
    write_manifest(tmp_path / "one.csv.gz", rows)
    write_manifest(tmp_path / "two.csv.gz", rows[::-1])

    assert read_manifest(tmp_path / "one.csv.gz") == rows
    assert (tmp_path / "one.csv.gz").read_bytes() == (tmp_path / "two.csv.gz").read_bytes()


@pytest.mark.parametrize("read", [Head.load, TrainingFeatures.load, read_manifest])
def test_what_is_none_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "file"
    with pytest.raises(BundleError, match="Copy the bundle again"):
        read(path)
    path.write_bytes(b"something else")
    with pytest.raises(BundleError, match="Copy the bundle again"):
        read(path)
    with path.open("wb") as file:
        np.savez(file, kernel=np.zeros(3), bias=np.zeros(3))
    with pytest.raises(BundleError, match="Copy the bundle again"):
        read(path)


def test_features_whose_columns_differ_in_length_are_refused(tmp_path: Path) -> None:
    kept = features()
    broken = TrainingFeatures(kept.features[:3], *(getattr(kept, n) for n in kept.__slots__[1:]))
    broken.save(tmp_path / "features.npz")

    with pytest.raises(BundleError, match="no features of training"):
        TrainingFeatures.load(tmp_path / "features.npz")


@given(
    kinds=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), max_size=60),
    copies=st.integers(1, 4),
    most=st.integers(0, 40),
)
def test_every_class_of_a_photograph_keeps_one_before_any_keeps_two(
    kinds: list[tuple[str, str]], copies: int, most: int
) -> None:
    groups, labels = [group for group, _ in kinds], [label for _, label in kinds]
    shas = [f"{hash((7, position)):x}" for position in range(len(kinds))]
    rows = kept_rows(groups, labels, shas, copies=copies, most=most).tolist()
    counts = Counter(kinds[row] for row in rows)

    assert rows == sorted(set(rows))
    assert len(rows) == min(most, sum(min(copies, n) for n in Counter(kinds).values()))
    assert all(count <= copies for count in counts.values())
    if rows and len(counts) < len(set(kinds)):
        assert max(counts.values()) == 1
    shuffled = np.random.default_rng(0).permutation(len(kinds))
    again = kept_rows(
        *([column[at] for at in shuffled] for column in (groups, labels, shas)),
        copies=copies,
        most=most,
    )
    assert sorted(shuffled[again].tolist()) == rows
