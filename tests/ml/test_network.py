"""The backbones: built with random weights at a tiny size, saved, loaded and converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    import keras

# One process only imports TensorFlow.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

SIZE = 32
DEPTHS = {
    "mobilenetv2": 1280,
    "scratch-cnn": 256,
    "vgg16": 512,
    "resnet50v2": 2048,
    "efficientnetv2b0": 1280,
}


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """One crop of noise, -1 to 1; red is darker than blue, so that a swap is seen."""
    noise = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3))
    return (noise * [0.3, 0.6, 1.0] - [0.6, 0.2, 0.0]).astype(np.float32)


def plain(backbone: str) -> tuple[keras.Model, Any]:
    """The network of `keras.applications` by itself, and its preprocessing of 0 to 255."""
    import keras

    applications = keras.applications
    build, module = {
        "mobilenetv2": (applications.MobileNetV2, applications.mobilenet_v2),
        "vgg16": (applications.VGG16, applications.vgg16),
        "resnet50v2": (applications.ResNet50V2, applications.resnet_v2),
        "efficientnetv2b0": (applications.EfficientNetV2B0, applications.efficientnet_v2),
    }[backbone]
    network = build(input_shape=(SIZE, SIZE, 3), include_top=False, weights=None)
    return network, module.preprocess_input


def test_every_backbone_is_tested() -> None:
    from inference.ml.network import BACKBONES

    assert set(BACKBONES) == set(DEPTHS)


@pytest.mark.parametrize("backbone", DEPTHS)
def test_built_saved_loaded_and_converted_it_answers_the_same(
    backbone: str, crops: np.ndarray, tmp_path: Path
) -> None:
    import keras
    from ai_edge_litert.interpreter import Interpreter

    from inference.ml.export import to_tflite
    from inference.ml.network import build_classifier, feature_map, pooled_features

    model = build_classifier(3, SIZE, backbone=backbone, weights=None)
    logits = np.asarray(model(crops, training=False))
    features = np.asarray(feature_map(model)(crops, training=False))
    pooled = np.asarray(pooled_features(model)(crops, training=False))
    kernel, bias = model.get_layer("logits").get_weights()

    assert logits.shape == (1, 3)
    assert features.shape[0] == 1
    assert features.shape[3] == DEPTHS[backbone]
    assert np.allclose(features.mean(axis=(1, 2)), pooled, atol=1e-4)
    assert np.allclose(pooled @ kernel + bias, logits, atol=1e-4)

    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.allclose(loaded(crops, training=False), logits, atol=1e-5)
    assert feature_map(loaded).output_shape == feature_map(model).output_shape

    interpreter = Interpreter(model_content=to_tflite(model))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], crops)
    interpreter.invoke()
    (output,) = interpreter.get_output_details()
    assert np.allclose(interpreter.get_tensor(output["index"]), features, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("backbone", sorted(set(DEPTHS) - {"scratch-cnn"}))
def test_it_sees_what_its_weights_expect(backbone: str, crops: np.ndarray, tmp_path: Path) -> None:
    from inference.ml.network import build_classifier, feature_map

    network, preprocess = plain(backbone)
    network.save_weights(tmp_path / "plain.weights.h5")
    expected = np.asarray(network(preprocess((crops + 1) * 127.5), training=False))
    model = build_classifier(2, SIZE, backbone=backbone, weights=str(tmp_path / "plain.weights.h5"))
    features = feature_map(model)(crops, training=False)

    assert np.abs(expected).max() > 0
    assert np.allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    frozen = [layer.name for layer in model.layers if not layer.trainable]
    assert 0 < len(frozen) < len(model.layers) / 2


def test_normalisation_may_stay_as_it_came(tmp_path: Path) -> None:
    import keras

    from inference.ml.network import build_classifier

    network, _ = plain("mobilenetv2")
    network.save_weights(tmp_path / "plain.weights.h5")

    def trained(**options: Any) -> list[bool]:
        model = build_classifier(2, SIZE, **options)
        layers = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
        return [layer.trainable for layer in layers]

    weights = str(tmp_path / "plain.weights.h5")
    assert any(trained(weights=weights))
    assert not any(trained(weights=weights, adapt_norm=False))
    assert all(trained(weights=weights, first_trained="Conv1"))
    assert all(trained(weights=None, adapt_norm=False))


def test_a_narrow_network_is_smaller() -> None:
    from inference.ml.network import build_classifier

    narrow = build_classifier(2, SIZE, width=0.5, weights=None)
    assert narrow.count_params() < 1e6
    assert build_classifier(2, SIZE, backbone="scratch-cnn", weights=None).count_params() < 1e6


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"backbone": "alexnet", "weights": None}, "no backbone 'alexnet'"),
        ({"backbone": "scratch-cnn", "width": 0.5, "weights": None}, "one width only"),
        ({"weights": None, "first_trained": "block_99"}, "no layer 'block_99'"),
    ],
)
def test_what_cannot_be_built_is_said(options: dict[str, Any], word: str) -> None:
    from inference.ml.network import build_classifier

    with pytest.raises(ValueError, match=word):
        build_classifier(2, SIZE, **options)


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from inference.ml.network import WeightsError, build_classifier

    network, _ = plain("mobilenetv2")
    network.save_weights(tmp_path / "plain.weights.h5")
    weights = str(tmp_path / "plain.weights.h5")

    with pytest.raises(WeightsError, match=r"of mobilenetv2 of width 0\.5"):
        build_classifier(2, SIZE, width=0.5, weights=weights)
    with pytest.raises(WeightsError, match="trained from scratch"):
        build_classifier(2, SIZE, backbone="scratch-cnn", weights=weights)
