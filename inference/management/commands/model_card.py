"""``manage.py model_card``: a bundle's model card in Markdown."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from inference.cells import CLASSES, not_recognised


class Command(BaseCommand):
    help = (
        "Writes the model card of a bundle in Markdown: what it is for, how well it does, and on "
        "what. docs/model/card.md is made this way from the model that ships."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "bundle", nargs="?", type=Path, help="folder of a bundle (default: MODEL_BUNDLE)"
        )
        parser.add_argument("--out", type=Path, help="file to write (default: the screen)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            # Serving machines do not have Jinja2.
            from inference.ml.bundle import BundleError, load_bundle
            from inference.ml.model_card import render_model_card
        except ImportError as error:
            raise CommandError(
                f"A model card needs Jinja2 ({error}). "
                "Install it with: pip install -r requirements.txt"
            ) from error

        try:
            bundle = load_bundle(options["bundle"] or settings.MODEL_BUNDLE)
            text = render_model_card(
                bundle,
                names={label: one.name for label, one in CLASSES.items()},
                not_recognised=not_recognised(bundle.classes),
            )
        except BundleError as error:
            raise CommandError(str(error)) from error
        if options["out"] is None:
            self.stdout.write(text, ending="")
            return
        try:
            options["out"].write_text(text, encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{options['out']} cannot be written: {error.strerror}.") from error
        self.stdout.write(f"Wrote {options['out']}.")
