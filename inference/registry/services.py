"""Writes of the registry."""

import json
import shutil
import tempfile
from pathlib import Path

from django.conf import settings
from django.db import transaction

from accounts import audit
from accounts.models import User
from inference.ml.bundle import BundleError, load_bundle
from inference.models import Deployment, ModelVersion
from inference.registry.selectors import active_model_version, bundle_folder


def bundle_register(
    *,
    folder: Path,
    by: User | None,
    origin: ModelVersion.Origin = ModelVersion.Origin.IMPORTED,
    parent: ModelVersion | None = None,
) -> ModelVersion:
    """Check a bundle, copy it into the installation and give it a row. Idempotent by version.

    The installation serves from its own copy, so that replacing the shipped files (an update of
    the code, say) never changes a model behind a result.

    Raises:
        inference.ml.bundle.BundleError: the bundle does not load or its hashes differ.
    """
    bundle = load_bundle(folder)
    known = ModelVersion.objects.filter(version=bundle.version).first()
    if known and known.sha256 != bundle.sha256:
        raise BundleError(
            f"Another bundle is registered as {known}: give the new one a version of its own."
        )
    models_folder = Path(settings.MEDIA_ROOT) / "models"
    models_folder.mkdir(parents=True, exist_ok=True)
    target = models_folder / bundle.version
    if not _is_whole(target):
        shutil.rmtree(target, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=models_folder, prefix=".incoming-") as temporary:
            copy = Path(temporary) / "bundle"
            shutil.copytree(folder, copy)
            load_bundle(copy)  # what was copied is what was checked
            copy.rename(target)
    with transaction.atomic():
        version, created = ModelVersion.objects.get_or_create(
            version=bundle.version,
            defaults={
                "sha256": bundle.sha256,
                "card": json.loads(bundle.card.to_json()),
                "origin": origin,
                "parent": parent,
                "registered_by": by,
            },
        )
        if created:
            audit.record(
                audit.Action.MODEL_REGISTERED,
                actor=by,
                subject=version,
                origin=origin.value,
                parent=str(parent) if parent else None,
            )
    return version


def _is_whole(folder: Path) -> bool:
    try:
        load_bundle(folder)
    except BundleError:
        return False
    return True


@transaction.atomic
def model_activate(*, model_version: ModelVersion, by: User | None) -> None:
    """Put a model in use for the samples that come from now on."""
    load_bundle(bundle_folder(model_version))
    before = active_model_version()
    if before == model_version:
        return
    Deployment.objects.create(model_version=model_version, by=by)
    audit.record(
        audit.Action.MODEL_ACTIVATED,
        actor=by,
        subject=model_version,
        before=before.version if before else None,
    )
