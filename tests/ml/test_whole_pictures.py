"""Models that are shown whole pictures, and of whose training nothing is known."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.adapt import read_site
from inference.ml.bundle import CARD_NAME, Bundle, BundleError, Card, load_bundle
from inference.ml.data import Item, Listing, list_items
from inference.ml.engine import BORDER, SEVERAL_CELLS, UNFAMILIAR, Engine
from inference.ml.evaluation.gate import compare_bundles
from inference.ml.evaluation.leakage import LeakageError, held_back, trained_on
from inference.ml.evaluation.run import Settings, run
from inference.ml.explain import heat_map
from inference.ml.finder import Box
from inference.ml.model_card import render_model_card
from inference.ml.preprocess import Preprocessing, crop_cell, prepare
from inference.ml.sidecar import training_rows
from inference.ml.smear import SyntheticSmear, make_smear
from tests.bundles import make_bundle

pytestmark = pytest.mark.unit

WHOLE = Preprocessing(size=128, stain="own", region="image", interpolation="bilinear")


@pytest.fixture(scope="module")
def whole(bundle: Bundle) -> Engine:
    """The network that ships, as if it had come from elsewhere and took whole pictures."""
    return Engine(
        replace(bundle, card=replace(bundle.card, preprocessing=WHOLE, unfamiliarity=None))
    )


def test_a_picture_has_one_answer_that_stands_with_its_main_cell(
    whole: Engine, smear: SyntheticSmear
) -> None:
    result = whole.classify(smear.image)

    assert len(result.boxes) == 3
    assert [said.box for said in result.cells] == result.boxes[:1]
    assert SEVERAL_CELLS in result.cells[0].flags
    squeezed = cv2.resize(smear.image, (128, 128)).astype(np.uint8)
    assert result.cells[0].confidence == whole.probabilities(squeezed[None]).max()


def test_a_picture_of_one_cell_is_not_marked(whole: Engine) -> None:
    (said,) = whole.classify(make_smear(3, white_cells=1).image).cells

    assert SEVERAL_CELLS not in said.flags


def test_a_picture_without_a_cell_has_no_answer(whole: Engine) -> None:
    result = whole.classify(make_smear(3, white_cells=0).image)

    assert (result.cells, result.boxes) == ([], [])
    assert "no_cell" in result.flags


def test_nothing_is_unfamiliar_to_a_model_whose_training_is_not_known(whole: Engine) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (said,) = whole.predict_boxes(noise, [Box(0, 0, 9, 9)])

    assert said.unfamiliarity is None
    assert UNFAMILIAR not in said.flags
    assert BORDER in said.flags
    with pytest.raises(ValueError, match="Nothing is known of the cells"):
        whole.unfamiliarity(np.ones((1, 1280), np.float32))


@pytest.mark.parametrize("interpolation", ["area", "bilinear", "nearest"])
def test_the_box_does_not_matter_to_what_is_seen(interpolation: str) -> None:
    image = make_smear(3, width=200, height=100).image
    parameters = replace(WHOLE, interpolation=interpolation)
    prepared = prepare(image, parameters)
    crops = [crop_cell(prepared, box, parameters) for box in (Box(1, 1, 9, 9), Box(50, 9, 40, 40))]

    assert np.array_equal(prepared.pixels, image)
    assert crops[0].shape == (128, 128, 3)
    assert np.array_equal(crops[0], crops[1])


def test_the_nearest_pixel_is_that_of_pillow() -> None:
    """With which `keras.utils.load_img` scales, by this rule unless it is told another."""
    image = make_smear(3, width=200, height=100).image
    ours = crop_cell(
        prepare(image, WHOLE), Box(1, 1, 9, 9), replace(WHOLE, interpolation="nearest")
    )
    theirs = Image.fromarray(image).resize((128, 128), Image.Resampling.NEAREST)

    assert np.array_equal(ours, np.asarray(theirs))


def test_a_heat_map_is_of_the_whole_picture(whole: Engine, smear: SyntheticSmear) -> None:
    seen = crop_cell(prepare(smear.image, WHOLE), Box(1, 1, 9, 9), WHOLE)
    heat = heat_map(whole, seen, int(whole.probabilities(seen[None])[0].argmax()))

    assert heat.shape == (128, 128)
    assert (heat.min(), heat.max()) == (0, 1)


def test_whole_pictures_keep_their_stain() -> None:
    with pytest.raises(ValueError, match="keeps its own stain"):
        Preprocessing(region="image")
    with pytest.raises(ValueError, match="regions"):
        Preprocessing(region="half")


# --- A card without training ---------------------------------------------------------------
@pytest.fixture
def foreign(tmp_path: Path) -> Bundle:
    """A bundle without anything of its training."""
    bundle = load_bundle(make_bundle(tmp_path / "bundle", "foreign"))
    files = {name: sha for name, sha in bundle.card.files.items() if name.startswith(("m", "h"))}
    files.pop("manifest.csv.gz")
    card = replace(bundle.card, unfamiliarity=None, preprocessing=WHOLE, files=files)
    (bundle.path / CARD_NAME).write_text(card.to_json())
    return load_bundle(bundle.path)


def test_it_loads_and_says_so(foreign: Bundle) -> None:
    assert not foreign.training_known
    assert training_rows(foreign) == []
    text = render_model_card(foreign, names={}, not_recognised=["blasts"])
    assert "Unfamiliar cells cannot be recognised by this model" in text
    assert "not calibrated" in text
    assert "the whole picture, squeezed into 128 × 128 pixels" in text


def test_it_cannot_be_adapted(foreign: Bundle) -> None:
    with pytest.raises(BundleError, match="brings none of the cells of its training along"):
        read_site(foreign, Listing([], ()), decode=decode)


def test_nothing_of_it_was_held_back_and_nothing_is_known_as_seen(foreign: Bundle) -> None:
    items = [Item(Path("a.png"), "set", "neutrophil", "g", "0" * 64)]

    assert trained_on(items, training_rows(foreign)) == []
    with pytest.raises(LeakageError, match="was held back"):
        held_back(items, training_rows(foreign))


def test_it_is_evaluated_with_a_warning_and_does_not_pass_the_gate(
    bundle: Bundle, tmp_path: Path, class_folders: Callable[..., Path]
) -> None:
    (tmp_path / "theirs").mkdir()
    for path in (bundle.tflite_path, bundle.head_path):
        shutil.copy(path, tmp_path / "theirs")
    files = {name: bundle.card.files[name] for name in ("model.tflite", "head.npz")}
    card = replace(
        bundle.card, version="theirs", unfamiliarity=None, preprocessing=WHOLE, files=files
    )
    (tmp_path / "theirs" / CARD_NAME).write_text(card.to_json())
    theirs = load_bundle(tmp_path / "theirs")
    listing = list_items([class_folders("a", {"monocyte": 0, "neutrophil": 20}, pictures=3)])

    result = run(
        listing, Settings(theirs.path, tmp_path / "out", against=bundle.path), decode=decode
    )
    told = compare_bundles(theirs, bundle, listing, decode=decode)

    assert result["model"]["training_known"] is False
    assert result["explanation"] is None
    assert result["sets"][0]["images"] == 6
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Nothing is known of the pictures that this model was trained with" in page
    assert "that was checked by content" not in page
    checks = {one["name"]: one for one in told["checks"]}
    assert not checks["training known"]["passed"]
    assert "may have seen" in checks["training known"]["sentence"]
    assert not told["passed"]


def test_the_bundle_that_ships_is_of_the_schema_before(bundle: Bundle) -> None:
    """Which had neither region nor interpolation: what they were then is what they are."""
    written = json.loads((bundle.path / CARD_NAME).read_text())

    assert written["schema"] == 2
    assert set(written["preprocessing"]) == {"size", "context", "background", "stain"}
    assert (bundle.card.preprocessing.region, bundle.card.preprocessing.interpolation) == (
        "cell",
        "area",
    )
    assert Card.from_json(bundle.card.to_json()) == bundle.card
