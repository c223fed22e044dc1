"""``manage.py export_edge``: classifiers of a model for small devices, in float32 and int8."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hematovision.files.gate import decode
from inference.management.command_line import command_line


class Command(BaseCommand):
    help = (
        "Writes a model as complete classifiers for small devices, in 32-bit floating point and "
        "in 8-bit integers, with what each costs in accuracy, time and bytes. Needs the pictures "
        "that the model was trained on, in folders that have one sub-folder for each class."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("--data", type=Path, action="append", required=True, metavar="FOLDER")
        parser.add_argument("--out", type=Path, required=True, help="folder of the classifiers")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # Serving machines do not have what this needs.
            from tqdm import tqdm

            from inference.ml.bundle import BundleError, load_bundle
            from inference.ml.data import DataError, list_items
            from inference.ml.edge import export_edge
            from inference.ml.network import WeightsError
            from inference.ml.writing import ExportError
        except ImportError as error:
            raise CommandError(
                f"The export needs TensorFlow, SciPy, Jinja2 and tqdm ({error}). "
                "Install them with: pip install -r requirements.txt"
            ) from error

        try:
            with tqdm(mininterval=2 if sys.stderr.isatty() else 30) as bar:

                def report(done: int, total: int, message: str) -> None:
                    bar.total = total
                    bar.update(done - bar.n)
                    if message:
                        bar.write(message)

                result = export_edge(
                    load_bundle(options["bundle"]),
                    list_items(options["data"]).items,
                    options["out"],
                    decode=decode,
                    report=report,
                    seed=options["seed"],
                    command=command_line(),
                )
        except (BundleError, DataError, ExportError, WeightsError) as error:
            raise CommandError(str(error)) from error
        for name, file in result["measured"]["files"].items():
            self.stdout.write(
                f"{name}: {file['bytes'] / 1e6:.1f} MB, {file['milliseconds']} ms a crop."
            )
        for one in result["measured"]["sets"]:
            for name in ("served", *result["measured"]["files"]):
                accuracy = one[name]["accuracy"]
                self.stdout.write(
                    f"{one['name']}, {name}: accuracy {accuracy['value']:.3f} "
                    f"{accuracy['interval']} of {one['crops']} crops of {one['photographs']} "
                    "photographs."
                )
        self.stdout.write(f"Wrote {result['model']['version']} to {options['out']}.")
