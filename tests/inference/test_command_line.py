"""The card tells how a model was made, but not where a machine keeps it."""

import sys

import pytest

from inference.management.command_line import command_line

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("out", [["--out", "/srv/models/a"], ["--out=/srv/models/a"]])
def test_the_place_of_the_result_is_left_out(
    out: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", "train", *out, "--data", "a b", "--seed", "1"])

    assert command_line() == "manage.py train --data 'a b' --seed 1"
