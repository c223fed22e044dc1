"""The engine on the model that ships."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from hematovision.files.gate import decode
from inference.ml.bundle import FEATURES_NAME, HEAD_NAME, Bundle, BundleError
from inference.ml.data import list_items
from inference.ml.engine import BORDER, NO_CELL, UNCERTAIN, UNFAMILIAR, Engine
from inference.ml.finder import Box, find_cells
from inference.ml.quality import TOO_DARK, UNUSUAL_COLOUR
from inference.ml.sidecar import TRAIN, VALIDATION, TrainingFeatures
from inference.ml.smear import SyntheticSmear, make_smear
from inference.ml.views import view, view_back
from tests.ml.conftest import BUNDLE

pytestmark = pytest.mark.unit


def with_thresholds(bundle: Bundle, value: float, distance: float = 2.0) -> Bundle:
    card = replace(
        bundle.card,
        thresholds=dict.fromkeys(bundle.classes, value),
        unfamiliarity={**(bundle.card.unfamiliarity or {}), "threshold": distance},
    )
    return replace(bundle, card=card)


def with_views(bundle: Bundle, views: int) -> Engine:
    card = replace(bundle.card, network={**bundle.card.network, "views": views})
    return Engine(replace(bundle, card=card))


def test_a_picture_gives_its_cells_main_cell_first(engine: Engine, smear: SyntheticSmear) -> None:
    result = engine.classify(smear.image)

    assert [cell.box for cell in result.cells] == [c.box for c in find_cells(smear.image)]
    assert len(result.cells) == 3
    assert result.predicted_label == result.cells[0].label
    assert result.confidence == result.cells[0].confidence
    assert result.flags == result.cells[0].flags
    assert result.find_ms > 0
    assert result.engine_ms > 0
    for cell in result.cells:
        assert tuple(cell.probabilities) == engine.bundle.classes
        assert sum(cell.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert cell.confidence == max(cell.probabilities.values())
        assert cell.probabilities[cell.label] == cell.confidence


def test_a_picture_without_cells_says_so(engine: Engine) -> None:
    result = engine.classify(make_smear(0, white_cells=0).image)

    assert result.cells == []
    assert result.flags == (NO_CELL,)
    assert result.predicted_label is None
    assert result.confidence is None


def test_the_picture_as_a_whole_has_flags_too(engine: Engine, smear: SyntheticSmear) -> None:
    good = engine.classify(smear.image)
    dark = engine.classify((smear.image * 0.3).astype(np.uint8))
    grey = engine.classify(np.repeat(smear.image[..., 1:2], 3, axis=2))

    assert good.quality.flags == ()
    assert TOO_DARK in dark.quality.flags
    assert TOO_DARK in dark.flags
    assert grey.flags == (NO_CELL, UNUSUAL_COLOUR)


def test_a_box_drawn_by_hand_is_answered_as_a_found_one(
    engine: Engine, smear: SyntheticSmear
) -> None:
    found = engine.classify(smear.image).cells
    given = engine.predict_boxes(smear.image, [cell.box for cell in reversed(found)])

    assert given == found[::-1]
    assert engine.predict_boxes(smear.image, []) == []
    with pytest.raises(ValueError, match="outside"):
        engine.predict_boxes(smear.image, [Box(600, 0, 100, 100)])


def test_answers_do_not_depend_on_company_or_repetition(
    engine: Engine, smear: SyntheticSmear
) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8)
    together = engine.probabilities(crops)

    assert np.array_equal(together, engine.probabilities(crops))
    assert np.array_equal(together[3:4], engine.probabilities(crops[3:4]))
    assert engine.probabilities(crops[:0]).shape == (0, len(engine.bundle.classes))


def test_a_twin_has_a_network_of_its_own_and_shares_the_rest(
    engine: Engine, smear: SyntheticSmear
) -> None:
    twin = engine.twin()

    assert twin._network is not engine._network
    assert twin._neighbours is engine._neighbours
    assert twin.classify(smear.image).cells == engine.classify(smear.image).cells


def test_threads_share_an_engine(engine: Engine) -> None:
    images = [make_smear(seed, white_cells=2, width=320, height=240).image for seed in range(6)]
    alone = [engine.classify(image).cells for image in images]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(3):
            shared = [result.cells for result in pool.map(engine.classify, images)]
            assert shared == alone


def test_more_threads_of_the_network_change_nothing_to_speak_of(
    bundle: Bundle, engine: Engine, smear: SyntheticSmear
) -> None:
    for one, two in zip(
        engine.classify(smear.image).cells,
        Engine(bundle, threads=2).classify(smear.image).cells,
        strict=True,
    ):
        assert one.label == two.label
        assert one.confidence == pytest.approx(two.confidence, abs=1e-4)


def test_flags(bundle: Bundle, smear: SyntheticSmear) -> None:
    doubtful, trusting = (Engine(with_thresholds(bundle, value)) for value in (1.1, 0.0))
    box = min(smear.boxes, key=lambda box: box.x)
    cut = np.ascontiguousarray(smear.image[:, box.x + box.width // 3 :])

    assert all(UNCERTAIN in cell.flags for cell in doubtful.classify(smear.image).cells)
    assert all(UNCERTAIN not in cell.flags for cell in trusting.classify(smear.image).cells)
    at_edge = {cell.box.x == 0: cell.flags for cell in trusting.classify(cut).cells}
    assert at_edge[True] == (BORDER,)
    assert at_edge[False] == ()


def test_what_is_far_from_training_is_flagged(bundle: Bundle, smear: SyntheticSmear) -> None:
    found = Engine(bundle).classify(smear.image).cells
    distances = [cell.unfamiliarity for cell in found if cell.unfamiliarity is not None]
    nearest, farthest = min(distances), max(distances)
    strict, lax = (Engine(with_thresholds(bundle, 0.0, value)) for value in (nearest / 2, farthest))

    assert 0 < nearest <= farthest < 1
    assert all(UNFAMILIAR in cell.flags for cell in strict.classify(smear.image).cells)
    assert all(UNFAMILIAR not in cell.flags for cell in lax.classify(smear.image).cells)


def test_what_was_trained_on_is_near(bundle: Bundle, engine: Engine) -> None:
    kept = TrainingFeatures.load(bundle.features_path)
    assert bundle.card.unfamiliarity is not None
    limit = bundle.card.unfamiliarity["threshold"]
    train = engine.unfamiliarity(kept.of_side(TRAIN).features[::50].astype(np.float32))
    held_back = engine.unfamiliarity(kept.of_side(VALIDATION).features[::5].astype(np.float32))

    assert train.mean() < held_back.mean() < limit
    assert (held_back > limit).mean() < 0.05


def test_the_temperature_of_the_card_is_applied(bundle: Bundle) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (3, 128, 128, 3), dtype=np.uint8)
    sharp, soft = (
        Engine(replace(bundle, card=replace(bundle.card, temperature=value))).probabilities(crops)
        for value in (0.5, 5.0)
    )

    assert np.array_equal(sharp.argmax(axis=1), soft.argmax(axis=1))
    assert (sharp.max(axis=1) > soft.max(axis=1)).all()


def test_the_network_answers_with_logits_and_its_last_feature_map(engine: Engine) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    logits, features = engine.run(crops)

    assert logits.shape == (2, len(engine.bundle.classes))
    assert features.shape == (2, 4, 4, 1280)
    assert features.min() >= 0
    assert features.max() <= 6


def test_a_card_of_another_network_is_refused(bundle: Bundle) -> None:
    card = bundle.card
    for other in (
        replace(card, preprocessing=replace(card.preprocessing, size=96)),
        replace(card, network={**card.network, "features": 640}),
        replace(card, classes=card.classes[:-1]),
    ):
        with pytest.raises(BundleError, match="shapes"):
            Engine(replace(bundle, card=other))


@pytest.mark.parametrize("name", [HEAD_NAME, FEATURES_NAME])
def test_a_head_or_features_that_are_none_are_refused(
    bundle: Bundle, tmp_path: Path, name: str
) -> None:
    for path in bundle.path.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"no arrays")

    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        Engine(replace(bundle, path=tmp_path))


@pytest.mark.parametrize("views", [2, 4, 8])
def test_answers_are_averages_over_views(bundle: Bundle, engine: Engine, views: int) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    averaging = with_views(bundle, views)
    logits, maps = averaging.run(crops)
    turned = [np.ascontiguousarray(view(crops, index)) for index in range(views)]
    alone = [engine.run(crops, views=1) for crops in turned]

    assert np.allclose(logits, np.mean([one[0] for one in alone], axis=0), atol=1e-4)
    back = [view_back(one[1], index) for index, one in enumerate(alone)]
    assert np.allclose(maps, np.mean(back, axis=0), atol=1e-4)
    assert np.allclose(maps.mean(axis=(1, 2)), averaging.features(crops), atol=1e-5)
    assert np.array_equal(averaging.run(crops, views=1)[0], alone[0][0])


@given(
    pictures=hnp.arrays(np.uint8, (2, 4, 4, 3)),
    first=st.integers(0, 7),
    second=st.integers(0, 7),
)
def test_views_turn_back_and_differ(pictures: NDArray[np.uint8], first: int, second: int) -> None:
    assert np.array_equal(view_back(view(pictures, first), first), pictures)
    numbered = np.arange(48, dtype=np.float32).reshape(1, 4, 4, 3)
    same = np.array_equal(view(numbered, first), view(numbered, second))
    assert same == (first == second)


SERVING = """
import sys
from pathlib import Path
from inference.ml import bundle, engine, explain, finder, preprocess, smear
picture = smear.make_smear(1, width=320, height=240, white_cells=1)
one = engine.Engine(bundle.load_bundle(Path(sys.argv[1])))
cell = one.classify(picture.image).cells[0]
parameters = one.bundle.card.preprocessing
crop = preprocess.crop_cell(preprocess.prepare(picture.image, parameters), cell.box, parameters)
explain.overlay(crop, explain.heat_map(one, crop, 0))
heavy = {"tensorflow", "keras", "sklearn", "scipy", "matplotlib", "django", "tqdm"}
print(cell.label, sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_serving_never_imports_tensorflow() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SERVING, str(BUNDLE)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": "."},
        timeout=60,
    )

    assert done.stdout.split(maxsplit=1)[1].strip() == "[]"


@pytest.mark.real_images
def test_held_back_cells_are_mostly_named_rightly(engine: Engine, test_data: Path) -> None:
    held_back = {name.rpartition(":")[2] for name in engine.bundle.card.split["test_groups"]}
    items = [
        item
        for item in list_items([test_data / "pbc"]).items
        if item.group.rpartition(":")[2] in held_back
    ][::5]
    right = [
        engine.classify(decode(item.path.read_bytes())).predicted_label == item.label
        for item in items
    ]

    assert len(items) > 100
    assert np.mean(right) > 0.9
