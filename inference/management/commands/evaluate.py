"""``manage.py evaluate``: measure a model on labelled pictures that it has not seen."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hematovision.files.gate import decode
from inference.management.command_line import command_line


class Command(BaseCommand):
    help = (
        "Measures a model on folders that have one sub-folder of pictures for each class, and "
        "writes report.html and report.json. Refuses pictures that the model was trained on."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("data", nargs="+", type=Path, metavar="DATA")
        parser.add_argument(
            "--groups",
            type=Path,
            action="append",
            default=[],
            metavar="CSV",
            help="table of file and source photograph; without one every file is its own",
        )
        parser.add_argument(
            "--held-back",
            action="store_true",
            help="take only the pictures that the model's training held back",
        )
        parser.add_argument("--against", type=Path, metavar="BUNDLE", help="a model to compare")
        parser.add_argument("--out", type=Path, required=True, help="folder of the report")
        parser.add_argument(
            "--explain",
            type=int,
            default=60,
            metavar="CELLS",
            help="cells whose heat maps are measured (default 60; 0 for none)",
        )
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # Serving machines do not have what this needs.
            from tqdm import tqdm

            from inference.ml.bundle import BundleError
            from inference.ml.data import DataError, list_items
            from inference.ml.evaluation.leakage import LeakageError
            from inference.ml.evaluation.run import Settings, run
        except ImportError as error:
            raise CommandError(
                f"Evaluation needs scikit-learn, SciPy, matplotlib, Jinja2 and tqdm ({error}). "
                "Install them with: pip install -r requirements.txt"
            ) from error

        for name in ("seed", "explain"):
            if options[name] < 0:
                raise CommandError(f"--{name} must be 0 or more.")
        settings = Settings(
            bundle=options["bundle"],
            out=options["out"],
            held_back=options["held_back"],
            against=options["against"],
            explain=options["explain"],
            workers=os.cpu_count() or 1,
            seed=options["seed"],
            command=command_line(),
        )
        try:
            with tqdm(mininterval=2 if sys.stderr.isatty() else 30) as bar:

                def report(done: int, total: int, message: str) -> None:
                    bar.total = total
                    bar.update(done - bar.n)
                    if message:
                        bar.write(message, file=sys.stderr)

                listing = list_items(options["data"], options["groups"])
                result = run(listing, settings, report, decode=decode)
        except (BundleError, DataError, LeakageError, ValueError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            name, reason = error.filename or "A file", error.strerror or error
            raise CommandError(f"{name} cannot be used: {reason}.") from error
        for one in result["sets"]:
            accuracy, whole = one["accuracy"], one["by_photograph"]
            self.stdout.write(
                f"{one['name']} ({one['what']}): accuracy {accuracy['value']:.3f} "
                f"{accuracy['interval']} of {one['images']} pictures; "
                f"{whole['right']} of {whole['photographs']} photographs."
            )
        for label, row in result["unknown_classes"].items():
            share = row["flagged"]["any"]
            self.stdout.write(
                f"{label} (unknown to the model): {share['value']:.3f} {share['interval']} of "
                f"{share['images']} pictures flagged."
            )
        self.stdout.write(f"Wrote {options['out'] / 'report.html'} and report.json.")
