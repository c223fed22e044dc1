"""Reads of the registry. A model holds no patient's data: whoever is signed in may know of it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db.models import Max, OuterRef, QuerySet, Subquery, TextChoices

from accounts.models import Site, User
from accounts.selectors import sites_for
from inference.ml.bundle import BundleError, load_bundle
from inference.models import Comparison, DatasetVersion, Deployment, ModelVersion, TrainingRun


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


def previous_of(site: Site | None) -> "Previous | None":
    """What going back leads to, or None where there is nothing left to undo."""
    return _previous(list(Deployment.objects.filter(site=site).select_related("model_version")))


@dataclass(frozen=True)
class Previous:
    """What a site, or all, used before the last change; None: the default."""

    model_version: ModelVersion | None


def _previous(newest_first: Sequence[Deployment]) -> Previous | None:
    """Before the last change that was not undone.

    What was left by going back is not led to again: it is put in use through the gate.
    """
    standing: list[Deployment] = []
    for row in reversed(newest_first):
        if row.went_back:
            standing.pop()
        else:
            standing.append(row)
    if not standing or (standing[-1].site is None and len(standing) == 1):
        return None
    return Previous(standing[-2].model_version if len(standing) > 1 else None)


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


@dataclass(frozen=True)
class Scope:
    """All sites (None), or one of them, and the model that it uses.

    Attributes:
        own: the change that gave it a model of its own; None where it uses the default.
        previous: what going back leads to; None where there is nothing to go back to.
    """

    site: Site | None
    active: ModelVersion | None
    own: Deployment | None
    previous: Previous | None

    @property
    def name(self) -> str:
        return self.site.name if self.site else "All sites"

    @property
    def key(self) -> str:
        """As it stands in forms and addresses."""
        return str(self.site.pk) if self.site else ""


def scopes_for(person: User) -> list[Scope]:
    """All sites, then each site that this person may see."""
    rows: dict[int | None, list[Deployment]] = {}
    for row in Deployment.objects.select_related("model_version", "by", "site"):
        rows.setdefault(row.site_id, []).append(row)
    default = rows[None][0].model_version if None in rows else None
    scopes = []
    for site in (None, *sites_for(person)):
        changes = rows.get(site.pk if site else None, [])
        own = changes[0] if changes and changes[0].model_version else None
        active = own.model_version if own else default
        scopes.append(Scope(site, active, own, _previous(changes)))
    return scopes


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


def standing_of(versions: Iterable[ModelVersion]) -> list[Standing]:
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
    return ModelVersion.objects.select_related("parent", "registered_by", "training_run")


def comparisons_of(candidate: ModelVersion) -> QuerySet[Comparison]:
    found = candidate.comparisons.select_related("candidate", "baseline", "job")
    return found.prefetch_related("dataset_versions__dataset")


def deployments_of(model_version: ModelVersion) -> QuerySet[Deployment]:
    """When it was put in use, where, by whom and why."""
    return model_version.deployments.select_related("site", "by", "comparison__baseline")


@dataclass(frozen=True)
class Lineage:
    """Where a version comes from, and what was made from it."""

    parent: ModelVersion | None
    children: list[ModelVersion]
    run: TrainingRun | None
    dataset_versions: list[DatasetVersion]
    code_version: str
    fingerprint: str


def lineage_of(model_version: ModelVersion) -> Lineage:
    run = getattr(model_version, "training_run", None)
    card = model_version.card
    return Lineage(
        parent=model_version.parent,
        children=list(model_version.children.order_by("registered_at")),
        run=run,
        dataset_versions=list(run.dataset_versions.select_related("dataset")) if run else [],
        code_version=str(card.get("training", {}).get("code_version", "")),
        fingerprint=str(card.get("dataset", {}).get("fingerprint", "")),
    )


def class_map_of(version: ModelVersion) -> dict[str, str]:
    """From labels of datasets to the classes that the training of a version made of them; an
    adapted version has its parent's."""
    if version.origin == ModelVersion.Origin.ADAPTED and version.parent:
        return class_map_of(version.parent)
    run = getattr(version, "training_run", None)
    return dict(run.class_map) if run else {}


def readings_of(version: ModelVersion) -> dict[str, str]:
    """What each label of a dataset stands for when this version is measured.

    A label that is called like one of its classes is that class, whatever its training made of
    it: were two classes swapped in the class map, it would be right by that alone. And what its
    training left out stays as it is: in use it meets such cells, too.
    """
    mapped = {label: name for label, name in class_map_of(version).items() if name}
    return mapped | {name: name for name in version.classes}


# --- Files -----------------------------------------------------------------------------------
def bundle_folder(model_version: ModelVersion) -> Path:
    """Where the installation keeps this version's bundle."""
    return Path(settings.MEDIA_ROOT) / "models" / model_version.version


def report_folder(model_version: ModelVersion) -> Path:
    """Where the newest evaluation of this version lies: ``report.html`` and ``report.json``."""
    return Path(settings.MEDIA_ROOT) / "reports" / model_version.version


def report_path(model_version: ModelVersion) -> Path:
    return report_folder(model_version) / "report.html"


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


# --- Data ------------------------------------------------------------------------------------
def newest_dataset_versions() -> list[DatasetVersion]:
    """Of every dataset that is not retired the newest version that is ready."""
    ready = DatasetVersion.objects.filter(ready_at__isnull=False, dataset__retired_at=None)
    newest = ready.filter(dataset=OuterRef("dataset")).order_by("-number").values("pk")[:1]
    return list(ready.filter(pk=Subquery(newest)).select_related("dataset"))
