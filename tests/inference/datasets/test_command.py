"""manage.py import_dataset."""

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from inference.jobs import queue
from inference.management.commands import import_dataset
from inference.models import Dataset, DatasetVersion
from tests.inference.datasets.conftest import smears, write
from tests.inference.datasets.test_importing import work_on

pytestmark = pytest.mark.django_db


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "cells", smears())


@pytest.fixture
def working(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the command waits, a worker works."""

    def work(seconds: float) -> None:
        work_on(DatasetVersion.objects.get())

    monkeypatch.setattr(import_dataset.time, "sleep", work)  # type: ignore[attr-defined]


def test_it_waits_and_tells_the_outcome(
    folder: Path, working: None, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("import_dataset", str(folder), "--name", "Cells", "--licence", "CC0")
    told = capsys.readouterr().out
    assert "Cells v1 is ready: 6 pictures (lymphocyte 3, neutrophil 3), 0 files left out." in told
    assert Dataset.objects.get().licence == "CC0"


def test_a_failure_is_the_commands_failure(tmp_path: Path, working: None) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CommandError, match="no pictures"):
        call_command("import_dataset", str(empty), "--name", "Cells")


def test_it_need_not_wait(folder: Path) -> None:
    call_command("import_dataset", str(folder), "--name", "Cells", "--no-wait")
    assert queue.claim(worker="test") is not None


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no"):
        call_command("import_dataset", str(tmp_path / "gone"), "--name", "Cells")
