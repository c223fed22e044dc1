"""``manage.py classify``: classify picture files without touching the database."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hematovision.files.gate import GateError, check_header, decode, large_ones_alone
from inference.cells import UNFAMILIAR

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from inference.ml.engine import Engine, PictureResult

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp"})


class Command(BaseCommand):
    help = (
        "Finds and classifies the white blood cells of picture files. Folders are searched "
        "with everything in them. The database is not touched."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
        parser.add_argument(
            "--json",
            action="store_true",
            help="one line of JSON per picture; where its main cell is unfamiliar, predicted_label "
            "and confidence are null and nearest_label is the nearest class, which is no answer",
        )
        parser.add_argument("--bundle", type=Path, help="another model bundle than the set one")
        parser.add_argument(
            "--threads",
            type=int,
            default=os.cpu_count() or 1,
            help="pictures worked on at a time (default: one for each core)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from inference.ml.bundle import BundleError, load_bundle
        from inference.ml.engine import Engine

        if options["threads"] < 1:
            raise CommandError("--threads must be 1 or more.")
        try:
            bundle = load_bundle(options["bundle"] or settings.MODEL_BUNDLE)
            engine = Engine(bundle)  # before the first picture, in case it does not load
        except BundleError as error:
            raise CommandError(str(error)) from error

        own = threading.local()

        def prepare_thread() -> None:
            own.engine = engine.twin()

        def answer(path: Path) -> dict[str, Any]:
            return {**classify_file(own.engine, path), "model_version": bundle.version}

        failed = total = 0
        with ThreadPoolExecutor(options["threads"], initializer=prepare_thread) as pool:
            lines = pool.map(answer, picture_files(options["paths"]))
            try:
                for line in lines:
                    total += 1
                    failed += "error" in line
                    self.stdout.write(json.dumps(line) if options["json"] else as_row(line))
            except BrokenPipeError:  # the reader, such as head, has seen enough
                pool.shutdown(cancel_futures=True)
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123  for Python's last flush
                return
        if not total:
            raise CommandError("There are no pictures there.")
        if failed:
            raise CommandError(f"{failed} of {total} pictures could not be classified.")


def picture_files(paths: list[Path]) -> Iterator[Path]:
    """Named files as they are, and the pictures in and under named folders, in order."""
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES and file.is_file()
            )
        else:
            yield path


def classify_file(engine: Engine, path: Path) -> dict[str, Any]:
    """What the JSON line of a picture says, but for the model's version."""
    try:
        return {"path": str(path), **as_dict(engine.classify(read_picture(path)))}
    except OSError as error:
        return {"path": str(path), "error": f"The file cannot be read: {error.strerror}."}
    except ValueError as error:  # the gate's and the finder's, both with a sentence
        return {"path": str(path), "error": str(error)}
    except Exception as error:  # noqa: BLE001  one picture never fails its neighbours
        return {"path": str(path), "error": f"An unexpected error: {type(error).__name__}: {error}"}


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The pixels of a file that the gate lets through, within the limits of an upload."""
    if not path.is_file():
        raise FileNotFoundError(errno.ENOENT, "there is no such file")
    if path.stat().st_size > settings.UPLOAD_MAX_BYTES:
        raise GateError(f"The file is larger than {settings.UPLOAD_MAX_BYTES // 2**20} MB.")
    data = path.read_bytes()
    pixels = check_header(data, max_pixels=settings.UPLOAD_MAX_PIXELS)
    with large_ones_alone(pixels):
        return decode(data)


def as_dict(result: PictureResult) -> dict[str, Any]:
    """A picture's result, ready for JSON. The class of an unfamiliar main cell is no answer."""
    cells = [asdict(cell) for cell in result.cells]
    answered = UNFAMILIAR not in result.flags
    return {
        "cells": cells,
        "predicted_label": result.predicted_label if answered else None,
        "nearest_label": result.predicted_label,
        "confidence": result.confidence if answered else None,
        "flags": list(result.flags),
        "quality": {**asdict(result.quality), "flags": list(result.quality.flags)},
        "find_ms": round(result.find_ms, 2),
        "engine_ms": round(result.engine_ms, 2),
        "quality_ms": round(result.quality_ms, 2),
    }


def as_row(line: dict[str, Any]) -> str:
    """The same for a person to read."""
    path = os.fsencode(line["path"]).decode("utf-8", "replace")
    if "error" in line:
        return f"{path}  {line['error']}"
    cells = "; ".join(map(_cell_words, line["cells"])) or "no white cell found"
    quality = "".join(f"; picture {flag.replace('_', ' ')}" for flag in line["quality"]["flags"])
    return f"{path}  {cells}{quality}"


def _cell_words(cell: dict[str, Any]) -> str:
    """A class and how sure; of an unfamiliar cell it is the nearest class, and no answer."""
    flags = [flag for flag in cell["flags"] if flag != UNFAMILIAR]
    if len(flags) < len(cell["flags"]):
        return " ".join([f"unfamiliar (nearest: {cell['label']})", *flags])
    return " ".join([cell["label"], f"{cell['confidence']:.0%}", *flags])
