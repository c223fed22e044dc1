"""A bundle that is not exactly what its card says is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inference.ml.bundle import (
    CARD_NAME,
    FEATURES_NAME,
    HEAD_NAME,
    MANIFEST_NAME,
    TFLITE_NAME,
    Bundle,
    BundleError,
    Card,
    SchemaError,
    load_bundle,
)
from inference.ml.engine import Engine
from inference.ml.finder import FINDER_VERSION
from tests.bundles import make_bundle, with_hashes_of_today

pytestmark = pytest.mark.unit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle", "a-model")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    card = json.loads((folder / CARD_NAME).read_text())
    change(card)
    (folder / CARD_NAME).write_text(json.dumps(card))


def test_a_sound_bundle_loads(folder: Path) -> None:
    bundle = load_bundle(folder)

    assert bundle.version == "a-model"
    assert bundle.path == folder
    assert len(bundle.sha256) == 64
    assert Card.from_json(bundle.card.to_json()) == bundle.card


def test_another_card_gives_another_sha256(folder: Path) -> None:
    before = load_bundle(folder).sha256
    rewrite(folder, lambda card: card.update(temperature=2.0))

    assert load_bundle(folder).sha256 != before


def test_an_altered_network_is_refused(folder: Path) -> None:
    content = bytearray((folder / TFLITE_NAME).read_bytes())
    content[3] ^= 1
    (folder / TFLITE_NAME).write_bytes(content)

    with pytest.raises(BundleError, match=r"SHA-256 differs.*Copy the bundle again"):
        load_bundle(folder)


def test_a_missing_network_is_refused(folder: Path) -> None:
    (folder / TFLITE_NAME).unlink()

    with pytest.raises(BundleError, match=f"lacks {TFLITE_NAME}"):
        load_bundle(folder)


def test_no_bundle_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="make train"):
        load_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.update(schema=4),
        lambda card: card.pop("temperature"),
        lambda card: card.update(surprise=1),
        lambda card: card.update(temperature=0),
        lambda card: card.update(temperature="hot"),
        lambda card: card.update(classes=["neutrophil", "neutrophil"]),
        lambda card: card.update(classes=None),
        lambda card: card.update(classes=["x" * 41, "y"], thresholds={"x" * 41: 0.5, "y": 0.5}),
        lambda card: card.update(thresholds={"neutrophil": 0.5}),
        lambda card: card.update(network=None),
        lambda card: card["network"].pop("width"),
        lambda card: card["network"].update(views=3),
        lambda card: card["network"].update(features=0),
        lambda card: card["network"].update(features="many"),
        lambda card: card["unfamiliarity"].pop("share"),
        lambda card: card["unfamiliarity"].update(score="energy"),
        lambda card: card["unfamiliarity"].update(neighbours=0),
        lambda card: card["unfamiliarity"].update(threshold=float("nan")),
        lambda card: card["files"].pop(HEAD_NAME),
        lambda card: card["files"].pop(FEATURES_NAME),
        lambda card: card["files"].pop(MANIFEST_NAME),
        lambda card: card["preprocessing"].update(size=4),
        lambda card: card["preprocessing"].pop("context"),
        lambda card: card.update(files={}),
        lambda card: card.update(files=[]),
        lambda card: card.update(temperature=float("inf")),
        lambda card: card["thresholds"].update(neutrophil=float("nan")),
        lambda card: card["thresholds"].update(neutrophil="x"),
        lambda card: card.update(version=".."),
        lambda card: card.update(version=""),
        lambda card: card.update(version="/etc"),
        lambda card: card.update(version="a/b"),
        lambda card: card.update(version=5),
    ],
)
def test_a_card_that_is_off_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    rewrite(folder, change)

    with pytest.raises(BundleError, match="card"):
        load_bundle(folder)


def test_a_card_of_another_schema_says_so(folder: Path) -> None:
    rewrite(folder, lambda card: card.update(schema=1))

    with pytest.raises(
        SchemaError, match=r"its schema is 1, .* reads 2 and 3\. Copy the bundle again"
    ):
        load_bundle(folder)


def test_a_card_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / CARD_NAME).write_bytes(b"\xff{")

    with pytest.raises(BundleError, match="card"):
        load_bundle(folder)


def test_a_card_cannot_name_files_outside_its_folder(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(b"x")
    rewrite(folder, lambda card: card["files"].update({"../secret": "0"}))

    with pytest.raises(BundleError, match="outside"):
        load_bundle(folder)


def test_a_network_that_is_none_is_refused(folder: Path) -> None:
    (folder / TFLITE_NAME).write_bytes(b"no network")
    with_hashes_of_today(folder)
    with pytest.raises(BundleError, match="cannot be loaded"):
        Engine(load_bundle(folder))


def test_the_bundle_that_ships_is_small_and_honest(bundle: Bundle) -> None:
    size = sum(path.stat().st_size for path in bundle.path.iterdir())

    assert size < 40 * 2**20
    assert bundle.features_path.stat().st_size < 50 * 2**20
    assert set(bundle.classes) == {
        "basophil",
        "eosinophil",
        "erythroblast",
        "ig",
        "lymphocyte",
        "monocyte",
        "neutrophil",
        "platelet",
    }
    assert bundle.card.finder_version == FINDER_VERSION
    assert bundle.keras_path.is_file()
    for figures in bundle.card.metrics.values():
        low, high = figures["accuracy"]["interval"]
        assert low <= figures["accuracy"]["value"] <= high
        assert figures["photographs"] > 20
