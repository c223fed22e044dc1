"""Networks that come from elsewhere answer here as they answered there."""

import json
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers
from numpy.typing import NDArray

from inference.ml.bundle import Bundle, load_bundle
from inference.ml.engine import SEVERAL_CELLS, UNCERTAIN, UNFAMILIAR, Engine
from inference.ml.finder import Box
from inference.ml.keras_import import KerasFileError
from inference.ml.keras_import.building import build, import_keras
from inference.ml.keras_import.options import Options
from inference.ml.keras_import.sandbox import arrays_of, read_keras
from inference.ml.preprocess import Preprocessing, crop_cell, prepare
from inference.ml.smear import SyntheticSmear, make_smear
from tests.ml.keras_import.files import layer, model, write_h5, write_keras

pytestmark = pytest.mark.unit

CLASSES = ("eosinophil", "lymphocyte", "monocyte", "neutrophil")
SIZE = 32

Pixels = NDArray[np.float32]


def plain() -> keras.Model:
    return keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(16, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(4, activation="softmax"),
        ]
    )


def nested() -> keras.Model:
    """A backbone as one layer, pixels scaled and turned before it, softmax apart."""
    base = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), alpha=0.35, include_top=False, weights=None, pooling="avg"
    )
    base.trainable = False
    inputs = keras.Input((SIZE, SIZE, 3))
    turned = layers.RandomFlip()(inputs)
    scaled = layers.Rescaling(1 / 127.5, offset=-1)(turned)
    hidden = layers.Dense(8, activation="relu")(base(scaled, training=False))
    hidden = layers.Dropout(0.5)(layers.BatchNormalization()(hidden))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(4)(hidden)))


def flat() -> keras.Model:
    """A backbone whose layers are the model's own, and no dense layer but the last."""
    base = keras.applications.MobileNetV2(
        input_shape=(SIZE, SIZE, 3), alpha=0.35, include_top=False, weights=None
    )
    pooled = layers.GlobalAveragePooling2D()(base.output)
    return keras.Model(base.input, layers.Dense(4, activation="softmax")(pooled))


def stirred(network: keras.Model, seen: Pixels) -> keras.Model:
    """Other than fresh from the tin, where batch normalisation does nothing at all, and with a
    last layer that tells some pictures apart."""
    rng = np.random.default_rng(0)
    for one in [network, *network.layers]:
        if not isinstance(one, keras.Model):
            continue
        normal = [each for each in one.layers if isinstance(each, layers.BatchNormalization)]
        for each in normal:
            each.momentum = 0.0
        one(rng.uniform(-1, 1, (8, SIZE, SIZE, 3)).astype(np.float32), training=True)
    last = [one for one in network.layers if isinstance(one, layers.Dense)][-1]
    features = keras.Model(network.inputs, last.input).predict(seen, verbose=0)
    kernel, _ = last.get_weights()
    logits = features @ kernel
    scale = 2 / logits.std(axis=0)
    last.set_weights([kernel * scale, -logits.mean(axis=0) * scale])
    return network


def taken(path: Path, options: Options) -> Bundle:
    scratch = path.parent / f"{path.name}-scratch"
    scratch.mkdir()
    return import_keras(path, options, path.parent / f"{path.name}-bundle", scratch=scratch)


@pytest.mark.parametrize(
    ("make", "suffix", "scale", "colours", "told"),
    [
        (plain, "keras", "0..1", "bgr", lambda p: p[..., ::-1] / 255),
        (plain, "h5", "caffe", "bgr", keras.applications.vgg16.preprocess_input),
        (nested, "h5", "0..255", "rgb", lambda p: p),
        (flat, "keras", "-1..1", "rgb", lambda p: p / 127.5 - 1),
    ],
)
def test_it_answers_as_it_did_where_it_was_made(
    tmp_path: Path,
    make: Callable[[], keras.Model],
    suffix: str,
    scale: str,
    colours: str,
    told: Callable[[Pixels], Pixels],
) -> None:
    parameters = Preprocessing(size=SIZE, stain="own", region="image", interpolation="bilinear")
    crops = np.stack(
        [
            crop_cell(prepare(make_smear(seed).image, parameters), Box(0, 0, 1, 1), parameters)
            for seed in range(8)
        ]
    )
    seen = told(crops.astype(np.float32))
    network = stirred(make(), seen)
    network.compile("adam", "categorical_crossentropy")
    network.save(tmp_path / f"model.{suffix}")
    expected = network.predict(seen, verbose=0)
    bundle = taken(tmp_path / f"model.{suffix}", Options(CLASSES, scale, colours))

    assert np.abs(Engine(bundle).probabilities(crops) - expected).max() < 1e-4
    assert np.ptp(expected, axis=0).max() > 0.3  # it does look at the pictures
    assert bundle.card.preprocessing == parameters


def test_the_bundle_says_what_is_not_known(tmp_path: Path, smear: SyntheticSmear) -> None:
    plain().save(tmp_path / "model.keras")
    bundle = taken(tmp_path / "model.keras", Options(CLASSES, "0..1"))

    assert load_bundle(bundle.path) == bundle
    assert not bundle.training_known
    assert set(bundle.card.files) == {"model.tflite", "head.npz"}
    assert "not calibrated" in bundle.card.training["temperature_note"]
    assert bundle.card.training["imported"]["hidden"] == [16]
    (said,) = Engine(bundle).classify(smear.image).cells
    assert UNFAMILIAR not in said.flags
    assert SEVERAL_CELLS in said.flags
    assert (UNCERTAIN in said.flags) == (said.confidence < 0.5)


# --- Older Keras --------------------------------------------------------------------------------
def test_files_of_keras_2_are_read_alike(tmp_path: Path) -> None:
    """Its shapes, its inbound nodes and the places of its numbers, all from one set of numbers."""
    as_functional = model()
    names = [one["config"]["name"] for one in as_functional["config"]["layers"]]
    for before, one in zip([None, *names], as_functional["config"]["layers"], strict=False):
        one["name"] = one["config"]["name"]
        one["inbound_nodes"] = [[[before, 0, 0, {}]]] if before else []
    entry = as_functional["config"]["layers"][0]["config"]
    entry["batch_input_shape"] = entry.pop("batch_shape")
    as_functional["class_name"] = "Model"
    as_functional["config"]["input_layers"] = [[names[0], 0, 0]]
    as_functional["config"]["output_layers"] = [[names[-1], 0, 0]]
    without_input = model()
    shape = without_input["config"]["layers"].pop(0)["config"]["batch_shape"]
    without_input["config"]["layers"][0]["config"]["batch_input_shape"] = shape
    bare = json.loads(json.dumps(without_input))
    bare["config"] = bare["config"]["layers"]
    files = [
        write_keras(tmp_path / "now.keras"),
        write_keras(tmp_path / "then.keras", root="_layer_checkpoint_dependencies"),
        write_h5(tmp_path / "functional.h5", as_functional),
        write_h5(tmp_path / "sequential.h5", without_input),
        write_h5(tmp_path / "bare.h5", bare),
    ]
    answers = []
    for path in files:
        scratch = tmp_path / path.stem
        scratch.mkdir()
        found = read_keras(path, scratch)
        network, head = build(found, arrays_of(scratch), Options(CLASSES, "0..1"))
        maps = np.asarray(network(np.linspace(-1, 1, 768, dtype=np.float32).reshape(1, 16, 16, 3)))
        answers.append(head.logits(maps.mean(axis=(1, 2))))

    assert np.ptp(np.array(answers), axis=0).max() == 0


# --- What does not fit --------------------------------------------------------------------------
def test_names_must_be_as_many_as_classes(tmp_path: Path) -> None:
    with pytest.raises(KerasFileError, match="has 4 classes, but 2 names were given"):
        taken(write_h5(tmp_path / "a.h5"), Options(CLASSES[:2], "0..1"))
    assert not (tmp_path / "a.h5-bundle").exists()


def test_numbers_of_another_shape_are_refused(tmp_path: Path) -> None:
    other = model()
    other["config"]["layers"][1]["config"]["filters"] = 5
    with pytest.raises(KerasFileError, match="have the shapes"):
        taken(write_h5(tmp_path / "a.h5", other), Options(CLASSES, "0..1"))
    fewer = model(classes=3)
    with pytest.raises(KerasFileError, match="last layer have the shape"):
        taken(write_h5(tmp_path / "b.h5", fewer), Options(CLASSES[:3], "0..1"))


def test_a_known_network_that_was_changed_is_refused(tmp_path: Path) -> None:
    network = flat()
    network.save(tmp_path / "model.h5")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    found = read_keras(tmp_path / "model.h5", scratch)
    for one in found.body:
        if one.name == "block_3_depthwise":
            one.settings["strides"] = [1, 1]
    with pytest.raises(KerasFileError, match="layer “block_3_depthwise” is not as in"):
        build(found, arrays_of(scratch), Options(CLASSES, "-1..1"))


def test_layers_that_do_not_go_together_are_told(tmp_path: Path) -> None:
    shrunk = [layer("MaxPooling2D", f"p{n}", pool_size=[4, 4], strides=[4, 4]) for n in range(3)]
    with pytest.raises(KerasFileError, match="do not fit together"):
        taken(write_h5(tmp_path / "a.h5", model(*shrunk)), Options(CLASSES, "0..1"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": ("a", "a")},
        {"classes": ("a",)},
        {"classes": ("a", "../b")},
        {"scale": "0..2"},
        {"colours": "grb"},
        {"interpolation": "guess"},
    ],
)
def test_options_are_checked(wrong: dict[str, object]) -> None:
    right = {"classes": ("a", "b"), "scale": "0..1", "colours": "rgb", "interpolation": "area"}
    with pytest.raises(ValueError, match=r"[Cc]lasses|scaled"):
        Options(**(right | wrong))  # type: ignore[arg-type]
    options = Options(**right)  # type: ignore[arg-type]
    assert Options.from_dict(json.loads(json.dumps(options.to_dict()))) == options
