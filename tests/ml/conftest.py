"""Synthetic smears, the model that ships, and folders of labelled pictures."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from inference.ml.bundle import Bundle, load_bundle
from inference.ml.engine import Engine
from inference.ml.smear import SyntheticSmear, make_smear

BUNDLE = Path(__file__).parents[2] / "inference" / "bundles" / "default"


@pytest.fixture(scope="session")
def smear() -> SyntheticSmear:
    """A field with three white cells."""
    return make_smear(1)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle that ships."""
    return load_bundle(BUNDLE)


@pytest.fixture(scope="session")
def engine(bundle: Bundle) -> Engine:
    return Engine(bundle)


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder with a sub-folder for each class and one-cell smears in it."""

    def make(name: str, classes: dict[str, int], *, pictures: int) -> Path:
        folder = tmp_path / name
        for label, first_seed in classes.items():
            (folder / label).mkdir(parents=True)
            for seed in range(first_seed, first_seed + pictures):
                image = make_smear(seed, width=160, height=160, white_cells=1).image
                Image.fromarray(image).save(folder / label / f"{seed}.png")
        return folder

    return make
