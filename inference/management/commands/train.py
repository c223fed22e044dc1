"""``manage.py train``: train a model on folders of labelled pictures."""

from __future__ import annotations

import shlex
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings as django_settings
from django.core.management.base import BaseCommand, CommandError

from hematovision.files.gate import decode
from inference.management.command_line import command_line
from inference.ml.settings import BALANCES

if TYPE_CHECKING:
    from tqdm import tqdm

    from inference.ml.progress import Progress, Stage


class Command(BaseCommand):
    help = (
        "Trains a classifier of white blood cells on folders that have one sub-folder of "
        "pictures for each class, and writes a model bundle. Ctrl-C keeps the best epoch so far."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, action="append", required=True, metavar="FOLDER")
        parser.add_argument(
            "--groups",
            type=Path,
            action="append",
            default=[],
            metavar="CSV",
            help="table of file and source photograph; without one every file is its own",
        )
        parser.add_argument(
            "--weights",
            help="file of starting weights, 'imagenet' to download them (the default, except for "
            "a backbone that has none), or 'none' for random ones",
        )
        parser.add_argument(
            "--start",
            type=Path,
            metavar="BUNDLE",
            help="model to go on from, instead of weights; backbone and width are its own",
        )
        parser.add_argument(
            "--keep-sides-of",
            type=Path,
            action="append",
            default=[],
            metavar="BUNDLE",
            help="earlier model whose photographs stay on the side that they had",
        )
        parser.add_argument(
            "--folder",
            type=Path,
            help="for crops and checkpoints: the same command goes on there where it ended",
        )
        parser.add_argument(
            "--class",
            dest="class_map",
            action="append",
            default=[],
            type=_renamed,
            metavar="LABEL=CLASS",
            help="another name for a class, or none to leave its pictures out",
        )
        parser.add_argument(
            "--out",
            type=Path,
            help="folder of the bundle (default: MODEL_BUNDLE, replacing the model there)",
        )
        parser.add_argument("--balance", choices=BALANCES, help="of the classes in an epoch")
        parser.add_argument("--epochs", type=int, default=12)
        parser.add_argument("--crops-per-epoch", type=int, default=7200)
        parser.add_argument("--batch", type=int, default=32)
        parser.add_argument("--learning-rate", type=float, default=3e-4)
        parser.add_argument("--patience", type=int, default=8)
        parser.add_argument("--validation", type=float, default=0.15, help="share of photographs")
        parser.add_argument("--test", type=float, default=0.2, help="share of photographs")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument(
            "--licence",
            action="append",
            default=[],
            type=_licence,
            metavar="NAME=TEXT",
            help="of a data set, as training names it, or of the 'weights'; for the model card",
        )
        parser.add_argument(
            "--backbone", help="mobilenetv2 by default; see inference/ml/network.py"
        )
        parser.add_argument("--width", type=float, help="channels of MobileNetV2 over the paper's")
        parser.add_argument("--size", type=int, help="side of a crop in pixels")
        parser.add_argument("--context", type=float, help="side of a crop over the cell's box")
        parser.add_argument("--own-stain", action="store_true", help="leave each field's stain")
        parser.add_argument("--colour", type=float, help="strength of colour variation")
        parser.add_argument("--stain", type=float, help="strength of stain variation")
        parser.add_argument("--focus", type=float, help="share of crops with less sharpness")
        parser.add_argument("--label-smoothing", type=float)
        parser.add_argument("--frozen-norm", action="store_true", help="keep ImageNet's statistics")
        parser.add_argument("--views", type=int, help="flips averaged when serving: 1, 2, 4 or 8")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # TensorFlow takes seconds to import, and serving machines do not have what this needs.
            from tqdm import tqdm

            from inference.ml.augment import Augmentation
            from inference.ml.bundle import BundleError, load_bundle
            from inference.ml.data import DataError, list_items
            from inference.ml.network import WeightsError, default_weights
            from inference.ml.preprocess import COMMON_STAIN, OWN_STAIN, Preprocessing
            from inference.ml.progress import Cancelled
            from inference.ml.settings import Settings, fixed_by
            from inference.ml.train import train
            from inference.ml.writing import ExportError
        except ImportError as error:
            raise CommandError(
                f"Training needs TensorFlow, scikit-learn, SciPy and tqdm ({error}). "
                "Install them with: pip install -r requirements.txt"
            ) from error

        try:
            network = _given(options, "backbone", "width")
            if options["start"]:
                network = fixed_by(load_bundle(options["start"]).card) | network
            weights = options["weights"]
            if not (weights or options["start"]):
                weights = default_weights(network.get("backbone", "mobilenetv2"))
            settings = Settings(
                out=options["out"] or django_settings.MODEL_BUNDLE,
                weights=None if weights == "none" else weights,
                start=options["start"],
                keep_sides_of=tuple(options["keep_sides_of"]),
                class_map=dict(options["class_map"]),
                epochs=options["epochs"],
                crops_per_epoch=options["crops_per_epoch"],
                batch=options["batch"],
                learning_rate=options["learning_rate"],
                patience=options["patience"],
                validation=options["validation"],
                test=options["test"],
                seed=options["seed"],
                preprocessing=Preprocessing(
                    stain=OWN_STAIN if options["own_stain"] else COMMON_STAIN,
                    **_given(options, "size", "context"),
                ),
                augmentation=Augmentation(**_given(options, "colour", "stain", "focus")),
                adapt_norm=not options["frozen_norm"],
                **network,
                **_given(options, "label_smoothing", "views", "balance"),
                licences=tuple(options["licence"]),
                command=command_line(),
            )
            listing = list_items(options["data"], options["groups"])
            with _Bars(tqdm) as bars, _Interrupts() as interrupts:

                def report(progress: Progress) -> None:
                    interrupts.stage = progress.stage
                    bars.show(progress)

                bundle = train(
                    settings,
                    listing,
                    report,
                    decode=decode,
                    folder=options["folder"],
                    stop=interrupts.wish,
                )
        except (BundleError, DataError, ExportError, WeightsError, ValueError) as error:
            raise CommandError(str(error)) from error
        except (Cancelled, KeyboardInterrupt):
            raise CommandError("Stopped before there was anything to keep.") from None
        for dataset, figures in bundle.card.metrics.items():
            by_photograph = figures["by_photograph"]
            self.stdout.write(
                f"{dataset} ({figures['what']}): accuracy {figures['accuracy']['value']:.3f} "
                f"{figures['accuracy']['interval']} of {figures['images']} pictures; "
                f"{by_photograph['right']} of {by_photograph['photographs']} photographs."
            )
        self.stdout.write(
            f"Wrote {bundle.version} to {settings.out}. To put it in use: "
            f"manage.py activate_model {shlex.quote(str(settings.out))} --reason WHY"
        )


def _licence(told: str) -> tuple[str, str]:
    name, _, text = told.partition("=")
    if not (name and text):
        raise ArgumentTypeError("a licence is told as NAME=TEXT")
    return name, text


def _renamed(told: str) -> tuple[str, str]:
    label, sign, name = told.partition("=")
    if not (label and sign):
        raise ArgumentTypeError("a class is told as LABEL=CLASS")
    return label.lower(), name


def _given(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """The options that a person gave; the others keep the default of the settings."""
    return {name: options[name] for name in names if options[name] is not None}


class _Interrupts:
    """Ctrl-C, from the first epoch on, is a wish to finish: nothing that was trained is lost."""

    def __init__(self) -> None:
        self.stage: Stage = "cut"
        self._finish = False

    def __enter__(self) -> _Interrupts:
        self._before = signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def wish(self) -> str:
        return "finish" if self._finish else ""

    def _hear(self, *_: object) -> None:
        if self.stage not in ("train", "evaluate"):
            raise KeyboardInterrupt
        self._finish = True
        sys.stderr.write("Finishing: the best epoch is being written.\n")


class _Bars:
    """One progress bar for each stage, with the time left."""

    def __init__(self, new: type[tqdm]) -> None:
        self._new = new
        self._bar: tqdm | None = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        if self._bar is None or self._bar.desc != progress.stage:
            if self._bar is not None:
                self._bar.close()
            self._bar = self._new(
                total=progress.total, mininterval=2 if sys.stderr.isatty() else 30
            )
            self._bar.desc = progress.stage
        self._bar.update(progress.done - self._bar.n)
        if progress.message:
            self._bar.write(progress.message, file=sys.stderr)
