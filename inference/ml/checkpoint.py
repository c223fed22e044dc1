"""The folder of a training run: what it is a run of, and where it can be taken up again."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.ml.data import DataError
from inference.ml.disk import whole_file

CHECKPOINT_NAME = "checkpoint.npz"
RUN_NAME = "run.json"
COPIES = 5
"""Of the network's numbers in a checkpoint, at most: its weights, AdamW's two moments, their
running average and the best ones so far."""

_ARRAYS = ("variables", "optimizer", "average", "best")

Arrays = list[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that the epochs to come depend on.

    Attributes
    ----------
    history : list of dict
        A record for the warm-up and each epoch since: as long as there are epochs, and one.
    best_epoch : int
    variables, optimizer, average, best : lists of arrays
        Of the network, with the state of its dropout; of the optimizer; the running average
        of the weights; the weights of the best epoch.
    """

    history: list[dict[str, float]]
    best_epoch: int
    variables: Arrays
    optimizer: Arrays
    average: Arrays
    best: Arrays

    @property
    def epoch(self) -> int:
        """The last whole epoch; 0 is the warm-up."""
        return len(self.history) - 1

    def save(self, path: Path) -> None:
        """Write it in the place of the one before."""
        told = json.dumps({"history": self.history, "best_epoch": self.best_epoch})
        arrays = {
            f"{name}-{at}": array
            for name in _ARRAYS
            for at, array in enumerate(getattr(self, name))
        }
        with whole_file(path) as file:
            np.savez(file, told=np.array(told), **arrays)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Read a checkpoint, if there is one.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                told = json.loads(str(arrays["told"]))
                counts = Counter(name.partition("-")[0] for name in arrays)
                values: dict[str, Any] = {
                    name: [arrays[f"{name}-{at}"] for at in range(counts[name])] for name in _ARRAYS
                }
                return cls(**told, **values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(
                f"The checkpoint {path} cannot be read ({error}). Remove it to train from the "
                "beginning."
            ) from error


def claim(folder: Path, what: dict[str, Any]) -> None:
    """Make a folder that of one run, or make sure that it is.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    what : dict
        All that decides how the run goes; ready for JSON.

    Raises
    ------
    DataError
        If it is the folder of another run, or cannot be written.
    """
    told = {
        name: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        for name, value in what.items()
    }
    path = folder / RUN_NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            with whole_file(path) as file:
                file.write(json.dumps(told, indent=1).encode())
        known = json.loads(path.read_bytes())
    except (PermissionError, NotADirectoryError, FileExistsError, ValueError) as error:
        raise DataError(f"{folder} cannot be the folder of a training ({error}).") from error
    other = sorted(name for name in told if known.get(name) != told[name])
    if other:
        raise DataError(
            f"{folder} is the folder of another training, with other {' and '.join(other)}. "
            "Give another folder, or train as that one did."
        )
