"""The exploratory analysis: figures, sentences, outliers, plots and the saved page."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.drawings import plots
from inference.ml.datasets.explore import SAMPLES, Exploration, summarise
from inference.ml.datasets.facts import PictureFacts
from inference.ml.datasets.manifest import Entry
from inference.ml.datasets.outliers import FAR, robust_scores
from inference.ml.datasets.report import render, write
from tests.ml.datasets.conftest import apart

pytestmark = pytest.mark.unit

Pairs = list[tuple[Entry, PictureFacts]]


def texts(result: Exploration, kind: str) -> str:
    return " ".join(row["text"] for row in result["sentences"] if row["kind"] == kind)


def test_figures_of_each_class(independent: Pairs) -> None:
    rows = [
        (
            replace(one, part="test" if at < 10 else "train", group=f"p{at // 2}"),
            replace(facts, red_cell=20.0 + at % 3),
        )
        for at, (one, facts) in enumerate(independent)
    ]
    result = summarise(*apart(rows))
    first, second = result["classes"]

    assert (first["label"], second["label"]) == ("a", "b")
    assert (first["pictures"], first["photographs"], first["test"]) == (20, 20, 5)
    assert first["one_cell"] + first["no_cell"] + first["more_cells"] == 20
    assert sum(first["histogram"]) == pytest.approx(1, abs=0.01)
    low, middle, high = (first["intensity"][name] for name in ("low", "median", "high"))
    assert low <= middle <= high
    assert result["photographs"] == 20
    assert result["parts"] == {"train": 30, "test": 10, "none": 0}
    assert result["sizes"]["rows"][0]["size"] == "160×120"
    assert result["resolution"]["consistent"]
    assert json.loads(json.dumps(result)) == result
    assert texts(result, "good")


def test_samples_are_of_different_photographs_first(independent: Pairs) -> None:
    rows = [
        (replace(one, label="a", group="many" if at < 30 else f"p{at}"), facts)
        for at, (one, facts) in enumerate(independent)
    ]
    places = summarise(*apart(rows))["samples"]["a"]

    assert len(places) == len(set(places)) == SAMPLES
    assert set(range(30, 40)) <= set(places)


def test_every_file_that_is_named_is_told(independent: Pairs, augmented: Pairs) -> None:
    result = summarise(*apart([*independent, *augmented]))

    assert {str(at) for places in result["samples"].values() for at in places} <= set(
        result["files"]
    )
    assert {str(at) for group in result["duplicates"]["near"]["shown"] for at in group} <= set(
        result["files"]
    )


def test_one_class_one_picture_and_nothing_at_all(independent: Pairs) -> None:
    alone = summarise(*apart([(replace(one, label="a"), facts) for one, facts in independent]))
    assert "All pictures are of one class, a." in texts(alone, "bad")

    single = [
        *independent,
        (replace(independent[0][0], sha256="f" * 64, label="rare"), independent[0][1]),
    ]
    result = summarise(*apart(single))
    assert "Too few to train and to measure: rare (1 picture)." in texts(result, "bad")
    assert "20.0 times as many" in texts(result, "warn")
    with pytest.raises(ValueError, match="must be pictures"):
        summarise([], [])


def test_all_duplicates_are_told(independent: Pairs) -> None:
    one, facts = independent[0]
    result = summarise([replace(one, label=label) for label in "aaabbb"], [facts] * 6)

    assert result["duplicates"]["identical"]["files"] == 6
    assert "under two classes" in texts(result, "bad")
    assert "5 files are copies of others" in texts(result, "warn")
    assert not texts(result, "good")


def test_copies_without_photographs_are_the_first_thing_told(augmented: Pairs) -> None:
    result = summarise(*apart(augmented))

    assert result["sentences"][0]["text"] == result["copies"]["sentence"]
    assert result["copies"]["score"] == 1


def test_other_scales_grey_pictures_and_missing_cells_are_told(independent: Pairs) -> None:
    def some(**changes: object) -> str:
        facts = [
            replace(fact, **changes) if at % 2 else fact  # type: ignore[arg-type]
            for at, (_, fact) in enumerate(independent)
        ]
        return texts(summarise([one for one, _ in independent], facts), "warn")

    assert "several magnifications" in some(red_cell=50.0)
    assert "20 pictures have no colour" in some(grey=True)
    assert "the finder sees no white cell" in some(cells=0, box=None)
    other = (180, 150, 240, *independent[0][1].palette[3:])
    assert "The empty field in pictures of b has another colour" in some(palette=other)


def test_outliers_are_named_with_their_reason(independent: Pairs) -> None:
    entries, facts = apart(independent)
    facts = [*facts]
    facts[3] = replace(facts[3], intensity=40.0)
    facts[5] = replace(facts[5], lab=(70.0, 60.0, -60.0))
    facts[8] = replace(facts[8], sharpness=0.2)
    facts[9] = replace(facts[9], cells=0)
    facts[10] = replace(facts[10], cells=7)
    outliers = summarise(entries, facts)["outliers"]

    def first(kind: str) -> tuple[int, str]:
        row = outliers[kind]["shown"][0]
        return row["at"], row["reason"]

    assert first("intensity") == (3, "darker than its class: 40 of 255")
    assert first("colour")[0] == 5
    assert first("sharpness") == (8, "more blurred than its class")
    assert first("no_cell")[0] == 9
    assert first("many_cells")[0] == 10
    assert outliers["size"]["count"] == 0


def test_a_rare_size_is_an_outlier_and_a_frequent_one_another_microscope(
    independent: Pairs,
) -> None:
    rows = independent * 5
    entries, facts = apart(rows)
    facts = [*facts]
    facts[7] = replace(facts[7], width=1600, height=1200)
    assert summarise(entries, facts)["outliers"]["size"]["shown"] == [
        {"at": 7, "reason": "1600×1200 pixels, 1e+02 times the usual area"}
    ]
    facts[:20] = [replace(fact, width=1600, height=1200) for fact in facts[:20]]
    assert summarise(entries, facts)["outliers"]["size"]["count"] == 0


def test_scores_are_robust_and_by_class() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 500), rng.normal(100, 10, 500), [100]])
    labels = ["a"] * 500 + ["b"] * 500 + ["a"]
    scores = robust_scores(values, labels, floor=0.1)

    assert np.flatnonzero(np.abs(scores) > FAR).tolist() == [1000]
    assert robust_scores(np.ones(30), ["a"] * 30, floor=1.0).tolist() == [0.0] * 30


def test_what_was_left_out_is_counted_by_reason(independent: Pairs) -> None:
    left_out = [LeftOut(f"{at}.png", "damaged" if at else "a link") for at in range(300)]
    told = summarise(*apart(independent), left_out=left_out, shown=10)["left_out"]

    assert told["count"] == 300
    assert told["reasons"][0] == {"reason": "damaged", "files": 299}
    assert len(told["shown"]) == 10


@pytest.fixture(scope="module")
def explored(independent: Pairs) -> Exploration:
    rows = [
        (replace(one, part="test" if at < 10 else "train", group=f"p{at}"), facts)
        for at, (one, facts) in enumerate(independent)
    ]
    left_out = [LeftOut("<script>alert(1)</script>.png", "It lies in <no> class folder.")]
    return summarise(*apart(rows), left_out=left_out, notes=["A note."])


def test_plots_take_their_colours_from_the_page_and_need_no_inline_style(
    explored: Exploration,
) -> None:
    drawn = plots(explored)

    assert set(drawn) == {
        "pictures",
        "photographs",
        "intensities",
        "brightness",
        "colours",
        "sizes",
    }
    for text in drawn.values():
        assert text.startswith("<svg")
        assert "var(--text-soft)" in text
        assert "style" not in text
        assert "<script" not in text
    assert plots(explored) == drawn
    unknown = plots({**explored, "photographs": None})
    assert "photographs" not in unknown


def test_a_class_may_be_called_anything(explored: Exploration) -> None:
    named = [row | {"label": rf"<b> $\foo {row['label']}$"} for row in explored["classes"]]
    for name, text in plots({**explored, "classes": named}).items():
        assert name == "sizes" or r"&lt;b&gt; $\foo a$" in text


def test_the_page_stands_alone_and_escapes_what_comes_from_outside(explored: Exploration) -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "JPEG")
    first = explored["files"][str(explored["samples"]["a"][0])]["sha256"]
    page = render(explored, {first: file.getvalue(), "x": bytes(10**6)}, title="<mine> 1")

    assert page.count("data:image/jpeg;base64,") == 1
    assert "&lt;mine&gt; 1" in page
    assert "<script" not in page
    assert "<no>" not in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert len(re.findall(r"<table", page)) >= 4


def test_everything_is_written_into_a_folder(explored: Exploration, tmp_path: Path) -> None:
    write(explored, {}, title="mine", out=tmp_path / "report")

    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"report.html", "report.json", "pictures.svg", "sizes.svg"} <= names
    assert json.loads((tmp_path / "report" / "report.json").read_text()) == explored
