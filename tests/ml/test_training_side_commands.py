"""The commands of the training side where its libraries are not installed."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from inference.ml.data import Listing

pytestmark = pytest.mark.unit

MISSING = """
import sys, django
from django.core.management import CommandError, call_command
for name in ("tensorflow", "keras", "sklearn", "scipy", "tqdm", "matplotlib", "jinja2"):
    sys.modules[name] = None
django.setup()
for command in (
    ["train", "--data", "x"],
    ["adapt", "x", "--data", "x", "--out", "y"],
    ["evaluate", "x", "x", "--out", "y"],
    ["export_edge", "x", "--data", "x", "--out", "y"],
    ["model_card", "x"],
):
    try:
        call_command(*command)
    except CommandError as error:
        print(command[0], error)
"""


def test_on_a_serving_installation_they_say_what_to_install() -> None:
    found = subprocess.run(
        [sys.executable, "-c", MISSING],
        capture_output=True,
        text=True,
        check=True,
        cwd=settings.BASE_DIR,
    )
    lines = found.stdout.splitlines()
    commands = ["train", "adapt", "evaluate", "export_edge", "model_card"]
    assert [line.split()[0] for line in lines] == commands
    assert all(line.endswith("pip install -r requirements.txt") for line in lines)


@pytest.mark.parametrize("option", ["--seed", "--explain"])
def test_evaluate_takes_no_negative_numbers(tmp_path: Path, option: str) -> None:
    with pytest.raises(CommandError, match=f"{option} must be 0 or more"):
        call_command("evaluate", "x", "y", "--out", str(tmp_path), option, "-1")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("Nothing to measure."), r"Nothing to measure\."),
        (
            PermissionError(13, "Permission denied", "out"),
            r"out cannot be used: Permission denied\.",
        ),
    ],
)
def test_what_evaluate_meets_is_said_in_a_sentence(
    error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("inference.ml.data.list_items", lambda *_: Listing([], ()))
    monkeypatch.setattr("inference.ml.evaluation.run.run", run)
    with pytest.raises(CommandError, match=sentence):
        call_command("evaluate", "x", "y", "--out", "out")
