"""Classifiers for small devices: what the files answer, what is said of them, what is refused."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.bundle import Bundle, load_bundle, sha256_of
from inference.ml.data import Item, cut_crops, list_items
from inference.ml.edge import EdgeClassifier, export_edge, file_name
from inference.ml.edge import _sides as edge_sides
from inference.ml.engine import Engine, softmax
from inference.ml.network import WeightsError
from inference.ml.preprocess import to_network
from inference.ml.sidecar import Head, read_manifest, write_manifest
from inference.ml.smear import make_smear
from inference.ml.writing import ExportError
from tests.ml.tiny import SIZE, write_tiny_bundle

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("edge") / "cells"
    for label, first in (("monocyte", 0), ("neutrophil", 20)):
        (folder / label).mkdir(parents=True)
        for seed in range(first, first + 6):
            image = make_smear(seed, width=160, height=160, white_cells=1).image
            Image.fromarray(image).save(folder / label / f"{seed}.png")
    return list_items([folder]).items


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Bundle:
    sides = ["train", "train", "train", "validation", "test", "test"] * 2
    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny", items, sides)


@pytest.fixture(scope="module")
def edge(written: Bundle, items: list[Item]) -> Path:
    """A folder that was exported."""
    out = written.path.with_name("edge")
    export_edge(written, items, out, decode=decode, command="as told")
    return out


@pytest.fixture
def tiny(written: Bundle, tmp_path: Path) -> Bundle:
    """A copy to change."""
    return load_bundle(shutil.copytree(written.path, tmp_path / "bundle"))


def test_the_files_answer_as_the_model_does_in_one_view(
    written: Bundle, items: list[Item], edge: Path
) -> None:
    crops, _ = cut_crops(items, written.card.preprocessing, decode=decode)
    logits, _ = Engine(written).run(crops, views=1)
    expected = softmax(logits / np.float32(written.card.temperature))
    inputs = to_network(crops, written.card.preprocessing)
    for precision, allowed in (("fp32", 1e-4), ("int8", 0.1)):
        content = (edge / file_name(precision)).read_bytes()
        answers = EdgeClassifier(content).probabilities(inputs)
        assert answers.dtype == np.float32
        assert np.abs(answers - expected).max() < allowed, precision
    sizes = [(edge / file_name(precision)).stat().st_size for precision in ("int8", "fp32")]
    assert sizes[0] < sizes[1] / 2


def test_what_is_written_says_what_it_is(edge: Path) -> None:
    result = json.loads((edge / "edge.json").read_text())

    assert (edge / "labels.txt").read_text() == "monocyte\nneutrophil\n"
    assert set(result["files"]) == {p.name for p in edge.iterdir()} - {"edge.json"}
    assert all(sha256_of(edge / name) == sha for name, sha in result["files"].items())
    assert result["representative"] == {"crops": 6, "photographs": 6}
    (of_set,) = result["measured"]["sets"]
    assert of_set["crops"] == 4  # the held-back ones, and no others
    assert of_set["int8"]["agreement"]["photographs"] == 4
    assert "paired" in of_set["fp32"]
    assert "paired" not in of_set["served"]
    readme = (edge / "README.txt").read_text()
    assert f"Scale the square to {SIZE} x {SIZE} pixels" in readme
    assert "averages its answer over 2 views" in readme


def test_the_last_layer_is_that_of_the_head_however_many_classes_it_has(
    tiny: Bundle, items: list[Item], tmp_path: Path
) -> None:
    head = Head.load(tiny.head_path)
    wider = Head(np.pad(head.kernel, ((0, 0), (0, 1))), np.pad(head.bias, (0, 1)))
    wider.save(tiny.head_path)
    card = replace(
        tiny.card,
        classes=(*tiny.classes, "blast"),
        thresholds=tiny.card.thresholds | {"blast": 0.5},
        files=tiny.card.files | {"head.npz": sha256_of(tiny.head_path)},
    )
    (tiny.path / "card.json").write_text(card.to_json())

    result = export_edge(load_bundle(tiny.path), items, tmp_path / "edge", decode=decode)

    assert result["output"]["shape"] == [1, 3]


def test_without_the_pictures_of_its_training_nothing_is_made(
    tiny: Bundle, items: list[Item], class_folders: Callable[..., Path], tmp_path: Path
) -> None:
    others = list_items([class_folders("others", {"monocyte": 60, "neutrophil": 80}, pictures=1)])

    with pytest.raises(ExportError, match=r"None of the 2 pictures is one that .* learned from"):
        export_edge(tiny, others.items, tmp_path / "edge", decode=decode)
    with pytest.raises(ExportError, match="held back"):
        export_edge(tiny, items[:3], tmp_path / "edge", decode=decode)
    assert not (tmp_path / "edge").exists()


def test_pictures_of_an_earlier_models_classes_are_left_aside(
    tiny: Bundle, items: list[Item]
) -> None:
    """As in the manifest of a model that went on from one which knew more classes."""
    rows = read_manifest(tiny.manifest_path)
    (strange, *_) = (row for row in rows if row.side == "test")
    write_manifest(
        tiny.manifest_path, [row._replace(label="band") if row == strange else row for row in rows]
    )
    training, test = edge_sides(tiny, items)
    assert len(training) == 6
    assert len(test) == 3
    assert strange.sha256 not in {item.sha256 for item in test}


def test_a_model_without_its_keras_file_or_with_another_is_refused(
    tiny: Bundle, items: list[Item], tmp_path: Path
) -> None:
    def described_anew(**changes: Any) -> Bundle:
        (tiny.path / "card.json").write_text(replace(tiny.card, **changes).to_json())
        return load_bundle(tiny.path)

    other = described_anew(network=tiny.card.network | {"width": 0.5})
    with pytest.raises(WeightsError, match="does not hold the mobilenetv2"):
        export_edge(other, items, tmp_path / "edge", decode=decode)
    files = {name: sha for name, sha in tiny.card.files.items() if name != "model.keras"}
    with pytest.raises(ExportError, match=r"has no model\.keras"):
        export_edge(described_anew(files=files), items, tmp_path / "edge", decode=decode)


def test_a_folder_with_something_else_is_left_alone(
    tiny: Bundle, items: list[Item], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()

    with pytest.raises(ExportError, match=r"is no folder with edge\.json"):
        export_edge(tiny, items, tmp_path / "mine", decode=decode)
