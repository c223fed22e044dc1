"""A model adapted to another laboratory: better there, no worse at home, and a whole bundle."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from hematovision.files.gate import decode
from inference.ml.adapt import (
    Settings,
    adapt,
    divide,
    drawing_order,
    thinned,
    widened,
)
from inference.ml.bundle import (
    CARD_NAME,
    FEATURES_NAME,
    KERAS_NAME,
    Bundle,
    load_bundle,
    sha256_of,
)
from inference.ml.data import DataError, list_items
from inference.ml.engine import Engine, softmax
from inference.ml.last_layer import (
    FOLDS,
    choose,
    fit_head,
    fit_to_site,
    fit_with_replay,
    folds_of,
    solve,
)
from inference.ml.learning_curve import learning_curve, macro_recall
from inference.ml.sidecar import TRAIN, VALIDATION, TrainingFeatures, read_manifest
from inference.ml.smear import make_smear

pytestmark = pytest.mark.unit

MakeFolders = Callable[..., Path]
WIDTH = 16
CENTRES = np.random.default_rng(7).normal(0, 1, (4, WIDTH))
SHIFT = np.random.default_rng(8).normal(0, 1.2, WIDTH)


def laboratory(
    name: str, classes: int, photographs: int, *, shift: float = 0.0, copies: int = 1, seed: int = 0
) -> TrainingFeatures:
    """Cells of a laboratory whose stain moves all features: some photographs of each class."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.tile(np.arange(classes), photographs), copies)
    rows = CENTRES[labels] + shift * SHIFT + rng.normal(0, 0.5, (len(labels), WIDTH))
    groups = np.repeat(np.arange(classes * photographs), copies)
    return TrainingFeatures(
        features=rows.astype(np.float16),
        labels=labels.astype(np.int16),
        sides=(groups // classes % 4 == 3).astype(np.uint8),
        groups=np.array([f"{name}:{group}" for group in groups]),
        datasets=np.full(len(labels), name),
        shas=np.array([f"{name}-{row}" for row in range(len(labels))]),
    )


@pytest.fixture(scope="module")
def home() -> TrainingFeatures:
    return laboratory("home", 3, 40)


@pytest.fixture(scope="module")
def site() -> TrainingFeatures:
    return laboratory("site", 3, 12, shift=1.0, copies=2, seed=1)


@pytest.fixture(scope="module")
def unseen() -> TrainingFeatures:
    return laboratory("site", 3, 100, shift=1.0, seed=2)


def test_a_site_is_learned_and_home_is_not_forgotten(
    home: TrainingFeatures, site: TrainingFeatures, unseen: TrainingFeatures
) -> None:
    train, held_back = home.of_side(TRAIN), home.of_side(VALIDATION)
    before = fit_head(train.features, train.labels, classes=3)
    fit = fit_to_site(home, site, before, classes=3, seed=0)

    assert macro_recall(before, unseen) < 0.8
    assert macro_recall(fit.head, unseen) > 0.9
    assert macro_recall(fit.head, held_back) > macro_recall(before, held_back) - 0.03
    assert ((fit.thresholds >= 0.5) & (fit.thresholds <= 1)).all()


def test_the_threshold_of_unfamiliarity_lets_the_site_in(
    home: TrainingFeatures, site: TrainingFeatures, unseen: TrainingFeatures
) -> None:
    from inference.ml.unfamiliar import Neighbours, describe

    limit = describe(home, np.ones(len(home.of_side(VALIDATION))))["threshold"]
    train = home.of_side(TRAIN)
    strange = Neighbours(train.features).distances(unseen.features) > limit
    before = fit_head(train.features, train.labels, classes=3)
    told = fit_to_site(home, site, before, classes=3, seed=0).unfamiliarity
    references = Neighbours(train.with_more(site).features)
    still = references.distances(unseen.features) > told["threshold"]

    assert strange.mean() > 0.5
    assert still.mean() < 0.1


def test_a_class_that_home_never_had_is_added(home: TrainingFeatures) -> None:
    site = laboratory("site", 4, 10, shift=0.2, seed=1)
    unseen = laboratory("site", 4, 50, shift=0.2, seed=2)
    before = fit_head(home.features, home.labels, classes=3)
    fit = fit_to_site(home, site, before, classes=4, seed=0)

    assert fit.head.bias.shape == (4,)
    assert macro_recall(fit.head, unseen) > 0.9
    assert macro_recall(fit.head, unseen.where(unseen.labels == 3)) > 0.85


def test_home_and_site_count_alike_however_many_cells_they_have() -> None:
    """One feature, which means the opposite in the two laboratories: neither can win."""
    few, many = 10, 400

    def cells(name: str, count: int, sign: int) -> TrainingFeatures:
        labels = np.arange(count) % 2
        return replace(
            laboratory(name, 2, count // 2),
            features=(sign * (2 * labels[:, None] - 1) * np.eye(WIDTH)[0]).astype(np.float16),
            sides=np.zeros(count, np.uint8),
        )

    head = fit_with_replay(cells("a", many, 1), cells("b", few, -1), classes=2, strength=1.0).head
    assert np.abs(head.kernel).max() < 1e-3


def test_a_class_without_cells_is_never_answered() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 2] * 30)
    features = np.eye(4)[labels] + rng.normal(0, 0.1, (60, 4))
    head = fit_head(features, labels, classes=4)
    answers = head.logits(features.astype(np.float32)).argmax(axis=1)

    assert head.kernel.shape == (4, 4)
    assert np.array_equal(answers, labels)


def test_a_strong_penalty_leaves_the_prior_as_it_is(home: TrainingFeatures) -> None:
    before = fit_head(home.features, home.labels, classes=3)
    others = (home.labels + 1) % 3
    after = fit_head(home.features, others, classes=3, strength=1e-9, prior=before)

    assert np.abs(after.kernel - before.kernel).max() < 1e-3
    weak = fit_head(home.features, others, classes=3, strength=10.0, prior=before)
    answers = weak.logits(home.features.astype(np.float32)).argmax(axis=1)
    assert (answers == others).mean() > 0.95


def test_the_fit_is_that_of_scikit_learn(home: TrainingFeatures) -> None:
    from sklearn.linear_model import LogisticRegression

    weights = np.random.default_rng(0).uniform(0.5, 1.5, len(home))
    weights /= weights.mean()
    rows = home.features.astype(np.float64)
    peer = LogisticRegression(C=0.1).fit(rows, home.labels, sample_weight=weights)
    head = fit_head(home.features, home.labels, weights, classes=3, strength=0.1)

    expected = peer.predict_proba(rows)
    assert np.abs(softmax(head.logits(rows.astype(np.float32))) - expected).max() < 0.01


def test_a_widened_head_answers_as_before(home: TrainingFeatures) -> None:
    head = fit_head(home.features, home.labels, classes=3)
    rows = home.features.astype(np.float32)

    assert np.allclose(widened(head, 5).logits(rows)[:, :3], head.logits(rows), atol=1e-5)
    assert widened(head, 5).logits(rows).argmax(axis=1).max() < 3


def test_folds_keep_photographs_whole(site: TrainingFeatures) -> None:
    folds = folds_of(site, seed=0)

    assert set(folds) == set(range(FOLDS))
    for group in set(site.groups):
        assert len(set(folds[site.groups == group])) == 1


@given(
    cells=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=60),
    seed=st.integers(0, 5),
)
def test_cells_are_drawn_classes_in_turn_and_photographs_before_copies(
    cells: list[tuple[int, int]], seed: int
) -> None:
    labels = np.array([label for label, _ in cells], np.int16)
    groups = np.array([f"{label}-{photograph}" for label, photograph in cells])
    many = replace(laboratory("x", 1, len(cells)), labels=labels, groups=groups)
    order = drawing_order(many, seed)

    assert sorted(order) == list(range(len(cells)))
    alike = min(Counter(labels.tolist()).values()) * len(set(labels.tolist()))
    counts = Counter(labels[order[:alike]].tolist())
    assert len(set(counts.values())) == 1
    for label in set(labels.tolist()):
        of_class = [groups[at] for at in order if labels[at] == label]
        different = len(set(of_class))
        assert len(set(of_class[:different])) == different


@pytest.fixture(scope="module")
def small(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle that ships, with few of its features: the rest takes only time."""
    folder = tmp_path_factory.mktemp("small") / "bundle"
    shutil.copytree(bundle.path, folder)
    kept = TrainingFeatures.load(bundle.features_path)
    kept.where(np.arange(0, len(kept), 12)).save(folder / FEATURES_NAME)
    files = {**bundle.card.files, FEATURES_NAME: sha256_of(folder / FEATURES_NAME)}
    card = replace(bundle.card, version="small", files=files)
    (folder / CARD_NAME).write_text(card.to_json())
    return load_bundle(folder)


def test_from_folders_to_a_bundle_with_a_new_class(
    small: Bundle, class_folders: MakeFolders, tmp_path: Path
) -> None:
    folder = class_folders("site", {"Blast": 0, "neutrophil": 100}, pictures=10)
    settings = Settings(small.path, tmp_path / "new" / "site", command="a test")
    told: list[tuple[int, int]] = []
    listing = list_items((folder,))
    adapted = adapt(settings, listing, lambda *step: told.append(step), decode=decode)
    card = json.loads((adapted.path / "card.json").read_text())
    manifest = read_manifest(adapted.manifest_path)
    name = f"{tmp_path.name}/site"

    assert told[-1] == (20, 20)
    assert adapted.classes == (*small.classes, "blast")
    assert adapted.version != small.version
    assert (adapted.path / KERAS_NAME).exists() == (KERAS_NAME in small.card.files)
    assert adapted.tflite_path.read_bytes() == small.tflite_path.read_bytes()
    assert card["training"]["adapted_from"] == {"version": small.version, "sha256": small.sha256}
    assert card["training"]["adaptation"]["new_classes"] == ["blast"]
    assert card["training"]["adaptation"]["command"] == "a test"
    assert set(card["metrics"]) == {name, *small.card.metrics}
    assert card["training"]["adaptation"]["converged"] is True
    for home in small.card.metrics:
        assert card["metrics"][home]["side"] == "validation"
        assert "flatters" in card["metrics"][home]["what"]
        assert not {"calibration_error", "not_flagged"} & set(card["metrics"][home])
    assert card["metrics"][name]["side"] == "test"
    assert "calibration_error" in card["metrics"][name]
    for figures in card["metrics"].values():
        assert set(figures["before"]) == {"accuracy", "balanced_accuracy", "by_photograph"}
        assert 0 <= figures["paired"]["mcnemar"]["p_value"] <= 1
    assert name in card["dataset"]["groups_unknown"]
    sides = Counter(row.side for row in manifest if row.dataset == name)
    assert sides == {"train": 14, "test": 6}
    assert len(manifest) == len(read_manifest(small.manifest_path)) + 20
    kept = TrainingFeatures.load(adapted.features_path)
    assert len(kept) == len(TrainingFeatures.load(small.features_path)) + 14
    cell = Engine(adapted).classify(make_smear(3, white_cells=1).image).cells[0]
    assert "blast" in cell.probabilities


def test_pictures_that_the_model_was_made_with_are_refused(
    small: Bundle, class_folders: MakeFolders, tmp_path: Path
) -> None:
    folder = class_folders("site", {"lymphocyte": 0, "neutrophil": 100}, pictures=6)
    first, listing = Settings(small.path, tmp_path / "first"), list_items((folder,))
    adapt(first, listing, decode=decode)

    again = replace(first, bundle=tmp_path / "first", out=tmp_path / "second")
    with pytest.raises(DataError, match="of the 12 pictures"):
        adapt(again, listing, decode=decode)
    assert not (tmp_path / "second").exists()


def test_a_folder_of_one_new_class_takes_nothing_from_the_others(home: TrainingFeatures) -> None:
    """All of the site's cells are blasts, and they count as much as all of home's."""
    blasts = laboratory("site", 4, 60, seed=1)
    blasts = blasts.where(blasts.labels == 3)
    train, held_back = home.of_side(TRAIN), home.of_side(VALIDATION)
    before = fit_head(train.features, train.labels, classes=3)
    fit = fit_to_site(home, blasts.where(np.arange(30)), before, classes=4, seed=0)

    assert macro_recall(fit.head, blasts.where(np.arange(30, 60))) > 0.9
    assert macro_recall(fit.head, held_back) > macro_recall(before, held_back) - 0.03


def test_who_adapts_again_and_again_stays_under_the_cap(
    home: TrainingFeatures, site: TrainingFeatures
) -> None:
    site = replace(site, sides=np.full(len(site), TRAIN, np.uint8))
    kept, added = thinned(home, site, most=170)

    assert len(kept) + len(added) == 170
    assert np.array_equal(kept.of_side(VALIDATION).shas, home.of_side(VALIDATION).shas)
    assert set(added.groups) == set(site.groups)
    everything = thinned(home, site)
    assert [len(one) for one in everything] == [len(home), len(site)]


def test_a_search_that_is_cut_short_says_so(
    home: TrainingFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert solve(home.features, home.labels, classes=3).converged
    monkeypatch.setattr("inference.ml.last_layer.MOST_STEPS", 2)
    assert not solve(home.features, home.labels, classes=3).converged


def test_every_point_of_the_curve_is_chosen_by_its_own_cells(
    bundle: Bundle, home: TrainingFeatures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def watched(home: TrainingFeatures, site: TrainingFeatures, *rest: Any, **named: Any) -> Any:
        seen.append(len(site))
        return choose(home, site, *rest, **named)

    monkeypatch.setattr("inference.ml.learning_curve.choose", watched)
    home.save(tmp_path / "features.npz")
    fit_head(home.features, home.labels, classes=3).save(tmp_path / "head.npz")
    cells = laboratory("site", 3, 20, shift=1.0, seed=1)
    learning_curve(replace(bundle, path=tmp_path), cells, classes=3, sizes=(0, 6, 20), draws=2)

    assert seen == [6, 20, 6, 20]


def test_the_curve_grows(bundle: Bundle, home: TrainingFeatures, tmp_path: Path) -> None:
    site = laboratory("site", 3, 40, shift=1.0, seed=1)
    train = home.of_side(TRAIN)
    home.save(tmp_path / "features.npz")
    fit_head(train.features, train.labels, classes=3).save(tmp_path / "head.npz")
    told: list[tuple[int, int]] = []
    rows = learning_curve(
        replace(bundle, path=tmp_path),
        site,
        classes=3,
        sizes=(0, 6, 30, 1000),
        draws=2,
        report=lambda *step: told.append(step),
    )

    assert told == [(done, 6) for done in range(6)]

    assert [row["cells"] for row in rows] == [0, 6, 30]
    recalls = [row["site"]["mean"] for row in rows]
    assert recalls[0] < recalls[1] < recalls[2] + 0.02
    assert recalls[2] > 0.9
    assert all(row["home"]["mean"] > 0.85 for row in rows)


def test_cells_are_held_out_by_photograph(site: TrainingFeatures) -> None:
    settings = Settings(Path(), Path(), cells=9, held_out=0.25)
    learned, held_out = divide(site, settings)
    groups = site.groups

    assert len(learned) == 9
    assert Counter(site.labels[learned].tolist()) == {0: 3, 1: 3, 2: 3}
    assert not set(groups[learned]) & set(groups[held_out])
    assert len(set(groups[held_out])) == 9


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"bundle": Path("nowhere")}, "no model at nowhere"),
        ({"data": [Path("nowhere")]}, "no folder nowhere"),
        ({"out": Path(__file__).parent}, "is no model bundle"),
        ({"out": None}, "Give --out"),
        ({"held_out": 1.0}, "below 1"),
        ({"cells": 1}, "two cells"),
    ],
)
def test_what_cannot_work_is_said(
    small: Bundle,
    class_folders: MakeFolders,
    tmp_path: Path,
    change: dict[str, object],
    word: str,
) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=1)
    options = {"bundle": small.path, "data": [folder], "out": tmp_path / "new"} | change
    with pytest.raises(CommandError, match=word):
        call_command("adapt", options.pop("bundle"), **options)
    assert not (tmp_path / "new").exists()


def test_the_command_tells_before_and_after(
    small: Bundle,
    class_folders: MakeFolders,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = class_folders("set", {"lymphocyte": 0, "neutrophil": 50}, pictures=6)
    call_command("adapt", small.path, data=[folder], out=tmp_path / "new")
    told = capsys.readouterr().out

    assert "before" in told
    assert "McNemar" in told
    assert f"Wrote mobilenetv2-{small.card.preprocessing.size}-" in told
    assert told.endswith(f"manage.py activate_model {tmp_path / 'new'} --reason WHY\n")


def test_adapting_never_imports_tensorflow() -> None:
    code = (
        "import sys, inference.ml.adapt\n"
        "print(sorted({'tensorflow', 'keras', 'django'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "[]"
