"""kill -9 of the training worker in the middle of an import: nothing twice, nothing lost."""

import sqlite3
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.factories import smear
from tests.system import RunningSystem

pytestmark = pytest.mark.crash

PICTURES = 200


def query(system: RunningSystem, sql: str) -> int:
    if url := system.variables.get("DATABASE_URL"):
        with psycopg.connect(url) as connection:
            row = connection.execute(sql).fetchone()
    else:
        with closing(sqlite3.connect(system.folder / "data" / "db.sqlite3")) as connection:
            row = connection.execute(sql).fetchone()
    assert row
    return int(row[0])


def wait_for(system: RunningSystem, what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, system.log("training")
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_import_goes_on(tmp_path: Path) -> None:
    archive = tmp_path / "cells.zip"
    with zipfile.ZipFile(archive, "w") as target:
        for number in range(PICTURES):
            target.writestr(f"class {number % 2}/{number}.png", smear(number, white_cells=1))
    processes = ("web", "training")
    variables = {"JOB_LOW_PRIORITY": "false"}  # the tests beside would starve it
    with RunningSystem(tmp_path / "system", processes=processes, variables=variables) as system:
        system.manage("import_dataset", str(archive), "--name", "Cells", "--no-wait")

        def read() -> int:
            journals = system.folder.glob("data/files/jobs/*/journal.jsonl")
            return sum(path.read_bytes().count(b"\n") for path in journals)

        wait_for(system, lambda: read() > 0)
        system.kill("training")
        before = read()
        assert 0 < before < PICTURES
        assert query(system, "SELECT count(*) FROM inference_datasetimage") == 0

        system.start("training")
        done = "SELECT count(*) FROM inference_job WHERE status = 'done'"
        wait_for(system, lambda: query(system, done) == 1)
        for sql in (
            "SELECT count(*) FROM inference_datasetimage",
            "SELECT count(DISTINCT stored_image_id) FROM inference_datasetimage",
            "SELECT count(*) FROM files_storedimage",
        ):
            assert query(system, sql) == PICTURES, sql
        imported = "SELECT count(*) FROM accounts_auditevent WHERE action = 'dataset_imported'"
        assert query(system, imported) == 1
        (log,) = system.folder.glob("data/files/jobs/*/log.txt")
        assert f"Goes on after {before} of {PICTURES} pictures." in log.read_text()
        wait_for(system, lambda: not list(log.parent.glob("staging*")))
