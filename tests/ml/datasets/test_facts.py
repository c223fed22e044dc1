"""What is measured of a picture, and a look that turning, flipping and shifting leave alone."""

import io
import json
from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
import pytest
from PIL import Image

from hematovision.files.gate import decode
from inference.ml.datasets.alike import near_pairs
from inference.ml.datasets.archive import LeftOut, Member
from inference.ml.datasets.facts import PictureFacts, measure
from inference.ml.datasets.gather import Gathered, gathered
from inference.ml.datasets.layout import Placed
from inference.ml.datasets.look import Looks
from inference.ml.smear import make_smear
from tests.ml.datasets.conftest import Picture, as_png, cell_picture, turned

pytestmark = pytest.mark.unit


def are_alike(one: Picture, other: Picture) -> bool:
    return len(near_pairs([measure(one).look, measure(other).look]).pairs) == 1


def test_facts_are_what_the_picture_shows() -> None:
    smear = make_smear(3, width=640, height=480, white_cells=1)
    facts = measure(smear.image)

    assert facts.size == "640×480"
    assert facts.cells == 1
    assert facts.box is not None
    assert abs(facts.box[0] - smear.boxes[0].x) < 20
    assert 15 < facts.red_cell < 26  # drawn with 22
    assert facts.intensity == pytest.approx(
        cv2.cvtColor(smear.image, cv2.COLOR_RGB2GRAY).mean(), abs=1
    )
    assert sum(facts.histogram) == pytest.approx(10_000, abs=20)
    assert (facts.black, facts.corners, facts.grey) == (0.0, 0, False)


def test_facts_survive_json() -> None:
    for image in (cell_picture(1), np.full((40, 40, 3), 200, np.uint8)):
        facts = measure(image)
        assert PictureFacts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_black_corners_are_counted_and_change_no_colour() -> None:
    image = cell_picture(2, width=320, height=240)
    plain, copy = measure(image), measure(turned(image, 12))

    assert copy.corners == 4
    assert copy.black > 0.2
    assert copy.intensity == pytest.approx(plain.intensity, abs=3)
    assert copy.palette == pytest.approx(plain.palette, abs=2)


@pytest.mark.parametrize("radius", [130, 150, 170, 185])
def test_the_round_edge_of_a_field_is_no_cut_off_corner(radius: int) -> None:
    image = cell_picture(2, width=320, height=240)
    round_field = np.zeros(image.shape[:2], np.uint8)
    cv2.circle(round_field, (160, 120), radius, 1, cv2.FILLED)
    image[round_field == 0] = 0
    facts = measure(image)

    assert facts.black > 0.02
    assert facts.corners == 0


def test_a_picture_without_colour_or_anything_is_measured_too() -> None:
    levels = cv2.cvtColor(cell_picture(1), cv2.COLOR_RGB2GRAY).astype(np.uint8)
    assert measure(np.repeat(levels[..., None], 3, axis=2)).grey
    for level in (0, 255):
        facts = measure(np.full((64, 48, 3), level, np.uint8))
        assert facts.look == ""
        assert (facts.cells, facts.box) == (0, None)


def saved_as_jpeg(image: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return decode(file.getvalue())


@pytest.mark.parametrize("seed", range(3))
def test_a_look_stays_the_same_when_turned_flipped_or_saved_anew(seed: int) -> None:
    image = cell_picture(seed, width=240, height=240)
    copies = {
        "quarter": np.ascontiguousarray(np.rot90(image)),
        "mirror": np.ascontiguousarray(image[::-1]),
        "brighter": np.clip(image * 1.05, 0, 255).astype(np.uint8),
        "jpeg": saved_as_jpeg(image),
        "larger": cv2.resize(image, (360, 360)).astype(np.uint8),
    }
    for name, copy in copies.items():
        assert are_alike(image, copy), name


def test_a_look_stays_nearly_the_same_when_turned_by_some_degrees_or_shifted() -> None:
    rings = []
    for seed in range(3):
        image = cell_picture(seed, width=240, height=240, scale=1)
        copies = [image, turned(image, 17), turned(image, 160, flip=True), image[15:, 10:]]
        looks = Looks([measure(np.ascontiguousarray(copy)).look for copy in copies])
        rings.append(looks.rings @ looks.rings[0])

    assert np.median(rings) > 0.93
    assert np.min(rings) > 0.7


def test_looks_of_different_cells_differ() -> None:
    assert len(near_pairs([measure(cell_picture(seed)).look for seed in range(20)]).pairs) == 0


def test_pictures_are_gathered_in_order_and_what_the_gate_refuses_is_told() -> None:
    names = [f"a/{number}.png" for number in range(20)]
    members: list[Member | LeftOut] = [
        Member(name, as_png(cell_picture(at, width=64, height=64))) for at, name in enumerate(names)
    ]
    members[3] = Member(names[3], b"no picture")
    members[5] = LeftOut(names[5], "damaged")
    placed = {name: Placed("a", "", "") for name in names}
    rows = list(gathered(members, placed, decode=decode))

    assert [row.name for row in rows] == names
    assert [at for at, row in enumerate(rows) if isinstance(row, LeftOut)] == [3, 5]
    assert isinstance(rows[3], LeftOut)
    assert "not a picture" in rows[3].reason
    hashes = {row.sha256 for row in rows if isinstance(row, Gathered)}
    assert len(hashes) == 18


def test_only_a_few_pictures_are_held_while_gathering() -> None:
    taken: list[int] = []
    data = as_png(cell_picture(0, width=64, height=64))

    def members() -> Iterator[Member]:
        for number in range(60):
            taken.append(number)
            yield Member(f"{number}.png", data)

    placed = {f"{number}.png": Placed("a", "", "") for number in range(60)}
    ahead = [len(taken) - at for at, _ in enumerate(gathered(members(), placed, decode=decode))]

    assert max(ahead) < 15
    assert all(later <= earlier + 1 for earlier, later in pairwise(ahead))
