"""``python -m inference.ml.trial FOLDER``: have a bundle answer once, in a process of its own.

A network from outside may crash the library that loads it, or never return: this process bounds
itself and takes nothing along. It prints why the bundle cannot be used, if so.
"""

from __future__ import annotations

import gzip
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from inference.ml.bundle import BundleError, load_bundle
from inference.ml.sidecar import training_rows

SECONDS = 60
MEMORY = 4 * 2**30
UNPACKED = 256 * 2**20
"""Of features, head and manifest each: ten times what training writes."""

_REFUSED = 3


def try_bundle(folder: Path) -> None:
    """Check a bundle's files, load it and have it answer.

    Raises
    ------
    SchemaError
        If another version of the program made it.
    BundleError
        If a file is missing or altered, the network does not load or does not match its card, or
        an answer is no number.
    """
    load_bundle(folder)  # here, for the kind of the error
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "inference.ml.trial", str(folder.resolve())],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=2 * SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BundleError("The model did not answer in time. Do not use it.") from None
    if ended.returncode == _REFUSED:
        raise BundleError(ended.stdout.strip())
    if ended.returncode:
        raise BundleError(
            f"The network crashed when it was loaded ({ended.returncode}). Do not use this model."
        )


def answer_once(folder: Path) -> None:
    """Have a bundle answer to a plain and to a noisy crop.

    Raises
    ------
    BundleError
    """
    from inference.ml.engine import Engine

    bundle = load_bundle(folder)
    of_training = (bundle.features_path, bundle.manifest_path) if bundle.training_known else ()
    for path in (bundle.head_path, *of_training):
        if _unpacked_size(path) > UNPACKED:
            raise BundleError(f"{path.name} would unpack to more than {UNPACKED // 2**20} MB.")
    training_rows(bundle)
    engine = Engine(bundle)
    size = bundle.card.preprocessing.size
    plain = np.full((size, size, 3), 230, np.uint8)
    noisy = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    features = engine.features(np.stack([plain, noisy]))
    logits = engine.head.logits(features)
    with np.errstate(all="ignore"):
        told = [features, logits]
        if bundle.training_known:
            told.append(engine.unfamiliarity(features))
    weights = (engine.head.kernel, engine.head.bias)
    if not all(np.isfinite(values).all() for values in (*told, *weights)):
        raise BundleError(
            "The model's weights or answers are not all numbers (NaN or infinite). "
            "Train or copy it again; do not use this one."
        )


def _unpacked_size(path: Path) -> int:
    """Bytes of a packed file's content, as far as the limit."""
    if path.suffix == ".gz":
        size = 0
        with gzip.open(path) as file:
            while size <= UNPACKED and (chunk := file.read(2**20)):
                size += len(chunk)
        return size
    with zipfile.ZipFile(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        answer_once(Path(sys.argv[1]))
    except BundleError as error:
        sys.stdout.write(f"{error}\n")
        sys.exit(_REFUSED)
    except (ValueError, RuntimeError, MemoryError, OSError, EOFError, zipfile.BadZipFile) as error:
        sys.stdout.write(f"The model cannot be used ({error}). Train or copy it again.\n")
        sys.exit(_REFUSED)


if __name__ == "__main__":
    main()
