"""The gate before promotion: what is let through, what is not, and what each check says."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hematovision.files.gate import decode
from inference.ml.bundle import (
    CARD_NAME,
    HEAD_NAME,
    KERAS_NAME,
    MANIFEST_NAME,
    TFLITE_NAME,
    Bundle,
    Card,
    load_bundle,
    sha256_of,
)
from inference.ml.data import Item, Listing, list_items
from inference.ml.evaluation import gate
from inference.ml.evaluation.answers import Answers
from inference.ml.evaluation.gate import CHECKS, compare_bundles
from inference.ml.finder import Box
from inference.ml.sidecar import Head, ManifestRow, write_manifest
from tests.ml.conftest import BUNDLE

pytestmark = pytest.mark.unit

MakeFolders = Callable[..., Path]
MakeBundle = Callable[..., Bundle]
CLASSES = load_bundle(BUNDLE).classes


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """The bundle that ships under another name, with changes to its card, rows and classes."""

    def make(
        name: str,
        *,
        rows: tuple[ManifestRow, ...] = (),
        order: tuple[str, ...] = CLASSES,
        **changes: Any,
    ) -> Bundle:
        folder = tmp_path / name
        shutil.copytree(BUNDLE, folder, ignore=shutil.ignore_patterns(KERAS_NAME))
        write_manifest(folder / MANIFEST_NAME, rows)
        head = Head.load(folder / HEAD_NAME)
        columns = [CLASSES.index(label) for label in order]
        Head(head.kernel[:, columns], head.bias[columns]).save(folder / HEAD_NAME)
        card = Card.from_json((folder / CARD_NAME).read_text())
        files = {one: sha256_of(folder / one) for one in card.files if one != KERAS_NAME}
        thresholds = {label: card.thresholds[label] for label in order}
        card = dataclasses.replace(
            card, version=name, classes=order, thresholds=thresholds, files=files, **changes
        )
        (folder / CARD_NAME).write_text(card.to_json())
        return load_bundle(folder)

    return make


def cells(classes: dict[str, int], *, copies: int = 1) -> Listing:
    """A listing of photographs of each class that no file stands behind."""
    items = [
        Item(Path(f"{label}-{at}-{copy}"), "set", label, f"set:{label}-{at}", f"{label}{at}-{copy}")
        for label, photographs in classes.items()
        for at in range(photographs)
        for copy in range(copies)
    ]
    return Listing(items, ())


def answering(
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, set[str]],
    copied: frozenset[str] = frozenset(),
) -> None:
    """Let the bundles answer rightly but for some photographs, by the bundle's version.

    Of the photographs ``copied`` the candidate knows copies.
    """

    def answer(bundle: Bundle, items: list[Item], **_: object) -> Answers:
        rows = np.full((len(items), len(bundle.classes)), 0.01, np.float32)
        for row, item in zip(rows, items, strict=True):
            place = bundle.classes.index(item.label)
            mistaken = item.group.removeprefix("set:") in wrong.get(bundle.version, set())
            row[(place + 1) % len(row) if mistaken else place] = 0.9
        boxes = [Box(0, 0, 9, 9)] * len(items)
        copies = [
            ("set:other", 0.01)
            if bundle.version == "candidate" and item.group.removeprefix("set:") in copied
            else None
            for item in items
        ]
        return Answers(items, [], bundle.classes, rows, {}, boxes, copies, ())

    monkeypatch.setattr(gate, "answer", answer)


def passed(told: dict[str, Any]) -> dict[str, bool]:
    json.dumps(told)
    found = {check["name"]: check["passed"] for check in told["checks"]}
    assert told["passed"] == all(found.values())
    assert all(check["sentence"].endswith(".") for check in told["checks"])
    return found


def sentence(told: dict[str, Any], name: str) -> str:
    (said,) = [check["sentence"] for check in told["checks"] if check["name"] == name]
    assert isinstance(said, str)
    return said


def test_a_model_passes_against_itself_whatever_the_order_of_its_classes(
    class_folders: MakeFolders, make_bundle: MakeBundle
) -> None:
    folder = class_folders("set", {"lymphocyte": 0, "neutrophil": 50}, pictures=10)
    told_of: list[tuple[int, int]] = []
    told = compare_bundles(
        make_bundle("candidate", order=CLASSES[::-1]),
        make_bundle("baseline"),
        list_items([folder]),
        decode=decode,
        report=lambda done, total, _: told_of.append((done, total)),
    )

    assert passed(told) == dict.fromkeys(CHECKS, True)
    assert told["data"]["pictures"] == told["data"]["photographs"] == 20
    mcnemar = told["figures"]["paired"]["mcnemar"]
    assert mcnemar["only_ours_right"] == mcnemar["only_theirs_right"] == 0
    assert told_of[0] == (0, 40)
    assert told_of[-1] == (40, 40)


def test_only_what_neither_was_made_with_and_the_baseline_knows_is_compared(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {})
    listing = cells({"monocyte": 12, "neutrophil": 12, "blast": 3}, copies=2)

    def row(side: str, name: str) -> ManifestRow:
        return ManifestRow(side, "set", "monocyte", f"set:{name}", f"{name.replace('-', '')}-0")

    candidate = make_bundle(
        "candidate", rows=(row("train", "monocyte-0"), row("test", "monocyte-1"))
    )
    baseline = make_bundle(
        "baseline", rows=(row("validation", "monocyte-2"), row("test", "monocyte-1"))
    )
    told = compare_bundles(candidate, baseline, listing, decode=decode)

    assert told["data"]["photographs"] == 22
    assert told["data"]["pictures"] == 44
    assert told["data"]["left_out"] == {
        "trained on by the candidate": 2,
        "trained on by the baseline": 2,
        "of a class that the baseline does not know": 6,
        "like a copy of what one was made with": 0,
        "no cell found": 0,
    }
    assert passed(told) == dict.fromkeys(CHECKS, True)
    assert "no picture to tell by of basophil" in sentence(told, "classes")


def test_worse_beyond_chance_is_not_let_through(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {"candidate": {f"monocyte-{at}" for at in range(12)}})
    candidate, baseline = make_bundle("candidate"), make_bundle("baseline")
    told = compare_bundles(
        candidate, baseline, cells({"monocyte": 30, "neutrophil": 30}), decode=decode
    )

    assert passed(told) == dict.fromkeys(CHECKS, True) | {"classes": False, "not worse": False}
    assert "worse than chance explains at monocyte (12 photographs" in sentence(told, "classes")
    assert "accuracy -20.0 points" in sentence(told, "not worse")
    figures = told["figures"]["classes"]["monocyte"]
    assert (figures["only_baseline_right"], figures["candidate"]) == (12, 0.6)


def test_a_little_worse_is_noise_and_is_let_through(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(
        monkeypatch, {"candidate": {"monocyte-1", "monocyte-2"}, "baseline": {"neutrophil-0"}}
    )
    told = compare_bundles(
        make_bundle("candidate"),
        make_bundle("baseline"),
        cells({"monocyte": 30, "neutrophil": 30}),
        decode=decode,
    )

    assert passed(told) == dict.fromkeys(CHECKS, True)
    assert "one of up to 7.9 points of accuracy is not ruled out" in sentence(told, "not worse")


def test_a_class_that_is_lost_is_not_let_through_however_rare(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = cells({"monocyte": 2, "neutrophil": 60})
    answering(monkeypatch, {"candidate": {"monocyte-0", "monocyte-1"}})
    baseline = make_bundle("baseline")
    told = compare_bundles(make_bundle("candidate"), baseline, listing, decode=decode)
    assert not passed(told)["classes"]
    assert "no longer recognises any cell of monocyte" in sentence(told, "classes")

    without = tuple(label for label in CLASSES if label != "basophil")
    told = compare_bundles(make_bundle("smaller", order=without), baseline, listing, decode=decode)
    assert not passed(told)["classes"]
    assert sentence(told, "classes") == "smaller does not know basophil, which baseline does."


def test_what_looks_like_a_copy_of_training_is_left_out_and_unknown_photographs_are_told(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered = frozenset({"monocyte-0", "monocyte-1"})
    answering(monkeypatch, {"baseline": set(remembered)}, remembered)
    listing = cells({"monocyte": 15, "neutrophil": 15})
    listing = Listing(listing.items, ("set",))
    told = compare_bundles(
        make_bundle("candidate"), make_bundle("baseline"), listing, decode=decode
    )
    assert told["data"]["pictures"] == told["data"]["photographs_unknown"] == 28
    assert told["data"]["left_out"]["like a copy of what one was made with"] == 2
    assert told["data"]["left_out"]["no cell found"] == 0
    assert told["figures"]["paired"]["accuracy"]["theirs"] == 1
    assert "nobody has told the photograph" in sentence(told, "enough photographs")


def test_too_few_photographs_cannot_tell(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {})
    candidate, baseline = make_bundle("candidate"), make_bundle("baseline")
    few = compare_bundles(candidate, baseline, cells({"monocyte": 19}, copies=9), decode=decode)
    none = compare_bundles(candidate, baseline, cells({"blast": 30}), decode=decode)

    assert passed(few) == dict.fromkeys(CHECKS, True) | {"enough photographs": False}
    assert "Only 19 photographs" in sentence(few, "enough photographs")
    assert none["figures"] is None
    assert not passed(none)["enough photographs"]
    assert sentence(none, "not worse") == "Nothing could be compared."


def test_the_cells_of_a_field_are_counted_by_their_class(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monocyte among neutrophils is never the majority of its photograph."""
    items = [
        Item(Path(f"{at}"), "set", label, f"set:field-{at}", str(at), Box(9 * place, 0, 9, 9))
        for at in range(20)
        for place, label in enumerate(("neutrophil", "neutrophil", "monocyte"))
    ]
    answering(monkeypatch, {})
    told = compare_bundles(
        make_bundle("candidate"), make_bundle("baseline"), Listing(items, ()), decode=decode
    )

    assert told["data"]["photographs"] == 20
    assert told["figures"]["classes"]["monocyte"]["photographs"] == 20
    assert told["figures"]["paired"]["photographs"] == 40


def test_what_was_altered_is_not_even_asked(make_bundle: MakeBundle) -> None:
    candidate, baseline = make_bundle("candidate"), make_bundle("baseline")
    with candidate.tflite_path.open("ab") as file:
        file.write(b"x")
    told = compare_bundles(candidate, baseline, cells({"monocyte": 2}), decode=decode)

    assert passed(told) == {"files": False}
    assert TFLITE_NAME in sentence(told, "files")
    assert told["figures"] is told["data"] is None

    registered = dataclasses.replace(baseline, sha256="0" * 64)
    told = compare_bundles(registered, baseline, cells({"monocyte": 2}), decode=decode)
    assert "not the one that was registered" in sentence(told, "files")


@pytest.mark.parametrize(
    ("training", "lets_through", "word"),
    [
        ({"parity": {"largest_difference": 2e-6}}, True, "2e-06 at most"),
        ({"parity": {"largest_difference": 0.02}}, False, "0.02 at most"),
        ({}, False, "does not say"),
        (
            {"parity": {"largest_difference": 2e-6}, "adapted_from": {"version": "parent"}},
            True,
            "Measured on parent",
        ),
    ],
)
def test_parity_is_told_for_whom_it_was_measured(
    make_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
    training: dict[str, Any],
    lets_through: bool,
    word: str,
) -> None:
    answering(monkeypatch, {})
    told = compare_bundles(
        make_bundle("candidate", training=training),
        make_bundle("baseline"),
        cells({"monocyte": 2}),
        decode=decode,
    )
    assert passed(told)["parity"] is lets_through
    assert word in sentence(told, "parity")


def test_a_parent_of_which_nothing_is_known_is_told(
    make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, {})
    started = {"started_from": {"version": "stranger", "sha256": "", "training_known": False}}
    candidate = make_bundle("candidate", training=started)
    told = compare_bundles(
        candidate, make_bundle("baseline"), cells({"monocyte": 2}), decode=decode
    )
    assert not passed(told)["training known"]
    assert "that stranger was trained with" in sentence(told, "training known")


def test_another_finder_is_told(make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, {})
    candidate = make_bundle("candidate", finder_version="classical-0")
    told = compare_bundles(
        candidate, make_bundle("baseline"), cells({"monocyte": 2}), decode=decode
    )
    assert not passed(told)["finder"]
    assert "classical-0" in sentence(told, "finder")
