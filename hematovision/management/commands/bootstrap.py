"""``manage.py bootstrap``: everything between unpacking the code and starting the processes."""

from typing import Any

from django.conf import settings
from django.core.management import BaseCommand, call_command

from accounts.services import first_people_create
from inference.ml.bundle import BundleError, SchemaError
from inference.models import ModelVersion
from inference.registry.selectors import active_model_version, bundle_problem
from inference.registry.services import bundle_register, model_promote

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
        problem = bundle_problem(active) if active else None
        try:
            shipped = bundle_register(
                folder=settings.MODEL_BUNDLE, by=None, origin=ModelVersion.Origin.SHIPPED
            )
        except BundleError as error:
            outlook = (
                f"{active.version} stays in use."
                if active and not problem
                else "Uploaded images are kept and wait for a model."
            )
            self.stderr.write(f"The shipped model cannot be used: {error} {outlook}")
            return
        if active and isinstance(problem, SchemaError):
            self.stdout.write(
                f"{active.version} was made by another version of the program and cannot be used "
                "any more: the shipped model takes its place."
            )
            self._put_in_use(shipped, active, "The model before it cannot be used any more.")
            active = shipped
        # A damaged one is for the admin to mend: see `inference.engines`.
        if active is None:
            self._put_in_use(shipped, None, "")
            active = shipped
        self.stdout.write(f"Model in use: {active.version}")
        if shipped.registered_at > active.registered_at:
            self.stdout.write(
                f"A newer model is shipped: {shipped.version}. To put it in use, compare it with "
                "the model in use on the models page."
            )

    def _put_in_use(
        self, shipped: ModelVersion, before: ModelVersion | None, override_reason: str
    ) -> None:
        model_promote(
            model_version=shipped,
            site=None,
            reason="It came with the program.",
            override_reason=override_reason,
            expected_active=before,
            by=None,
        )

    def _create_first_people(self) -> None:
        people = first_people_create()
        if people:
            self.stdout.write(f"{RULE}\nThe first people and their passwords, shown only now:\n\n")
            for person, password in people:
                self.stdout.write(f"    {person.username:<14}{password}")
            self.stdout.write(f"\nWrite them down, log in, and change them.\n{RULE}")
