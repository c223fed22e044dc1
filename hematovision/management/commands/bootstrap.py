"""``manage.py bootstrap``: everything between unpacking the code and starting the processes."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, call_command

from accounts.services import first_people_create
from inference.ml.bundle import BundleError, SchemaError, load_bundle
from inference.models import ModelVersion
from inference.selectors import active_model_version, bundle_folder
from inference.services import bundle_register, model_activate

RULE = "-" * 72


class Command(BaseCommand):
    help = (
        "Prepare this installation: database, static files, the shipped model, the first people. "
        "May be repeated: what is there already stays as it is."
    )
    requires_system_checks = "__all__"

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        self._prepare_model()
        self._create_first_people()

    def _prepare_model(self) -> None:
        """Register the shipped model; put it in use only where no other is, or none that works."""
        active = active_model_version()
        try:
            shipped = bundle_register(folder=settings.MODEL_BUNDLE, by=None)
        except BundleError as error:
            outlook = (
                f"{active.version} stays in use."
                if active
                else "Uploaded images are kept and wait for a model."
            )
            self.stderr.write(f"The shipped model cannot be used: {error} {outlook}")
            return
        if active is None or self._is_outdated(active):
            model_activate(model_version=shipped, by=None)
            active = shipped
        self.stdout.write(f"Model in use: {active.version}")
        if shipped.registered_at > active.registered_at:
            self.stdout.write(
                f"A newer model is shipped: {shipped.version}. To put it in use: "
                f"manage.py activate_model {shipped.version}"
            )

    def _is_outdated(self, active: ModelVersion) -> bool:
        """Whether a model is of another version of the program; a damaged one is not."""
        try:
            load_bundle(bundle_folder(active))
        except SchemaError:
            self.stdout.write(
                f"{active.version} was made by another version of the program and cannot be used "
                "any more: the shipped model takes its place."
            )
            return True
        except BundleError:
            pass  # for the admin to mend: see `inference.engines`
        return False

    def _create_first_people(self) -> None:
        people = first_people_create()
        if people:
            self.stdout.write(f"{RULE}\nThe first people and their passwords, shown only now:\n\n")
            for person, password in people:
                self.stdout.write(f"    {person.username:<14}{password}")
            self.stdout.write(f"\nWrite them down, log in, and change them.\n{RULE}")
