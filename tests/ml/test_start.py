"""Training that goes on from a bundle: its network, what it knows of the classes, and no code."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision.files.gate import decode
from inference.ml.bundle import CARD_NAME, KERAS_NAME, Bundle, load_bundle, sha256_of
from inference.ml.data import list_items
from inference.ml.litert import FeatureNetwork
from inference.ml.preprocess import Preprocessing, to_network
from inference.ml.settings import Settings, fixed_by
from inference.ml.sidecar import Head, read_manifest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tensorflow")]

MakeFolders = Callable[..., Path]
SIZE = 32


def settings_for(start: Bundle, size: int = 128) -> Settings:
    preprocessing = Preprocessing(size=size)
    return Settings(
        out=Path(), start=start.path, preprocessing=preprocessing, **fixed_by(start.card)
    )


@pytest.fixture
def copied(bundle: Bundle, tmp_path: Path) -> Callable[..., Bundle]:
    """The bundle that ships, with another ``model.keras``."""

    def make(content: Path | None) -> Bundle:
        folder = tmp_path / "copy"
        shutil.copytree(bundle.path, folder)
        (folder / KERAS_NAME).unlink()
        files = {name: sha for name, sha in bundle.card.files.items() if name != KERAS_NAME}
        if content:
            shutil.copy(content, folder / KERAS_NAME)
            files[KERAS_NAME] = sha256_of(folder / KERAS_NAME)
        (folder / CARD_NAME).write_text(replace(bundle.card, files=files).to_json())
        return load_bundle(folder)

    return make


def test_the_network_is_that_of_the_bundle_whatever_the_classes(bundle: Bundle) -> None:
    from inference.ml.network import pooled_features
    from inference.ml.start import starting_network

    crops = np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), np.uint8)
    network = FeatureNetwork(bundle.tflite_path.read_bytes(), bundle.card.preprocessing)
    model = starting_network(settings_for(bundle), ("monocyte", "blast"), bundle)
    features = pooled_features(model).predict(
        to_network(crops, bundle.card.preprocessing), verbose=0
    )

    assert np.abs(features - network.features(crops)).max() < 1e-3
    assert model.output_shape == (None, 2)
    assert not model.get_layer("Conv1").trainable
    smaller = settings_for(bundle, size=96)
    assert starting_network(smaller, bundle.classes, bundle).input_shape == (None, 96, 96, 3)


def test_nothing_of_the_file_is_read_but_its_numbers(
    bundle: Bundle, copied: Callable[..., Bundle], tmp_path: Path
) -> None:
    """What describes the network, where code could hide, may be anything."""
    from inference.ml.start import starting_network

    changed = tmp_path / "changed.keras"
    with zipfile.ZipFile(bundle.keras_path) as source, zipfile.ZipFile(changed, "w") as target:
        for entry in source.infolist():
            numbers = entry.filename.endswith(".h5")
            target.writestr(entry, source.read(entry) if numbers else b"os.system('false')")
    start = copied(changed)
    model = starting_network(settings_for(start), start.classes, start)
    again = starting_network(settings_for(bundle), bundle.classes, bundle)

    name = "Conv_1"
    assert np.array_equal(*(one.get_layer(name).get_weights()[0] for one in (model, again)))


@pytest.mark.parametrize("content", ["none", "no network", "another network"])
def test_a_file_without_the_network_is_refused(
    content: str, copied: Callable[..., Bundle], tmp_path: Path
) -> None:
    from inference.ml.network import WeightsError, build_classifier
    from inference.ml.start import starting_network

    file = tmp_path / "other.keras"
    if content == "no network":
        file.write_bytes(b"no archive")
    elif content == "another network":
        build_classifier(8, SIZE, weights=None, width=0.35).save(file)
    start = copied(file if file.exists() else None)
    with pytest.raises(WeightsError, match=r"model\.keras .* (Start|does not hold)"):
        starting_network(settings_for(start), start.classes, start)


def test_what_is_known_of_a_class_goes_by_its_name(bundle: Bundle) -> None:
    from inference.ml.start import known_head

    head = Head.load(bundle.head_path)
    some = ("neutrophil", "blast", "basophil")
    known = known_head(bundle, some)
    columns = [bundle.classes.index(name) for name in ("neutrophil", "basophil")]

    assert np.array_equal(known.kernel[:, [0, 2]], head.kernel[:, columns])
    assert np.allclose(known.kernel[:, 1], head.kernel[:, columns].mean(axis=1), atol=1e-6)
    assert np.allclose(known.bias[1], head.bias[columns].mean())
    assert not known_head(bundle, ("x", "y")).kernel.any()


def test_a_next_generation_learns_a_new_class_and_keeps_the_test_side(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    from inference.ml.train import train

    folder = class_folders("set", {"round": 0, "other": 100}, pictures=10)
    first = Settings(
        out=tmp_path / "first",
        backbone="scratch-cnn",
        epochs=2,
        crops_per_epoch=32,
        batch=8,
        views=1,
        preprocessing=Preprocessing(size=SIZE),
    )
    parent = train(first, list_items([folder]), decode=decode)
    class_folders("more", {"third": 200, "round": 300, "left out": 400}, pictures=6)
    told = replace(
        first,
        out=tmp_path / "second",
        start=parent.path,
        seed=7,
        balance="weights",
        class_map={"left out": "", "third": "New One"},
    )
    child = train(told, list_items([folder, tmp_path / "more"]), decode=decode)

    assert child.classes == ("new one", "other", "round")
    before = {row.sha256: row.side for row in read_manifest(parent.manifest_path)}
    after = {row.sha256: row.side for row in read_manifest(child.manifest_path)}
    assert {sha: after[sha] for sha in before} == before
    assert {after[sha] for sha in set(after) - set(before)} == {"train", "validation", "test"}
    card = json.loads((child.path / CARD_NAME).read_text())
    assert card["training"]["started_from"] == {
        "version": parent.version,
        "sha256": parent.sha256,
        "training_known": True,
    }
    assert card["split"]["sides_kept_of"] == [parent.version]
    assert card["training"]["class_map"] == {"left out": "", "third": "New One"}
    assert str(tmp_path) not in (child.path / CARD_NAME).read_text()

    alone = replace(told, out=tmp_path / "third", start=child.path, class_map={})
    last = train(alone, list_items([tmp_path / "more"]), decode=decode)
    told_of = {row.sha256: row.side for row in read_manifest(last.manifest_path)}
    assert {sha: told_of[sha] for sha in after} == after  # its weights have seen them
