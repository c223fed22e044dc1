"""``manage.py activate_model VERSION``: put a registered model in use."""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from inference.ml.bundle import BundleError
from inference.selectors import model_versions
from inference.services import model_activate


class Command(BaseCommand):
    help = "Put a registered model in use for the samples that come from now on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version")

    def handle(self, *args: Any, version: str, **options: Any) -> None:
        model_version = model_versions().filter(version=version).first()
        if model_version is None:
            known = ", ".join(model_versions().values_list("version", flat=True)) or "none"
            raise CommandError(f"There is no model {version}. Registered: {known}.")
        try:
            model_activate(model_version=model_version, by=None)
        except BundleError as error:
            raise CommandError(f"{version} cannot be used: {error}") from error
        self.stdout.write(f"Model in use: {version}")
