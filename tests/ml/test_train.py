"""Training from folders of pictures to a bundle that the engine serves, on drawn cells."""

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from hematovision.files.gate import decode
from inference.ml.augment import Augmentation
from inference.ml.bundle import Bundle
from inference.ml.data import Item, list_items
from inference.ml.engine import Engine, softmax
from inference.ml.finder import find_cells
from inference.ml.preprocess import OWN_STAIN, Preprocessing, crop_cell, prepare, to_network
from inference.ml.progress import Progress, Report, Stage, Stop
from inference.ml.settings import Settings
from inference.ml.sidecar import TrainingFeatures, read_manifest
from inference.ml.smear import STAINS, make_smear
from inference.ml.unfamiliar import entry
from inference.ml.writing import ExportError
from tests.ml.conftest import BUNDLE

# One process only imports TensorFlow.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

MakeFolders = Callable[..., Path]


def items_of(photographs: dict[str, tuple[str, int]]) -> list[Item]:
    """Items of photographs, each with its class and number of pictures."""
    return [
        Item(Path(f"{group}-{copy}.png"), "set", label, group, f"{group}{copy}")
        for group, (label, copies) in photographs.items()
        for copy in range(copies)
    ]


def test_an_epoch_has_every_class_alike_and_copies_less() -> None:
    from inference.ml.fit import epoch_order

    many = {f"one-{index}": ("a", 1) for index in range(100)}
    items = items_of({**many, "copied": ("a", 900), "rare": ("b", 2)})
    order = epoch_order(items, 400, np.random.default_rng(0))
    drawn = Counter(items[position].label for position in order)
    copied = sum(items[position].group == "copied" for position in order)

    assert len(order) == 400
    assert drawn == {"a": 200, "b": 200}
    assert 100 < copied < 170  # its share of the pictures would be 180, of photographs 2
    assert max(Counter(order[np.isin(order, np.arange(1000))]).values()) == 1


def test_classes_are_drawn_as_often_as_they_occur_and_may_weigh_more_the_rarer_they_are() -> None:
    from inference.ml.fit import alike, epoch_order

    items = items_of(
        {f"{label}-{at}": (label, 1) for label, n in (("a", 300), ("b", 100)) for at in range(n)}
    )
    order = epoch_order(items, 200, np.random.default_rng(0), "none")
    labels = np.array([0 if items[position].label == "a" else 1 for position in order])
    weights = alike(labels)

    assert len(order) == len(set(order.tolist())) == 200
    assert 120 < (labels == 0).sum() < 180
    assert weights.mean() == pytest.approx(1)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum(), rel=1e-5)
    assert np.array_equal(order, epoch_order(items, 200, np.random.default_rng(0), "weights"))


def test_only_the_balance_by_weights_weighs() -> None:
    from inference.ml.fit import Part, Schedule, batches

    items = items_of({f"{label}-{at}": (label, 1) for label in "aab" for at in range(9)})
    items = items[:9] + items[9:12]  # nine of a, three of b
    labels = np.array([0 if item.label == "a" else 1 for item in items])
    part = Part(np.zeros((12, 40, 40, 3), np.uint8), labels, items)
    for balance, weighs in (("oversample", False), ("weights", True), ("none", False)):
        schedule = Schedule(1, 12, 4, 1e-3, 1, 0, balance=balance)  # type: ignore[arg-type]
        made = list(batches(part, Preprocessing(size=32), schedule, 1))
        assert [weights is not None for *_, weights in made] == 3 * [weighs]
        assert [inputs.shape for inputs, *_ in made] == 3 * [(4, 32, 32, 3)]


def test_from_folders_to_answers_and_a_person_may_stop_it(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    from inference.ml.train import train

    folder = class_folders("set", {"Round": 0, "other": 100}, pictures=8)
    told: list[Progress] = []

    bundle = train(
        Settings(
            out=tmp_path / "models" / "first",
            epochs=50,
            crops_per_epoch=32,
            batch=8,
            views=2,
            command="a test",
        ),
        list_items([folder]),
        told.append,
        decode=decode,
        stop=lambda: "finish" if told[-1].stage == "train" and told[-1].done == 2 else "",
    )

    assert [stage for stage, _ in Counter(p.stage for p in told).items()] == [
        "cut",
        "warm up",
        "train",
        "evaluate",
    ]
    assert any("groups unknown" in p.message for p in told)
    assert any("Stopped" in p.message for p in told)
    assert max(p.done for p in told if p.stage == "train") == 2
    assert bundle.classes == ("other", "round")
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["first"]
    card = json.loads((bundle.path / "card.json").read_text())
    (figures,) = card["metrics"].values()
    assert figures["what"].startswith("same-laboratory figure")
    assert sum(card["split"]["pictures"].values()) + card["dataset"]["without_cell"] == 16
    assert card["training"]["command"] == "a test"
    assert card["training"]["parity"]["largest_difference"] < 1e-3
    assert card["network"]["views"] == 2
    kept = TrainingFeatures.load(bundle.features_path)
    manifest = read_manifest(bundle.manifest_path)
    sides = Counter(row.side for row in manifest)
    assert sides == card["split"]["pictures"]
    assert len(kept) == sides["train"] + sides["validation"]
    assert {row.sha256[:16] for row in manifest if row.side != "test"} == set(kept.shas)
    assert {row.label for row in manifest} == set(bundle.classes)
    assert Engine(bundle).classify(make_smear(1, white_cells=1).image).predicted_label


def test_every_option_of_the_command_reaches_the_training(
    class_folders: MakeFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inference.ml import train as training

    told: list[Settings] = []

    def overheard(settings: Settings, *_: object, **__: object) -> None:
        told.append(settings)
        raise ValueError("enough")

    monkeypatch.setattr(training, "train", overheard)
    options = {
        "epochs": 3,
        "crops_per_epoch": 50,
        "batch": 4,
        "learning_rate": 0.5,
        "patience": 2,
        "validation": 0.1,
        "test": 0.3,
        "seed": 5,
        "backbone": "vgg16",
        "balance": "weights",
        "label_smoothing": 0.2,
        "views": 2,
    }
    others = {"size": 96, "context": 2.0, "colour": 0.1, "stain": 0.2, "focus": 0.3}
    switches = {
        "own_stain": True,
        "frozen_norm": True,
        "licence": [("set", "CC0")],
        "class_map": [("a", "c")],
        "keep_sides_of": [Path("earlier")],
    }
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=1)
    for given in ({}, options | others | switches, {"start": BUNDLE}, {"weights": "none"}):
        with pytest.raises(CommandError, match="enough"):
            call_command("train", data=[folder], **given)
    default, changed, started, random = told

    fresh = Settings(out=default.out, weights="imagenet")
    assert replace(default, command="") == fresh
    assert {name: getattr(changed, name) for name in options} == options
    assert (changed.preprocessing.size, changed.preprocessing.context) == (96, 2.0)
    assert changed.preprocessing.stain == OWN_STAIN
    assert changed.augmentation == Augmentation(0.1, 0.2, 0.3)
    assert not changed.adapt_norm
    assert changed.licences == (("set", "CC0"),)
    assert changed.class_map == {"a": "c"}
    assert changed.keep_sides_of == (Path("earlier"),)
    assert (started.start, started.weights, started.backbone) == (BUNDLE, None, "mobilenetv2")
    assert random.weights is None


def test_the_command_says_how_to_put_the_model_in_use(
    class_folders: MakeFolders,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from inference.ml import train as training

    made = SimpleNamespace(version="model-a", card=SimpleNamespace(metrics={}))
    monkeypatch.setattr(training, "train", lambda *_, **__: made)
    out = tmp_path / "my model"
    call_command("train", data=[class_folders("set", {"a": 0}, pictures=1)], out=out)
    assert capsys.readouterr().out == (
        f"Wrote model-a to {out}. To put it in use: manage.py activate_model '{out}' --reason WHY\n"
    )


def interrupted(stage: Stage, class_folders: MakeFolders, patch: pytest.MonkeyPatch) -> list[str]:
    """What the command asks of a training at whose stage a person presses Ctrl-C, twice."""
    from inference.ml import train as training

    wishes: list[str] = []

    def trained(
        _settings: Settings, _listing: object, report: Report, *, stop: Stop, **_others: object
    ) -> SimpleNamespace:
        report(Progress(stage, 1, 2))
        for _ in range(2):
            wishes.append(stop())
            os.kill(os.getpid(), signal.SIGINT)
        wishes.append(stop())
        return SimpleNamespace(version="model-a", card=SimpleNamespace(metrics={}))

    patch.setattr(training, "train", trained)
    call_command("train", data=[class_folders("set", {"a": 0}, pictures=1)], out=Path("new"))
    return wishes


def test_ctrl_c_asks_for_the_best_epoch_once_there_is_one(
    class_folders: MakeFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGINT)
    assert interrupted("train", class_folders, monkeypatch) == ["", "finish", "finish"]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_before_that_ends_it(
    class_folders: MakeFolders, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match="before there was anything to keep"):
        interrupted("cut", class_folders, monkeypatch)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"weights": "nowhere.h5"}, "nowhere.h5"),
        ({"start": BUNDLE}, "not from both"),
        ({"weights": None, "start": BUNDLE, "width": 0.5}, "cannot be a mobilenetv2 of width 0.5"),
        ({"weights": None, "start": Path("nowhere")}, "no model at nowhere"),
        ({"keep_sides_of": [Path("nowhere")]}, "no model at nowhere"),
        ({"class_map": [("c", "d")]}, "names c, but the pictures are of a, b"),
        ({"class_map": [("b", "")]}, "at least two classes"),
        ({"size": 31}, "must be 32 pixels or more"),
        ({"data": [Path("nowhere")]}, "no folder nowhere"),
        ({"out": Path(__file__).parent}, "is no model bundle"),
        ({"batch": 0}, "must be positive"),
        ({"test": 0.0}, "must be above 0"),
        ({"views": 3}, "no 3 views"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_cut(
    class_folders: MakeFolders, tmp_path: Path, change: dict[str, object], word: str
) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=3)
    options = {"data": [folder], "out": tmp_path / "new", "weights": "nowhere.h5"} | change
    with pytest.raises(CommandError, match=word):
        call_command("train", **options)
    assert not (tmp_path / "new").exists()


def test_one_class_is_nothing_to_train_with(class_folders: MakeFolders, tmp_path: Path) -> None:
    folder = class_folders("set", {"a": 0}, pictures=3)
    with pytest.raises(CommandError, match="at least two classes"):
        call_command("train", data=[folder], out=tmp_path / "new", weights="nowhere.h5")


def test_starting_weights_that_are_not_there_are_named() -> None:
    from inference.ml.network import WeightsError, build_classifier

    with pytest.raises(WeightsError, match=r"nowhere\.h5"):
        build_classifier(8, 128, weights="nowhere.h5")


def test_the_bundle_that_ships_answers_as_keras_does(bundle: Bundle, engine: Engine) -> None:
    import keras

    parameters = bundle.card.preprocessing
    crops = []
    for seed, stain in enumerate(STAINS):
        image = make_smear(seed, stain=stain).image
        prepared = prepare(image, parameters)
        crops += [crop_cell(prepared, cell.box, parameters) for cell in find_cells(image)]
    batch = np.stack(crops)
    model = keras.models.load_model(bundle.keras_path)
    logits = model.predict(to_network(batch, parameters), verbose=0)
    expected = softmax(logits / np.float32(bundle.card.temperature))

    served = softmax(engine.run(batch, views=1)[0] / np.float32(bundle.card.temperature))
    assert np.abs(expected - served).max() < 1e-3
    kernel, bias = model.get_layer("logits").get_weights()
    assert np.array_equal(kernel, engine.head.kernel)
    assert np.array_equal(bias, engine.head.bias)


def test_a_model_that_litert_answers_otherwise_is_not_written(
    tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from inference.ml import export

    monkeypatch.setattr(export, "parity", lambda *_: 0.01)
    target = tmp_path / "models" / "bad"
    with pytest.raises(ExportError, match="differ"):
        export.write_bundle(
            keras.models.load_model(bundle.keras_path),
            target,
            network=bundle.card.network,
            content=bundle.tflite_path.read_bytes(),
            features=TrainingFeatures.load(bundle.features_path),
            unfamiliarity=entry(0.5),
            manifest=[],
            classes=bundle.classes,
            preprocessing=bundle.card.preprocessing,
            temperature=1.0,
            thresholds=bundle.card.thresholds,
            metrics={},
            dataset={},
            split={},
            training={},
            parity_crops=np.zeros((1, 128, 128, 3), np.uint8),
        )

    assert not target.parent.exists()
