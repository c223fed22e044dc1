"""Reads of samples, images and cells: always scoped to the sites of the person who asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from zlib import crc32

from django.db import models
from django.db.models import (
    Case,
    Count,
    Exists,
    Min,
    OuterRef,
    Prefetch,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.functions import Cast
from django.utils import timezone

from accounts.models import User
from accounts.permissions import Permission, has_permission
from accounts.selectors import sites_for
from analyses.models import Analysis, Cell, Prediction, Sample, SampleImage
from inference.cells import UNFAMILIAR, cell_class, in_order
from inference.sites.selectors import validated_pairs

if TYPE_CHECKING:
    from collections.abc import Sequence

STALE_QUEUE_SECONDS = 30  # a row that waits longer has no worker


class State(models.TextChoices):
    """How far the reading of a sample is, derived from its jobs."""

    ANALYSING = "analysing", "Being analysed"
    WAITING = "waiting", "Waiting for a model"
    FAILED = "failed", "Some failed"
    DONE = "done", "Analysed"


def samples_for(person: User) -> QuerySet[Sample]:
    """The samples of this person's sites; every page, file and list starts here."""
    if not has_permission(person, Permission.VIEW_SAMPLES):
        return Sample.objects.none()
    return Sample.objects.filter(site__in=sites_for(person))


def sample_images_for(person: User) -> QuerySet[SampleImage]:
    return SampleImage.objects.filter(sample__in=samples_for(person)).select_related(
        "sample", "stored_image"
    )


def cells_for(person: User) -> QuerySet[Cell]:
    return Cell.objects.filter(sample_image__sample__in=samples_for(person)).select_related(
        "sample_image__sample__model_version", "sample_image__stored_image"
    )


def analyses_for(person: User) -> QuerySet[Analysis]:
    return Analysis.objects.filter(sample_image__sample__in=samples_for(person))


# --- The list of samples ---------------------------------------------------------------------
def with_state(samples: QuerySet[Sample]) -> QuerySet[Sample]:
    """Annotate ``state``, ``image_count``, ``poor_image_count`` and ``first_image_id``."""
    images = SampleImage.objects.filter(sample=OuterRef("pk"))
    jobs = Analysis.objects.filter(sample_image__sample=OuterRef("pk"))
    pending = jobs.filter(status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING])
    return samples.annotate(
        state=Case(
            When(Exists(pending), then=Value(State.ANALYSING.value)),
            When(Exists(images.filter(analyses=None)), then=Value(State.WAITING.value)),
            When(
                Exists(jobs.filter(status=Analysis.Status.FAILED)), then=Value(State.FAILED.value)
            ),
            default=Value(State.DONE.value),
            output_field=models.CharField(),
        ),
        image_count=Subquery(
            images.order_by().values("sample").annotate(n=Count("pk")).values("n"),
            output_field=models.IntegerField(),
        ),
        poor_image_count=Subquery(
            _poor_images()
            .order_by()
            .values("sample_image__sample")
            .annotate(n=Count("pk"))
            .values("n"),
            output_field=models.IntegerField(),
        ),
        first_image_id=Subquery(images.order_by("position").values("pk")[:1]),
    )


@dataclass(frozen=True)
class ClassCount:
    """Cells of one class, or those in none, whose label is `UNFAMILIAR`."""

    label: str
    count: int
    uncertain: int = 0
    reviewed: int = 0

    @property
    def name(self) -> str:
        return cell_class(self.label).name

    @property
    def plural(self) -> str:
        return cell_class(self.label).plural

    @property
    def is_white(self) -> bool:
        return cell_class(self.label).is_white


def class_counts(samples: Sequence[Sample]) -> dict[int, list[ClassCount]]:
    """Counts by class for each of the samples (by pk), in two queries: a person's answer where
    there is one, else the model's.

    An unfamiliar cell counts in no class, but among the white cells: else the shares of the
    classes would grow by what the model does not know.
    """
    pks = [sample.pk for sample in samples]
    counts: dict[int, Counter[str]] = {pk: Counter() for pk in pks}
    uncertain: dict[int, Counter[str]] = {pk: Counter() for pk in pks}
    reviewed: dict[int, Counter[str]] = {pk: Counter() for pk in pks}
    by_people = (
        Cell.objects.filter(sample_image__sample__in=pks, review__isnull=False)
        .values_list("sample_image__sample", "review__label")
        .annotate(n=Count("pk"))
    )
    for pk, label, n in by_people.order_by():
        counts[pk][label] += n
        reviewed[pk][label] += n
    by_model = (
        _predictions_that_count()
        .filter(cell__sample_image__sample__in=pks)
        .values_list("cell__sample_image__sample", "label", "flags")
        .annotate(n=Count("pk"))
    )
    for pk, said, flags, n in by_model.order_by():
        label = UNFAMILIAR if UNFAMILIAR in flags else said
        counts[pk][label] += n
        if "uncertain" in flags and label != UNFAMILIAR:
            uncertain[pk][label] += n
    return {
        pk: [
            ClassCount(label, counts[pk][label], uncertain[pk][label], reviewed[pk][label])
            for label in in_order(list(counts[pk]))
        ]
        for pk in pks
    }


def with_counts(samples: Sequence[Sample]) -> list[tuple[Sample, list[ClassCount]]]:
    """Each sample with its counts, for lists."""
    counts = class_counts(samples)
    return [(sample, counts[sample.pk]) for sample in samples]


def _predictions_that_count() -> QuerySet[Prediction]:
    """The answer of the model that the sample is pinned to, for cells that no person answered."""
    return Prediction.objects.filter(
        model_version=models.F("cell__sample_image__sample__model_version"), cell__review=None
    )


def flagged_as(flag: str) -> Q:
    """Predictions with this flag, once they are ``with_flags_as_text``."""
    return Q(flags_text__contains=f'"{flag}"')


def with_flags_as_text(predictions: QuerySet[Prediction]) -> QuerySet[Prediction]:
    """SQLite cannot look into a list."""
    return predictions.alias(flags_text=Cast("flags", TextField()))


def unvalidated_of(samples: Sequence[Sample]) -> list[Sample]:
    """Those that were read by a model which their site has not validated."""
    pairs = validated_pairs()
    read = [sample for sample in samples if sample.model_version_id is not None]
    return [one for one in read if (one.site_id, one.model_version_id) not in pairs]


def samples_with_class(samples: QuerySet[Sample], label: str) -> QuerySet[Sample]:
    """Those with a cell of this class; with an unfamiliar cell, if that is what is asked for."""
    said = _predictions_that_count().filter(cell__sample_image__sample=OuterRef("pk"))
    unfamiliar = flagged_as(UNFAMILIAR)
    wanted = unfamiliar if label == UNFAMILIAR else Q(label=label) & ~unfamiliar
    by_people = Cell.objects.filter(sample_image__sample=OuterRef("pk"), review__label=label)
    return samples.filter(Exists(by_people) | Exists(with_flags_as_text(said).filter(wanted)))


def samples_to_look_at(samples: QuerySet[Sample]) -> QuerySet[Sample]:
    """Real ones with a cell that is flagged (unfamiliar, uncertain, cut by the border) and that no
    person has answered, a picture of poor quality or an image that failed."""
    flagged = _predictions_that_count().filter(cell__sample_image__sample=OuterRef("pk"))
    failed = Analysis.objects.filter(
        sample_image__sample=OuterRef("pk"), status=Analysis.Status.FAILED
    )
    real = samples.filter(is_synthetic=False)
    return real.filter(Exists(flagged.exclude(flags=[])) | Exists(_poor_images()) | Exists(failed))


def _poor_images() -> QuerySet[Analysis]:
    """The jobs of a sample that found something wrong with their picture."""
    jobs = Analysis.objects.filter(
        sample_image__sample=OuterRef("pk"), model_version=OuterRef("model_version")
    )
    return _with_poor_picture(jobs)


def _with_poor_picture(jobs: QuerySet[Analysis]) -> QuerySet[Analysis]:
    return jobs.filter(quality_flags__isnull=False).exclude(quality_flags=[])


def samples_uploaded_by(samples: QuerySet[Sample], person: User) -> QuerySet[Sample]:
    """Those to which this person has uploaded an image."""
    uploaded = SampleImage.objects.filter(sample=OuterRef("pk"), uploaded_by=person)
    return samples.filter(Exists(uploaded))


def samples_matching(samples: QuerySet[Sample], text: str) -> QuerySet[Sample]:
    """Search by accession number, patient identifier or file name."""
    files = SampleImage.objects.filter(sample=OuterRef("pk"), file_name__icontains=text)
    return samples.filter(
        Q(accession_number__icontains=text) | Q(patient__identifier__icontains=text) | Exists(files)
    )


# --- One sample ------------------------------------------------------------------------------
def images_with_cells(sample: Sample) -> QuerySet[SampleImage]:
    """The sample's images, each with its job and its cells with what the model says of them."""
    predictions = Prediction.objects.filter(model_version=sample.model_version)
    return sample.images.select_related("stored_image").prefetch_related(
        Prefetch(
            "analyses",
            Analysis.objects.filter(model_version=sample.model_version),
            to_attr="current_analyses",
        ),
        Prefetch("cells", Cell.objects.select_related("review__by")),
        Prefetch("cells__predictions", predictions, to_attr="current_predictions"),
    )


def cell_with_answers(cell: Cell) -> Cell:
    """A cell as `images_with_cells` has them."""
    image = images_with_cells(cell.sample_image.sample).get(pk=cell.sample_image_id)
    return next(one for one in image.cells.all() if one.pk == cell.pk)


def poor_image_count(sample: Sample) -> int:
    """How many of its pictures have something wrong with them."""
    jobs = Analysis.objects.filter(sample_image__sample=sample, model_version=sample.model_version)
    return _with_poor_picture(jobs).count()


def _is_stale(queued: QuerySet[Analysis]) -> bool:
    """Whether some of these rows have waited for long while no worker is at work at all."""
    now = timezone.now()
    late = now - timedelta(seconds=STALE_QUEUE_SECONDS)
    at_work = Analysis.objects.filter(status=Analysis.Status.RUNNING, lease_expires_at__gt=now)
    return queued.filter(due_at__lt=late).exists() and not at_work.exists()


@dataclass(frozen=True)
class Progress:
    """How many of a sample's images are where."""

    images: int
    done: int
    failed: int
    queued: int
    running: int
    stale: bool
    waiting_reason: str

    @property
    def pending(self) -> int:
        return self.queued + self.running

    @property
    def without_model(self) -> int:
        return self.images - self.done - self.failed - self.pending

    @property
    def token(self) -> str:
        """Changes whenever the page would look different."""
        reason = crc32(self.waiting_reason.encode())
        numbers = (self.images, self.done, self.failed, self.queued, self.running)
        return "-".join(map(str, [*numbers, int(self.stale), reason]))

    @property
    def poll_seconds(self) -> float:
        """How often the page looks again: often while a result is about to come."""
        if not self.pending:
            return 5 if self.without_model else 0
        return 5 if self.stale or self.waiting_reason else 0.4


def progress_of(sample: Sample) -> Progress:
    jobs = Analysis.objects.filter(sample_image__sample=sample, model_version=sample.model_version)
    count = Counter(dict(jobs.values_list("status").annotate(n=Count("pk")).order_by()))
    queued = jobs.filter(status=Analysis.Status.QUEUED)
    oldest = queued.order_by("due_at").first()
    return Progress(
        images=sample.images.count(),
        done=count[Analysis.Status.DONE],
        failed=count[Analysis.Status.FAILED],
        queued=count[Analysis.Status.QUEUED],
        running=count[Analysis.Status.RUNNING],
        stale=_is_stale(queued),
        waiting_reason=oldest.error if oldest else "",
    )


def same_picture_warning(sample: Sample, *, person: User, image: SampleImage | None = None) -> str:
    """A sentence where pictures of this sample (or this one of them) are in another sample too,
    which may be another patient's; else "". A sample of another site is not named."""
    uses = SampleImage.objects.filter(sample__is_synthetic=False).exclude(sample=sample)
    if image is not None:
        uses = uses.filter(stored_image=image.stored_image_id)
    else:
        uses = uses.filter(stored_image__in=sample.images.values("stored_image"))
    if sample.patient_id is not None:
        uses = uses.exclude(sample__patient=sample.patient_id)
    visible = Q(sample__site__in=sites_for(person))
    found = uses.aggregate(
        images=Count("stored_image", distinct=True),
        named=Min("sample__accession_number", filter=visible),
    )
    if sample.is_synthetic or not found["images"]:
        return ""
    count = found["images"]
    what = (
        "This picture is" if image else "One picture is" if count == 1 else f"{count} pictures are"
    )
    where = f"sample {found['named']}" if found["named"] else "a sample of another site"
    return f"{what} in {where} too, which may be another patient's. Check where it belongs."


@dataclass(frozen=True)
class Queue:
    waiting: int
    failed: int
    stale: bool


def queue_state() -> Queue:
    """The whole queue, for the admin's page: numbers only, nobody's data."""
    jobs = Analysis.objects.all()
    waiting = jobs.filter(status__in=[Analysis.Status.QUEUED, Analysis.Status.RUNNING])
    return Queue(
        waiting=waiting.count(),
        failed=jobs.filter(status=Analysis.Status.FAILED).count(),
        stale=_is_stale(jobs.filter(status=Analysis.Status.QUEUED)),
    )
