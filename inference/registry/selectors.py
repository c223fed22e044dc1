"""Reads of the registry. A model holds no patient's data: whoever is signed in may know of it."""

from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Max, QuerySet, TextChoices

from accounts.models import Site
from inference.ml.bundle import BundleError, load_bundle
from inference.models import Deployment, ModelVersion


# --- What serves where -----------------------------------------------------------------------
def newest_deployment(site: Site | None) -> Deployment | None:
    """The last change of a site's own model, or of the default for all."""
    rows = Deployment.objects.filter(site=site)
    return rows.select_related("model_version", "by", "site").first()


def active_model_version(site: Site | None = None) -> ModelVersion | None:
    """The model in use at a site, which is its own or the default for all; None: none yet."""
    own = newest_deployment(site) if site else None
    if own and own.model_version:
        return own.model_version
    default = newest_deployment(None)
    return default.model_version if default else None


def serving() -> list[tuple[Site | None, ModelVersion]]:
    """Which version serves where: the default for all (site None), then sites with their own."""
    newest = Deployment.objects.order_by().values("site").annotate(last=Max("pk")).values("last")
    rows = Deployment.objects.filter(pk__in=newest, model_version__isnull=False)
    found = [
        (row.site, row.model_version)
        for row in rows.select_related("site", "model_version")
        if row.model_version
    ]
    return sorted(found, key=lambda one: one[0].name if one[0] else "")


class Status(TextChoices):
    """What becomes of a version, told by its deployments."""

    ACTIVE = "active", "In use"
    CANDIDATE = "candidate", "Candidate"
    RETIRED = "retired", "Retired"


@dataclass(frozen=True)
class Standing:
    """A version, its status, and where it serves: None stands for the default."""

    version: ModelVersion
    status: Status
    sites: list[Site | None]


def standing_of(versions: QuerySet[ModelVersion]) -> list[Standing]:
    """How each version stands; a candidate never served, a retired one did and does no more."""
    places = serving()
    served = set(Deployment.objects.values_list("model_version", flat=True))
    told = []
    for version in versions:
        sites = [site for site, serves in places if serves == version]
        status = Status.RETIRED if version.pk in served else Status.CANDIDATE
        told.append(Standing(version, Status.ACTIVE if sites else status, sites))
    return told


def model_versions() -> QuerySet[ModelVersion]:
    return ModelVersion.objects.select_related("parent", "registered_by")


# --- Files -----------------------------------------------------------------------------------
def bundle_folder(model_version: ModelVersion) -> Path:
    """Where the installation keeps this version's bundle."""
    return Path(settings.MEDIA_ROOT) / "models" / model_version.version


def bundle_problem(model_version: ModelVersion) -> BundleError | None:
    """Why this version's files cannot be used (`SchemaError`: whatever becomes of them), if so."""
    try:
        bundle = load_bundle(bundle_folder(model_version))
    except BundleError as error:
        return error
    if bundle.sha256 != model_version.sha256:
        return BundleError(
            f"The files of {model_version} on the server are not those that were registered "
            "(SHA-256 of the card differs). Bring them back from a backup; do not use these."
        )
    return None
