"""What the models before said of a sample: reads of what a re-analysis has left behind."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max

from analyses.models import Analysis, Prediction, Sample
from analyses.selectors import ClassCount
from inference.cells import UNFAMILIAR, in_order
from inference.models import ModelVersion


@dataclass(frozen=True)
class Reading:
    """What a model that read the sample before the one of today said of its cells."""

    model_version: ModelVersion
    images: int
    at: datetime
    counts: list[ClassCount]


def earlier_readings(sample: Sample) -> list[Reading]:
    """The readings that a re-analysis has left behind, the newest first."""
    done = Analysis.objects.filter(sample_image__sample=sample, status=Analysis.Status.DONE)
    rows = (
        done.exclude(model_version=sample.model_version)
        .values_list("model_version")
        .annotate(images=Count("pk"), at=Max("finished_at"))
        .order_by("-at")
    )
    found = {pk: (images, at) for pk, images, at in rows}
    versions = ModelVersion.objects.in_bulk(found)
    said = Prediction.objects.filter(cell__sample_image__sample=sample, model_version__in=found)
    counts: dict[int, Counter[str]] = {pk: Counter() for pk in found}
    for pk, label, flags, n in (
        said.values_list("model_version", "label", "flags").annotate(n=Count("pk")).order_by()
    ):
        counts[pk][UNFAMILIAR if UNFAMILIAR in flags else label] += n
    return [
        Reading(
            versions[pk],
            images,
            at,
            [ClassCount(label, counts[pk][label]) for label in in_order(list(counts[pk]))],
        )
        for pk, (images, at) in found.items()
    ]
