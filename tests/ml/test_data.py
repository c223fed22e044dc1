"""Class folders, source photographs and the crops that are cut from them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.data import (
    DataError,
    Item,
    cut_crops,
    list_items,
    main_cell_crop,
    make_listing,
    relabelled,
)
from inference.ml.finder import Box
from inference.ml.preprocess import Preprocessing, crop_cell, prepare
from inference.ml.smear import make_smear

pytestmark = pytest.mark.unit
MakeFolders = Callable[..., Path]


def write_table(path: Path, rows: dict[str, str]) -> Path:
    lines = ["file,photograph,inliers", *(f"{name},{group},9" for name, group in rows.items())]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_classes_are_the_same_in_capitals(class_folders: MakeFolders) -> None:
    first = class_folders("first", {"LYMPHOCYTE": 0, "ig": 5}, pictures=1)
    second = class_folders("second", {"lymphocyte": 9}, pictures=1)
    (first / "attributes.csv").write_text("not a class")
    listing = list_items([first, second])

    assert listing.classes == ("ig", "lymphocyte")
    assert len(listing.items) == 3
    assert len({item.stratum for item in listing.items}) == 3


def test_a_table_tells_the_photographs_wherever_it_was_written(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    folder = class_folders("TRAIN", {"A": 0, "B": 5}, pictures=2)
    table = write_table(
        tmp_path / "groups.csv",
        {"TRAIN/A/0.png": "p", "TRAIN/A/1.png": "p", "TRAIN/B/5.png": "q", "TRAIN/B/6.png": "r"},
    )
    listing = list_items([folder], [table])

    assert listing.groups_unknown == ()
    assert [item.group.split(":")[-1] for item in listing.items] == ["p", "p", "q", "r"]


def test_without_a_table_every_file_is_its_own_photograph_but_copies_are_one(
    class_folders: MakeFolders,
) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=2)
    shutil.copy(folder / "a" / "0.png", folder / "a" / "copy.png")
    listing = list_items([folder])

    assert listing.groups_unknown == (listing.items[0].dataset,)
    assert len(listing.items) == 5
    assert len({item.group for item in listing.items}) == 4


def test_a_table_that_names_a_part_of_a_set_is_refused(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=2)
    table = write_table(tmp_path / "groups.csv", {"a/0.png": "p"})

    with pytest.raises(DataError, match="1 of the 4 pictures"):
        list_items([folder], [table])


def test_tables_that_contradict_each_other_are_refused(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=1)
    tables = [
        write_table(tmp_path / f"{name}.csv", {"a/0.png": name, "b/5.png": "x"}) for name in "pq"
    ]

    with pytest.raises(DataError, match="two photographs"):
        list_items([folder], tables)


def test_what_cannot_be_used_is_refused(class_folders: MakeFolders, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        list_items([tmp_path / "nowhere"])
    with pytest.raises(DataError, match="no sub-folders"):
        list_items([tmp_path])
    broken = tmp_path / "broken.csv"
    broken.write_text("file\nonly one column\n")
    with pytest.raises(DataError, match="two columns"):
        list_items([class_folders("two", {"a": 0, "b": 5}, pictures=1)], [broken])


@pytest.mark.parametrize("name", ["unfamiliar", "Uncertain", "border", "no_cell"])
def test_no_class_is_called_like_a_flag(class_folders: MakeFolders, name: str) -> None:
    folder = class_folders("mine", {"monocyte": 0, name: 5}, pictures=1)
    with pytest.raises(
        DataError, match=f"The class {name.lower()} is called like a mark .* Rename it"
    ):
        list_items([folder])


def test_the_fingerprint_knows_content_and_class_but_no_order(class_folders: MakeFolders) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=2)
    other = class_folders("other", {"c": 20}, pictures=1)
    both = list_items([folder, other]).fingerprint()

    assert list_items([other, folder]).fingerprint() == both
    (folder / "a" / "0.png").rename(folder / "b" / "0.png")
    assert list_items([folder, other]).fingerprint() != both


def test_pictures_without_a_cell_are_left_out_and_named(class_folders: MakeFolders) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=2)
    empty = make_smear(0, width=160, height=160, white_cells=0).image
    Image.fromarray(empty).save(folder / "a" / "1.png")
    calls: list[None] = []
    items = list_items([folder]).items
    crops, kept = cut_crops(
        items, Preprocessing(), decode=decode, advance=lambda: calls.append(None)
    )

    assert kept == [0, 2, 3]
    assert crops.shape == (3, 128, 128, 3)
    assert len(calls) == 4


def test_a_box_is_cut_where_it_is_and_not_where_the_finder_looks(
    class_folders: MakeFolders,
) -> None:
    (item,) = list_items([class_folders("set", {"a": 1}, pictures=1)]).items
    image = decode(item.path.read_bytes())
    boxes = [Box(10, 20, 40, 40), Box(70, 60, 30, 50)]
    items = [replace(item, box=box) for box in boxes]
    crops, kept = cut_crops(items, Preprocessing(), decode=decode)

    assert kept == [0, 1]
    prepared = prepare(image, Preprocessing())
    for crop, box in zip(crops, boxes, strict=True):
        assert np.array_equal(crop, crop_cell(prepared, box, Preprocessing()))
    outside = replace(item, box=Box(150, 0, 40, 40))
    with pytest.raises(DataError, match=r"1\.png cannot be used: .* reaches outside the picture"):
        cut_crops([outside], Preprocessing(), decode=decode)


def test_boxes_of_one_file_may_have_labels_of_their_own_but_share_its_photograph() -> None:
    one = Item(Path("field"), "set", "a", "set:x", "sha", Box(0, 0, 9, 9))
    other = replace(one, label="b", box=Box(9, 0, 9, 9), group="set:y")
    whole = replace(one, label="c", box=None, dataset="copy", group="copy:z")
    listing = make_listing([one, other, whole, one])

    assert {item.group for item in listing.items} == {"copy:z"}
    assert listing.classes == ("a", "b", "c")
    moved = make_listing([replace(one, box=Box(1, 0, 9, 9)), other, whole, one])
    assert moved.fingerprint() != listing.fingerprint()
    with pytest.raises(DataError, match=r"field \(a\) and field \(b\) .* in the same box Box"):
        make_listing([one, replace(one, label="b")])


def test_a_class_map_renames_joins_and_leaves_out(class_folders: MakeFolders) -> None:
    seeds = {"band": 0, "segmented": 10, "dirt": 20}
    folders = [class_folders(name, {name: seed}, pictures=2) for name, seed in seeds.items()]
    folders.append(class_folders("other", {"monocyte": 50}, pictures=1))
    listing = list_items(folders)
    told = relabelled(listing, {"band": "Neutrophil ", "segmented": "neutrophil", "dirt": ""})

    assert told.classes == ("monocyte", "neutrophil")
    assert len(told.items) == 5
    assert len(told.groups_unknown) == 3
    assert relabelled(listing, {}) == listing
    with pytest.raises(DataError, match="names blast, but the pictures are of band, dirt"):
        relabelled(listing, {"blast": "x"})
    with pytest.raises(DataError, match="uncertain is called like a mark"):
        relabelled(listing, {"dirt": "uncertain"})


def test_what_shares_bytes_or_a_photograph_is_one_group(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    """Kaggle's TRAIN and TEST named by one table, and a copy that nobody names."""
    train = class_folders("TRAIN", {"a": 0, "b": 5}, pictures=2)
    test = class_folders("TEST", {"a": 20, "b": 25}, pictures=2)
    rows = {
        f"{folder.name}/{path.parent.name}/{path.name}": f"photograph-{path.stem}"
        for folder in (train, test)
        for path in folder.glob("*/*")
    }
    rows["TRAIN/a/0.png"] = rows["TEST/a/20.png"] = "one photograph in both"
    elsewhere = class_folders("elsewhere", {"a": 40, "b": 45}, pictures=1)
    shutil.copy(train / "b" / "5.png", elsewhere / "b" / "copy.png")
    table = write_table(tmp_path / "groups.csv", rows)
    items = list_items([train, test, elsewhere], [table]).items
    groups = {str(item.path.relative_to(tmp_path)): item.group for item in items}

    assert groups["TRAIN/a/0.png"] == groups["TEST/a/20.png"]
    assert groups["TRAIN/b/5.png"] == groups["elsewhere/b/copy.png"]
    assert len(set(groups.values())) == len(items) - 2


def test_laboratories_that_number_alike_have_tables_of_their_own(
    class_folders: MakeFolders, tmp_path: Path
) -> None:
    folders = [class_folders(name, {"a": seed}, pictures=2) for name, seed in (("x", 0), ("y", 9))]
    tables = [
        write_table(
            tmp_path / f"{folder.name}.csv",
            {
                f"{folder.name}/a/{path.name}": str(number)
                for number, path in enumerate(sorted(folder.glob("a/*")))
            },
        )
        for folder in folders
    ]

    assert len({item.group for item in list_items(folders, tables).items}) == 4


def test_one_class_alone_can_be_listed(class_folders: MakeFolders) -> None:
    assert list_items([class_folders("one", {"a": 0}, pictures=1)]).classes == ("a",)


def test_one_file_in_two_classes_is_refused(class_folders: MakeFolders) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=1)
    shutil.copy(folder / "a" / "0.png", folder / "b" / "copy.png")

    with pytest.raises(DataError, match="the same file in two classes"):
        list_items([folder])


def test_what_archivers_leave_is_no_class(class_folders: MakeFolders) -> None:
    folder = class_folders("set", {"a": 0, "b": 5, "__MACOSX": 10, ".cache": 15}, pictures=1)

    assert list_items([folder]).classes == ("a", "b")


def test_an_unreadable_picture_stops_with_its_name(class_folders: MakeFolders) -> None:
    folder = class_folders("set", {"a": 0, "b": 5}, pictures=1)
    (folder / "b" / "5.png").write_bytes(b"no picture")
    items = list_items([folder]).items

    with pytest.raises(DataError, match=r"5\.png cannot be used"):
        cut_crops(items, Preprocessing(), decode=decode)
    (folder / "b" / "5.png").unlink()
    with pytest.raises(DataError, match=r"^b/5\.png cannot be used: No such file") as error:
        cut_crops(items, Preprocessing(), decode=decode)
    assert str(folder) not in str(error.value)


def test_platelets_are_cut_only_where_they_are_expected() -> None:
    image = make_smear(5, white_cells=0).image

    assert main_cell_crop(image, "neutrophil", Preprocessing()) is None
    crop = main_cell_crop(image, "platelet", Preprocessing())
    assert crop is not None
    assert crop.shape == (128, 128, 3)
