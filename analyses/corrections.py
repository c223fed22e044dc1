"""People's answers as training data: what may be handed over to a dataset, and the handing over.

Only cells that a person has confirmed or corrected, of samples with consent; a synthetic example's
never, and none that a person puts in no class.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Count

from accounts import audit
from accounts.models import Site, User
from accounts.permissions import Permission, has_permission
from analyses.models import Cell
from analyses.selectors import cells_for
from inference.cells import NO_CLASS, cell_class, in_order
from inference.datasets.services import (
    LabelledCell,
    dataset_create,
    dataset_version_from_cells,
)

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from inference.models import Dataset, DatasetVersion

NOTHING = "There is no reviewed cell of a sample with consent at this site yet."


def corrections_for(person: User) -> QuerySet[Cell]:
    """The cells that this person may hand over."""
    if not has_permission(person, Permission.MANAGE_DATASETS):
        return Cell.objects.none()
    given = cells_for(person).filter(
        review__isnull=False,
        sample_image__sample__training_consent=True,
        sample_image__sample__is_synthetic=False,
    )
    return given.exclude(review__label__in=NO_CLASS)


@dataclass(frozen=True)
class SiteCorrections:
    """What a site could hand over: cells by class (name and count), and of how many samples."""

    site: Site
    classes: list[tuple[str, str, int]]
    cells: int
    samples: int


def corrections_by_site(person: User) -> list[SiteCorrections]:
    """In three queries, whatever the number of sites."""
    site_of = "sample_image__sample__site"
    cells = corrections_for(person).order_by()
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for site, label, count in cells.values_list(site_of, "review__label").annotate(n=Count("pk")):
        counts[site][label] = count
    samples = dict(
        cells.values_list(site_of).annotate(n=Count("sample_image__sample", distinct=True))
    )
    return [
        SiteCorrections(
            site,
            [
                (label, cell_class(label).name, counts[site.pk][label])
                for label in in_order(list(counts[site.pk]))
            ],
            sum(counts[site.pk].values()),
            samples[site.pk],
        )
        for site in Site.objects.filter(pk__in=counts)
    ]


@transaction.atomic
def corrections_hand_over(
    *, site: Site, dataset: Dataset | None, name: str = "", by: User
) -> DatasetVersion:
    """Make a dataset version of a site's reviewed cells; without a dataset, a new one of this name.

    All cells of one patient, or of one sample whose patient is not known, are of one group, which
    no split divides. What the pictures were called stays here: it may name a person.

    Raises:
        ValidationError: there is nothing to hand over, the dataset is another site's, or the name
            is missing or taken.
    """
    rows = (
        corrections_for(by)
        .filter(sample_image__sample__site=site)
        .select_related(None)  # the model's card, once for each cell, takes longest of all
        .select_related("review", "sample_image__stored_image", "sample_image__sample")
        .order_by("review_id")
    )
    cells: dict[tuple[int, int, int, int, int], LabelledCell] = {}
    samples = set()
    for cell in rows:
        assert cell.review, "corrections are of reviewed cells"
        image, sample = cell.sample_image, cell.sample_image.sample
        box = (cell.x, cell.y, cell.width, cell.height)
        samples.add(sample.pk)
        # The same picture may be in two samples: the newest answer counts.
        cells[image.stored_image_id, *box] = LabelledCell(
            stored_image=image.stored_image,
            box=box,
            label=cell.review.label,
            group=f"patient {sample.patient_id}" if sample.patient_id else f"sample {sample.pk}",
            file_name=f"cell {cell.pk}",
        )
    if not cells:
        raise ValidationError(NOTHING)
    if dataset is None:
        dataset = dataset_create(
            name=name,
            description=f"Cells of {site} that people have confirmed or corrected.",
            site=site,
            by=by,
        )
    elif dataset.site_id != site.pk:
        raise ValidationError("This dataset is not of this site. Choose another one.")
    version = dataset_version_from_cells(dataset=dataset, cells=cells.values(), by=by)
    audit.record(
        audit.Action.CORRECTIONS_HANDED_OVER, actor=by, subject=version, samples=sorted(samples)
    )
    return version
