"""Duplicates and the warning of augmented copies."""

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hematovision.files.gate import decode
from inference.ml.datasets.alike import Findings, findings, near_pairs
from inference.ml.datasets.copies import suspicion
from inference.ml.datasets.facts import PictureFacts, measure
from inference.ml.datasets.manifest import Entry
from inference.ml.datasets.tables import Part
from tests.ml.datasets.conftest import Picture, Rows, apart, cell_picture, entry

pytestmark = pytest.mark.unit


def found(rows: Rows, *, shown: int = 200) -> Findings:
    return findings(*apart(rows), shown=shown)


def row(image: Picture, label: str = "a", part: Part = "") -> tuple[Entry, PictureFacts]:
    return entry(image, label, part=part), measure(image)


def test_the_same_file_is_found_under_two_labels_and_in_both_parts(
    independent: list[tuple[Entry, PictureFacts]],
) -> None:
    one, facts = independent[0]
    rows = [
        *independent,
        (replace(one, part="train"), facts),
        (replace(one, label="c", part="test"), facts),
    ]
    result = found(rows)

    assert result.identical == {"groups": 1, "files": 3, "shown": [[0, 40, 41]]}
    assert result.two_labels["identical"] == 2
    assert result.across == {
        "identical": 1,
        "near": 0,
        "shown": [{"pair": [40, 41], "identical": True}],
    }
    assert [row["kind"] for row in result.sentences] == ["bad", "bad", "warn"]
    assert result.copied == [True, *[False] * 39, True, True]


def test_copies_that_look_alike_are_found_and_others_are_not(
    independent: list[tuple[Entry, PictureFacts]],
) -> None:
    image = cell_picture(77, stain="giemsa")
    copy = np.ascontiguousarray(np.rot90(image)[:, ::-1])
    rows = [*independent, row(image, label="a", part="train"), row(copy, label="b", part="test")]
    result = found(rows)

    assert result.near["shown"] == [[40, 41]] or result.near["groups"] <= 2
    assert {"pair": [40, 41], "identical": False} in result.two_labels["shown"]
    assert {"pair": [40, 41], "identical": False} in result.across["shown"]


def test_copies_of_one_known_photograph_are_no_news(
    augmented: list[tuple[Entry, PictureFacts]],
) -> None:
    assert found(augmented).near["groups"] > 0
    known = [
        (replace(one, group=f"p{at // 10}"), facts) for at, (one, facts) in enumerate(augmented)
    ]
    result = found(known)

    assert result.near["groups"] == 0
    assert result.sentences == []
    assert sum(result.copied) > 30


def test_two_known_photographs_of_one_cell_are_named(
    augmented: list[tuple[Entry, PictureFacts]],
) -> None:
    known = [
        (replace(one, group=f"p{at // 10}" if at % 2 else f"q{at // 10}"), facts)
        for at, (one, facts) in enumerate(augmented)
    ]
    result = found(known)

    assert result.near["groups"] == 0
    assert ["p0", "q0"] in [row["pair"] for row in result.photographs["shown"]]
    assert "pairs of source photographs look like one" in result.sentences[-1]["text"]


def test_two_cells_of_one_file_are_no_duplicates() -> None:
    one, facts = row(cell_picture(1), part="train")
    cells = [replace(one, label=label, box=(at, 0, 9, 9)) for at, label in enumerate("abc")]
    copy = row(np.ascontiguousarray(cell_picture(1)[:, ::-1]), label="d", part="test")
    result = found([*((cell, facts) for cell in cells), copy])

    assert result.identical["groups"] == 0
    assert (result.two_labels["identical"], result.two_labels["near"]) == (0, 0)
    assert result.across["near"] == 1


def test_a_thousand_copies_of_one_file_are_one_group_and_lists_are_bounded() -> None:
    one, facts = row(cell_picture(1))
    result = found([(one, facts)] * 1000, shown=5)

    assert result.identical["files"] == 1000
    assert len(result.identical["shown"][0]) == 12
    assert result.two_labels["identical"] == 0


def test_the_search_for_pairs_ends_where_there_are_too_many() -> None:
    look = measure(cell_picture(1)).look
    pairs = near_pairs([look] * 60 + [""] * 5, most=100)

    assert not pairs.complete
    assert len(pairs.pairs) == 100
    complete = near_pairs([look] * 60 + [""] * 5)
    assert complete.complete
    assert len(complete.pairs) == 60 * 59 // 2
    assert complete.pairs.max() < 60


def test_blocks_miss_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [measure(cell_picture(seed, width=96, height=96)).look for seed in range(12)] * 2
    whole = near_pairs(looks).pairs.tolist()
    monkeypatch.setattr("inference.ml.datasets.alike._BLOCK", 5)

    assert near_pairs(looks).pairs.tolist() == whole
    assert [[at, at + 12] for at in range(12)] == [
        pair for pair in whole if pair[1] - pair[0] == 12
    ]


def test_nothing_is_alike_in_nothing() -> None:
    assert len(near_pairs([]).pairs) == 0
    assert len(near_pairs(["", ""]).pairs) == 0


def test_augmented_copies_raise_the_warning_and_smears_of_their_own_do_not(
    augmented: list[tuple[Entry, PictureFacts]], independent: list[tuple[Entry, PictureFacts]]
) -> None:
    copies = suspicion(*apart(augmented), found(augmented))
    assert copies.warn
    assert copies.score == 1
    assert copies.cut_corners > 0.7
    assert copies.near > 0.8
    assert "Add a table" in copies.sentence

    smears = suspicion(*apart(independent), found(independent))
    assert not smears.warn
    assert smears.cut_corners == 0


def test_where_photographs_are_known_there_is_nothing_to_warn_of(
    augmented: list[tuple[Entry, PictureFacts]],
) -> None:
    known = [(replace(one, group="p"), facts) for one, facts in augmented]

    assert not suspicion(*apart(known), found(known)).warn


def test_each_sign_is_enough(independent: list[tuple[Entry, PictureFacts]]) -> None:
    entries, facts = apart(independent)
    none = found(independent)
    cut = [replace(one, corners=2) for one in facts]
    same = [replace(one, palette=facts[0].palette) for one in facts]

    assert suspicion(entries, cut, none).warn
    assert suspicion(entries, facts, replace(none, copied=[True] * 40)).warn
    assert suspicion(entries, same, none).warn


def load(folder: Path, pattern: str, every: int) -> list[tuple[Entry, PictureFacts]]:
    rows = []
    for path in sorted(folder.glob(pattern))[::every]:
        image = decode(path.read_bytes())
        about = entry(image, path.parent.name.lower(), name=path.relative_to(folder).as_posix())
        rows.append((about, measure(image)))
    return rows


@pytest.mark.real_images
def test_the_warning_tells_kaggles_copies_from_barcelonas_files(test_data: Path) -> None:
    copies = load(test_data / "bccd", "TRAIN/*/*.jpeg", 12)
    files = load(test_data / "pbc", "*/*.jpg", 10)

    assert suspicion(*apart(copies), found(copies)).score == 1
    assert suspicion(*apart(files), found(files)).score < 0.1


@pytest.mark.real_images
def test_what_looks_alike_is_of_one_cell(test_data: Path) -> None:
    """BCCD, whose photographs are known, and the one pair of PBC that is known."""
    photographs = {}
    with (test_data / "bccd" / "source_photographs.csv").open() as file:
        for line in csv.DictReader(file):
            photographs[line["file"]] = line["photograph"]
    rows = load(test_data / "bccd", "TRAIN/MONOCYTE/*.jpeg", 4)
    pairs = near_pairs([facts.look for _, facts in rows]).pairs
    groups = [photographs[one.name] for one, _ in rows]
    sizes: dict[str, int] = defaultdict(int)
    for group in groups:
        sizes[group] += 1
    right = sum(groups[a] == groups[b] for a, b in pairs)

    assert right / len(pairs) > 0.99
    assert right / sum(size * (size - 1) // 2 for size in sizes.values()) > 0.1

    names = ("EO_398276", "EO_924136", "EO_100101")
    looks = [
        measure(decode(path.read_bytes())).look
        for name in names
        for path in (test_data / "pbc" / "eosinophil").glob(f"{name}.jpg")
    ]
    assert near_pairs(looks).pairs.tolist() == [[0, 1]]
