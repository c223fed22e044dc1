"""``manage.py adapt``: fit a model to a laboratory with some labelled cells of its own."""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from hematovision.files.gate import decode
from inference.management.command_line import command_line


class Command(BaseCommand):
    help = (
        "Fits a model's last layer to labelled cells of one's own laboratory, 20 to 500 of them in "
        "folders that have one sub-folder for each class, and writes a new model bundle. "
        "A class that the model does not know is added. Needs no TensorFlow."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("bundle", type=Path, metavar="BUNDLE")
        parser.add_argument("--data", type=Path, action="append", required=True, metavar="FOLDER")
        parser.add_argument(
            "--groups",
            type=Path,
            action="append",
            default=[],
            metavar="CSV",
            help="table of file and source photograph; without one every file is its own",
        )
        parser.add_argument("--out", type=Path, help="folder of the new bundle")
        parser.add_argument("--cells", type=int, help="labelled cells to learn from (default: all)")
        parser.add_argument(
            "--held-out",
            type=float,
            default=0.3,
            help="share of the photographs to measure with instead (default 0.3)",
        )
        parser.add_argument(
            "--curve",
            action="store_true",
            help="only tell how accuracy grows with the number of cells",
        )
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # Serving machines do not have what this needs.
            from tqdm import tqdm

            from inference.ml.adapt import Settings, adapt, read_site
            from inference.ml.bundle import BundleError, load_bundle
            from inference.ml.data import DataError, list_items
            from inference.ml.learning_curve import learning_curve
            from inference.ml.writing import ExportError
        except ImportError as error:
            raise CommandError(
                f"Adaptation needs SciPy, scikit-learn and tqdm ({error}). "
                "Install them with: pip install -r requirements.txt"
            ) from error

        if not (options["out"] or options["curve"]):
            raise CommandError("Give --out for the new bundle's folder, or --curve.")
        try:
            settings = Settings(
                bundle=options["bundle"],
                out=options["out"] or options["bundle"],
                cells=options["cells"],
                held_out=options["held_out"],
                seed=options["seed"],
                command=command_line(),
            )
            listing = list_items(options["data"], options["groups"])
            with tqdm(mininterval=2 if sys.stderr.isatty() else 30) as bar:

                def report(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                if options["curve"]:
                    bundle = load_bundle(settings.bundle)
                    site = read_site(bundle, listing, report, decode=decode)
                    rows = learning_curve(
                        bundle, site.cells, classes=len(site.classes), seed=settings.seed
                    )
                else:
                    adapted = adapt(settings, listing, report, decode=decode)
        except (BundleError, DataError, ExportError, ValueError) as error:
            raise CommandError(str(error)) from error
        if options["curve"]:
            self._tell_curve(rows)
        else:
            self._tell_figures(adapted.card.metrics)
            self.stdout.write(
                f"Wrote {adapted.version} to {options['out']}. To put it in use: "
                f"manage.py activate_model {shlex.quote(str(options['out']))} --reason WHY"
            )

    def _tell_curve(self, rows: list[dict[str, Any]]) -> None:
        self.stdout.write("Macro recall, mean and standard deviation over five draws:")
        for row in rows:
            site, home = row["site"], row["home"]
            self.stdout.write(
                f"{row['cells']:4} cells: site {site['mean']:.3f} ± {site['spread']:.3f}, "
                f"home {home['mean']:.3f} ± {home['spread']:.3f}"
            )

    def _tell_figures(self, metrics: dict[str, Any]) -> None:
        for name, figures in metrics.items():
            before, after = figures["before"]["accuracy"], figures["accuracy"]
            self.stdout.write(
                f"{name} ({figures['what']}): accuracy {before['value']:.3f} {before['interval']} "
                f"before, {after['value']:.3f} {after['interval']} after; "
                f"{figures['images']} cells of {figures['photographs']} photographs, p = "
                f"{figures['paired']['mcnemar']['p_value']:.2g} (McNemar, by photograph)."
            )
