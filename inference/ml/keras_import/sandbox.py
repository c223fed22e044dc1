"""Have a stranger's Keras file read by a process of its own, and take what it made of it."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.keras_import import ARRAYS, RECOGNISED, REFUSED, KerasFileError
from inference.ml.keras_import.recognise import Recognised

logger = logging.getLogger(__name__)

TIMEOUT = 180
"""Seconds by the clock; of the processor it may use fewer, see `child.SECONDS`."""

MOST_BYTES = 2_000_000_000
"""Of a file: the largest known network with all that its optimizer keeps."""

_MOST_TOLD = 10_000_000
_ROOT = Path(__file__).parents[3]

Arrays = dict[str, NDArray[np.float32]]


def read_keras(path: Path, scratch: Path) -> Recognised:
    """What network a file holds; its arrays then lie in `scratch`, see `arrays_of`.

    Parameters
    ----------
    path : Path
        A ``.keras`` or ``.h5`` file of anybody's.
    scratch : Path
        An empty folder.

    Raises
    ------
    KerasFileError
        With a sentence: what the file is not, or that reading it broke down.
    """
    if path.stat().st_size > MOST_BYTES:
        raise KerasFileError(
            f"The file is larger than {MOST_BYTES / 1e9:.0f} GB. Save the model without its "
            "optimizer: model.save(…, include_optimizer=False)."
        )
    code = _run(path, scratch)
    refused = scratch / REFUSED
    if refused.is_file():
        raise KerasFileError(str(_told(refused).get("reason", ""))[:500])
    if code or not (scratch / RECOGNISED).is_file():
        logger.warning("Reading a Keras file ended with %s.", code)
        raise KerasFileError(
            "Reading the file broke down: it is damaged, too large, or made to break programs. "
            "Save the model anew with Keras 2 or 3."
        )
    try:
        return Recognised.from_dict(_told(scratch / RECOGNISED))
    except (TypeError, KeyError, ValueError) as error:
        raise KerasFileError("Reading the file broke down. Save the model anew.") from error


def arrays_of(scratch: Path) -> Arrays:
    """The arrays that `read_keras` left, by ``layer/variable``."""
    with np.load(scratch / ARRAYS, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _run(path: Path, scratch: Path) -> int:
    """The child's exit status; it is killed, with its whole group, when time is up."""
    environment = {
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "HDF5_PLUGIN_PRELOAD": "::",  # no filter is loaded from a library that a file names
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    child = subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "inference.ml.keras_import.child"),
            *(str(path.resolve()), str(scratch.resolve())),
        ],
        cwd=_ROOT,
        env=environment | {"PYTHONPATH": str(_ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return child.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        return child.wait()


def _told(path: Path) -> dict[str, Any]:
    if path.stat().st_size > _MOST_TOLD:
        raise KerasFileError("Reading the file broke down. Save the model anew.")
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise KerasFileError("Reading the file broke down. Save the model anew.")
    return found
