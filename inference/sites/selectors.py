"""Reads of what sites have found out about models, scoped to the person who asks."""

from dataclasses import dataclass

from django.db.models import Count, QuerySet

from accounts.models import Site, User
from accounts.permissions import Permission, has_permission
from accounts.selectors import sites_for
from inference.models import DatasetVersion, ModelVersion, SiteValidation
from inference.registry.selectors import serving
from inference.sites.verdict import FEWEST_CELLS


def sites_to_validate(person: User) -> QuerySet[Site]:
    """The sites whose first day is this person's business; every page about it starts here."""
    if not has_permission(person, Permission.VALIDATE_MODELS):
        return Site.objects.none()
    return sites_for(person)


def validations_for(person: User) -> QuerySet[SiteValidation]:
    return SiteValidation.objects.filter(site__in=sites_to_validate(person)).select_related(
        "site",
        "model_version__parent",
        "dataset_version__dataset",
        "job",
        "adaptation",
        "adapted",
        "accepted_by",
    )


def cells_of(site: Site) -> QuerySet[DatasetVersion]:
    """What a model can be measured on: ready versions of labelled cells that are the site's own,
    enough of them, of datasets that are not retired; each with ``cell_count``."""
    ready = DatasetVersion.objects.filter(
        dataset__site=site, dataset__retired_at=None, ready_at__isnull=False
    )
    counted = ready.select_related("dataset").annotate(cell_count=Count("images"))
    return counted.filter(cell_count__gte=FEWEST_CELLS).order_by("-pk")


def validated_pairs() -> set[tuple[int, int]]:
    """Site and model version (keys) of every validation that a person has accepted."""
    accepted = SiteValidation.objects.filter(accepted_at__isnull=False)
    return set(accepted.values_list("site", "model_version").order_by())


def accepted_validations(model_version: ModelVersion) -> list[SiteValidation]:
    """Every validation of a version that a person has accepted, at any site."""
    return list(
        SiteValidation.objects.filter(model_version=model_version, accepted_at__isnull=False)
    )


@dataclass(frozen=True)
class Standing:
    """Which model serves a site, and the newest validation of it that was accepted."""

    site: Site
    model_version: ModelVersion | None
    accepted: SiteValidation | None


def standing_of(site: Site) -> Standing:
    return standings_of(Site.objects.filter(pk=site.pk))[0]


def standings_of(sites: QuerySet[Site]) -> list[Standing]:
    """How each site stands, in a fixed number of queries."""
    serves = {place.pk if place else None: version for place, version in serving()}
    accepted = SiteValidation.objects.filter(site__in=sites, accepted_at__isnull=False)
    newest = {
        (row.site_id, row.model_version_id): row
        for row in accepted.select_related("accepted_by").order_by("accepted_at")
    }
    told = []
    for site in sites:
        version = serves.get(site.pk) or serves.get(None)
        accepted_here = newest.get((site.pk, version.pk)) if version else None
        told.append(Standing(site, version, accepted_here))
    return told
