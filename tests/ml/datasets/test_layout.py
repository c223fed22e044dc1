"""Which class, part and photograph the paths of an archive and its tables tell."""

from pathlib import Path

import pytest

from inference.ml.bundle import MOST_CLASSES
from inference.ml.datasets.archive import Folder, Limits
from inference.ml.datasets.layout import Layout, LayoutError, Placed, understand
from inference.ml.datasets.tables import Part, Table, TableError, read_table, tables_in

pytestmark = pytest.mark.unit

KAGGLE = [
    *(
        f"dataset2-master/dataset2-master/images/{part}/{label}/_0_{number}.jpeg"
        for part in ("TRAIN", "TEST", "TEST_SIMPLE")
        for label in ("EOSINOPHIL", "NEUTROPHIL")
        for number in range(3)
    ),
    *(f"dataset-master/dataset-master/JPEGImages/BloodImage_{n:05}.jpg" for n in range(4)),
    *(f"dataset-master/dataset-master/Annotations/BloodImage_{n:05}.xml" for n in range(4)),
    "dataset-master/dataset-master/labels.csv",
    "dataset2-master/dataset2-master/labels.csv",
]


def table(*lines: str) -> Table:
    return read_table("labels.csv", "\n".join(lines).encode())


def labels(layout: Layout) -> dict[str, str]:
    return {name: placed.label for name, placed in layout.pictures.items()}


def test_the_archive_from_kaggle_is_understood() -> None:
    layout = understand(KAGGLE)

    assert len(layout.pictures) == 18
    assert layout.classes == ("eosinophil", "neutrophil")
    first = "dataset2-master/dataset2-master/images/TRAIN/EOSINOPHIL/_0_0.jpeg"
    assert layout.pictures[first] == Placed("eosinophil", "train", "")
    assert {placed.part for placed in layout.pictures.values()} == {"train", "test"}
    assert {file.name for file in layout.left_out} == {
        name for name in KAGGLE if name.endswith(".jpg")
    }
    assert layout.not_pictures == 6
    assert "4 pictures in dataset-master/dataset-master were left aside" in layout.notes[0]


@pytest.mark.parametrize("wrapping", ["", "one/", "one/two/three/"])
def test_wrapping_folders_say_nothing(wrapping: str) -> None:
    names = [f"{wrapping}{label}/{n}.PNG" for label in ("A", "b  c") for n in range(2)]
    layout = understand([*names, f"{wrapping}readme.txt"])

    assert labels(layout) == dict(zip(names, ["a", "a", "b_c", "b_c"], strict=True))
    assert not layout.left_out
    assert not layout.groups_known


@pytest.mark.parametrize(
    ("folder", "part"),
    [("train", "train"), ("VAL", "train"), ("Validation", "train"), ("Test", "test"), ("x", "")],
)
def test_parts_are_told_by_folders_above_or_inside_the_class(folder: str, part: Part) -> None:
    for name in (f"{folder}/a/1.png", f"a/{folder}/1.png"):
        if folder == "x" and name.startswith("a"):
            continue
        placed = understand([name, f"{folder}/b/2.png"]).pictures[name]
        assert placed == Placed("a", part, "")


def test_a_picture_beside_the_class_folders_is_left_out() -> None:
    layout = understand(["a/1.png", "b/2.png", "3.png"])

    assert set(layout.pictures) == {"a/1.png", "b/2.png"}
    assert layout.left_out[0].reason == "It lies in no class folder."


def test_two_laboratories_with_the_same_classes_are_both_taken() -> None:
    layout = understand(["x/a/1.png", "x/b/2.png", "y/a/3.png", "y/b/4.png", "y/c/5.png"])

    assert layout.classes == ("a", "b", "c")
    assert len(layout.pictures) == 5


def test_folders_of_two_meanings_are_refused_unless_the_classes_are_known() -> None:
    names = [f"{label}/patient {n}-{label}/{k}.png" for label in "xy" for n in "12" for k in "12"]
    with pytest.raises(LayoutError, match="Classes could be the folders in"):
        understand(names)
    layout = understand(names, known=["x", "neutrophil"])
    assert layout.classes == ("x", "y")
    assert layout.groups_known
    assert layout.pictures["x/patient 1-x/1.png"].group == "x/patient 1-x"


def test_one_class_alone_is_a_layout() -> None:
    assert understand(["blast/1.png", "blast/2.png"]).classes == ("blast",)


def test_what_holds_no_classes_is_refused() -> None:
    with pytest.raises(LayoutError, match="no pictures"):
        understand(["a/readme.txt"])
    with pytest.raises(LayoutError, match="one folder for each class"):
        understand(["1.png", "2.png"])
    with pytest.raises(LayoutError, match="cannot all be classes"):
        understand([f"{number}/1.png" for number in range(MOST_CLASSES + 1)])


@pytest.mark.parametrize("label", ["Unfamiliar", "no cell", "x" * 61])
def test_a_class_that_cannot_be_called_so_is_left_out(label: str) -> None:
    layout = understand([f"{label}/1.png", "a/2.png"])

    assert set(layout.pictures) == {"a/2.png"}
    assert layout.left_out[0].name == f"{label}/1.png"


def test_a_table_tells_everything_of_a_flat_folder() -> None:
    told = table(
        "File;Class;Patient;Split", "1.png;Blast;p1;train", "2.png;blast;p1;val", "3.png;x;p2;Test"
    )
    layout = understand(["set/1.png", "set/2.png", "set/3.png", "set/4.png"], given=told)

    assert layout.pictures == {
        "set/1.png": Placed("blast", "train", "p1"),
        "set/2.png": Placed("blast", "train", "p1"),
        "set/3.png": Placed("x", "test", "p2"),
    }
    assert layout.groups_known
    assert layout.left_out[0].reason == "The table labels.csv tells no class of it."


def test_photographs_come_from_a_table_written_from_any_folder_above() -> None:
    names = ["k/TRAIN/A/1.png", "k/TRAIN/B/1.png", "k/TEST/A/1.png"]
    told = table("file,photograph", "TRAIN/A/1.png,p", "TRAIN/B/1.png,q", "TRAIN/C/9.png,r")
    layout = understand(names, given=told)

    assert [placed.group for placed in layout.pictures.values()] == ["p", "q", ""]
    assert layout.unmatched == ("TRAIN/C/9.png",)
    assert layout.unmatched_count == 1


def test_what_a_table_of_photographs_forgets_beside_others_is_left_out() -> None:
    layout = understand(["a/1.png", "a/2.png", "b/3.png"], given=table("file,group", "1.png,p"))

    assert set(layout.pictures) == {"a/1.png"}
    assert len(layout.left_out) == 2


def test_a_table_inside_counts_if_it_names_the_pictures() -> None:
    useless = read_table("other.csv", b"file,label\nnowhere.png,x\n")
    told = table("file,label", "1.png,x", "2.png,y")
    layout = understand(["a/1.png", "a/2.png"], found=[useless, told])

    assert layout.classes == ("x", "y")
    assert any("other.csv was left aside" in note for note in layout.notes)
    assert understand(["a/8.png", "b/9.png"], found=[told]).classes == ("a", "b")
    with pytest.raises(LayoutError, match="names none of the pictures"):
        understand(["a/8.png"], given=told)


def test_kaggles_list_of_labels_is_no_table_for_us(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(",Image,Category\n0,1,NEUTROPHIL\n")
    (tmp_path / "mine.CSV").write_bytes(b"\xef\xbb\xbffile,label\na/1.png,x\n")
    tables, notes = tables_in(Folder(tmp_path, Limits()))

    assert [one.name for one in tables] == ["mine.CSV"]
    assert "labels.csv" in notes[0]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "needs a heading"),
        (b"a,b\n1,2\n", "needs a heading"),
        (b"file,label,class\na,b,c\n", "two columns for the label"),
        (b"file,label\na.png\n", "Line 2 .* too few"),
        (b"file,label\n,x\n", "names no file"),
        (b"file,label\na.png,x\na.png,y\n", "two things of a.png"),
        (b"file,part\na.png,somewhere\n", "may be train, validation or test"),
        (b"file,label\na.png," + 500 * b"x" + b"\n", "too long"),
        ("file,label\nä.png,x\n".encode("latin-1"), "UTF-8"),
        (b"file,label\na.png,x\0\n", "no plain text"),
        (b'file,label\n"a.png,x\n' + 200_000 * b"y", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused_in_words(data: bytes, match: str) -> None:
    with pytest.raises(TableError, match=match):
        read_table("labels.csv", data)
