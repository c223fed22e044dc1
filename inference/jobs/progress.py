"""How far a job is, on its way from the child to the row.

The child leaves it in a file and the worker writes it into the row, together with the lease: a
child at the lowest priority must not hold the database's lock every second while it waits for
its turn on a busy machine.
"""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from inference.models import Job

FIELDS = ("stage", "stage_started_with", "steps_done", "steps_total", "message")


def write(job: Job) -> None:
    """Leave what the job in hand says of its progress. (Lost with the machine: no matter.)"""
    told: dict[str, Any] = {name: getattr(job, name) for name in FIELDS}
    if job.stage_started_at:
        told["stage_started_at"] = job.stage_started_at.isoformat()
    draft = _path(job).with_suffix(".part")
    draft.write_text(json.dumps(told))
    draft.replace(_path(job))


def read(job: Job) -> None:
    """Take over what the child has left, if it has."""
    try:
        told = json.loads(_path(job).read_text())
    except FileNotFoundError:
        return
    started_at = told.pop("stage_started_at", None)
    job.stage_started_at = datetime.fromisoformat(started_at) if started_at else None
    for name in FIELDS:
        setattr(job, name, told[name])


def forget(job: Job) -> None:
    """Remove what a former attempt has left."""
    _path(job).unlink(missing_ok=True)


def of(job: Job) -> dict[str, Any]:
    """The fields for the row."""
    return {
        "stage_started_at": job.stage_started_at,
        **{name: getattr(job, name) for name in FIELDS},
    }


def _path(job: Job) -> Path:
    return job.folder / "progress.json"
