"""Reads of the registry. A model holds no patient's data: whoever is signed in may know of it."""

from pathlib import Path

from django.conf import settings
from django.db.models import QuerySet

from inference.ml.bundle import BundleError, load_bundle
from inference.models import Deployment, ModelVersion


def active_model_version() -> ModelVersion | None:
    """The model in use, or None where none has been put in use yet."""
    newest = Deployment.objects.select_related("model_version").first()
    return newest.model_version if newest else None


def model_versions() -> QuerySet[ModelVersion]:
    return ModelVersion.objects.prefetch_related("deployments")


def bundle_folder(model_version: ModelVersion) -> Path:
    """Where the installation keeps this version's bundle."""
    return Path(settings.MEDIA_ROOT) / "models" / model_version.version


def bundle_problem(model_version: ModelVersion) -> BundleError | None:
    """Why this version's files cannot be used (`SchemaError`: whatever becomes of them), if so."""
    try:
        load_bundle(bundle_folder(model_version))
    except BundleError as error:
        return error
    return None
