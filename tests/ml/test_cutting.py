"""The crops of a training lie in files, are cut once, and are never half there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.data import DataError, Listing, cut_crops, list_items
from inference.ml.preprocess import Preprocessing
from inference.ml.progress import Cancelled, Progress
from inference.ml.settings import Settings
from inference.ml.sides import Dealt, deal
from inference.ml.smear import make_smear
from inference.ml.split import SIDES

pytestmark = [pytest.mark.unit, pytest.mark.xdist_group("tensorflow")]

SMALL = Preprocessing(size=32)


@pytest.fixture
def dealt(class_folders: Callable[..., Path]) -> Dealt:
    """Ten pictures of each of two classes; one has no cell."""
    folder = class_folders("set", {"a": 0, "b": 50}, pictures=10)
    empty = make_smear(0, width=160, height=160, white_cells=0).image
    Image.fromarray(empty).save(folder / "a" / "3.png")
    return deal(list_items([folder]), Settings(out=Path()))


def cut(dealt: Dealt, folder: Path, **changed: object) -> object:
    from inference.ml.cutting import cut_parts

    told = {"decode": decode, "report": lambda _: None, "check": lambda: None} | changed
    return cut_parts(dealt, Listing(dealt.items, ()), SMALL, folder, **told)  # type: ignore[arg-type]


def test_crops_are_read_from_the_disk_and_cut_once(dealt: Dealt, tmp_path: Path) -> None:
    from inference.ml.cutting import bytes_of, cut_parts, parameters_of

    def refuse(_: bytes) -> np.ndarray:
        raise AssertionError("it is cut already")

    told: list[Progress] = []
    listing = Listing(dealt.items, ())
    for read in (decode, refuse):
        parts, without_cell = cut_parts(
            dealt, listing, SMALL, tmp_path, decode=read, report=told.append, check=lambda: None
        )
        assert [item.path.name for item in without_cell] == ["3.png"]
        for side in SIDES:
            crops, kept = cut_crops(dealt.of(side), parameters_of(side, SMALL), decode=decode)
            assert isinstance(parts[side].crops, np.memmap)
            assert np.array_equal(parts[side].crops, crops)
            assert parts[side].items == [dealt.of(side)[at] for at in kept]
    assert told[-1].message.startswith("No cell was found in 1 of 20 pictures; they are left out.")
    taken = sum((tmp_path / f"{side}.npy").stat().st_size for side in SIDES)
    assert taken <= bytes_of(dealt, SMALL) + 3 * 128  # and three headings


def test_who_stops_leaves_nothing_half_cut(dealt: Dealt, tmp_path: Path) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 16:
            raise Cancelled

    with pytest.raises(Cancelled):
        cut(dealt, tmp_path, check=check)
    assert len(asked) == 16
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "train.json",
        "train.npy",
    ]


def test_a_picture_that_cannot_be_read_ends_it_with_its_name(dealt: Dealt, tmp_path: Path) -> None:
    dealt.of("test")[0].path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"\.png cannot be used"):
        cut(dealt, tmp_path)
    assert not (tmp_path / "test.npy").exists()
