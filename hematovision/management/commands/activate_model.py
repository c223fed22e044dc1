"""``manage.py activate_model MODEL``: put a registered model, or a bundle in a folder, in use."""

from pathlib import Path
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from analyses.services import model_put_in_use
from inference.ml.bundle import BundleError
from inference.registry.selectors import model_versions
from inference.registry.services import bundle_register


class Command(BaseCommand):
    help = (
        "Put a model in use for the samples that come from now on: one that is registered, or one "
        "in a folder, as train and adapt write it, which is registered first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", metavar="VERSION_OR_FOLDER")

    def handle(self, *args: Any, model: str, **options: Any) -> None:
        model_version = model_versions().filter(version=model).first()
        try:
            if model_version is None and Path(model).is_dir():
                model_version = bundle_register(folder=Path(model), by=None)
            if model_version is None:
                known = ", ".join(model_versions().values_list("version", flat=True)) or "none"
                raise CommandError(f"There is no model or folder {model}. Registered: {known}.")
            model_put_in_use(model_version=model_version, by=None)
        except BundleError as error:
            raise CommandError(f"{model} cannot be used: {error}") from error
        self.stdout.write(f"Model in use: {model_version}")
