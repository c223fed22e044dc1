"""``manage.py activate_model MODEL``: put a registered model, or a bundle in a folder, in use."""

from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import BaseCommand, CommandError, CommandParser

from accounts.models import Site
from inference.ml.bundle import BundleError
from inference.registry.gate import GateError
from inference.registry.selectors import active_model_version, model_versions
from inference.registry.services import bundle_register, model_promote


class Command(BaseCommand):
    help = (
        "Put a model in use for the samples that come from now on: one that is registered, or one "
        "in a folder, as train and adapt write it, which is registered first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", metavar="VERSION_OR_FOLDER")
        parser.add_argument("--reason", required=True, help="why, for the audit trail")
        parser.add_argument(
            "--override",
            default="",
            metavar="REASON",
            help="why, although it has not passed the comparison with the model in use",
        )
        parser.add_argument("--site", metavar="NAME", help="for one site only (default: for all)")

    def handle(self, *args: Any, model: str, **options: Any) -> None:
        model_version = model_versions().filter(version=model).first()
        site = None
        if name := options["site"]:
            site = Site.objects.filter(name=name).first()
            if site is None:
                raise CommandError(f"There is no site {name}.")
        try:
            if model_version is None and Path(model).is_dir():
                model_version = bundle_register(folder=Path(model), by=None)
            if model_version is None:
                known = ", ".join(model_versions().values_list("version", flat=True)) or "none"
                raise CommandError(f"There is no model or folder {model}. Registered: {known}.")
            model_promote(
                model_version=model_version,
                site=site,
                reason=options["reason"],
                override_reason=options["override"],
                expected_active=active_model_version(site),
                by=None,
            )
        except BundleError as error:
            raise CommandError(f"{model} cannot be used: {error}") from error
        except GateError as error:
            raise CommandError(
                f"{error.messages[0]} (--override) It is registered: the models page compares them."
            ) from error
        except ValidationError as error:
            raise CommandError(error.messages[0]) from error
        self.stdout.write(f"Model in use: {model_version}")
