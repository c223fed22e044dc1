"""Samples, their images, the cells found in them, and what the model says of each.

A cell belongs to the picture, not to a model, so that what people say of it outlives a new model.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from accounts.models import AppendOnlyError, AppendOnlyQuerySet, Site
from hematovision.files.models import StoredImage
from inference.models import ModelVersion

ACCESSION_TAKEN = (
    "This accession number exists already. "
    "To add images to that sample, open it and choose “Add images”."
)


class Patient(models.Model):
    """Whose sample it is, by the site's identifier. Optional: samples can be anonymous."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="patients")
    identifier = models.CharField(max_length=40)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["site", "identifier"], name="patient_unique_in_site"),
        )

    def __str__(self) -> str:
        return self.identifier


class AccessionCounter(models.Model):
    """The last automatic accession number of a day, over all sites."""

    day = models.DateField(unique=True)
    last = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.day}: {self.last}"


class Sample(models.Model):
    """One specimen of one patient, under its accession number. The differential is its result."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="samples")
    accession_number = models.CharField(
        max_length=40,
        validators=[
            RegexValidator(
                r"^[A-Za-z0-9][A-Za-z0-9 ./_-]*\Z",
                "Start with a letter or digit; then letters, digits, spaces and . / _ - only.",
            )
        ],
    )
    patient = models.ForeignKey(
        Patient, null=True, blank=True, on_delete=models.PROTECT, related_name="samples"
    )
    model_version = models.ForeignKey(
        ModelVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="the model that all images of the sample are read with; "
        "set when the first of them is queued",
    )
    is_synthetic = models.BooleanField(default=False, help_text="an example, not a patient's")
    training_consent = models.BooleanField(
        default=False, help_text="its pictures may be used to train and test models"
    )
    batch = models.UUIDField(
        null=True,
        blank=True,
        unique=True,
        help_text="the upload that made it: many requests, one sample",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    class Meta:
        ordering = ("-created_at", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=["site", "accession_number"],
                name="accession_number_unique_in_site",
                violation_error_message=ACCESSION_TAKEN,
            ),
        )

    def __str__(self) -> str:
        return self.accession_number


class SampleImage(models.Model):
    """A picture of a sample, under the file name that the person gave it (text only)."""

    sample = models.ForeignKey(Sample, on_delete=models.CASCADE, related_name="images")
    stored_image = models.ForeignKey(StoredImage, on_delete=models.PROTECT, related_name="uses")
    file_name = models.CharField(max_length=200)
    position = models.PositiveIntegerField()
    finder_version = models.CharField(
        max_length=40, blank=True, help_text="the finder that found its cells; empty: not yet"
    )
    uploaded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    uploaded_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("position",)
        constraints = (
            models.UniqueConstraint(
                fields=["sample", "stored_image"], name="image_unique_in_sample"
            ),
            models.UniqueConstraint(fields=["sample", "position"], name="position_unique"),
        )

    def __str__(self) -> str:
        return f"{self.sample} · {self.file_name}"


class Analysis(models.Model):
    """The job of reading one image with one model version. The row is the truth of it.

    ``claim`` is the token of the newest claim: whoever writes a result must hold it.
    """

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Being analysed"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    class Priority(models.IntegerChoices):
        INTERACTIVE = 10, "a person is waiting"
        BATCH = 0, "many images at once"

    sample_image = models.ForeignKey(SampleImage, on_delete=models.CASCADE, related_name="analyses")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.INTERACTIVE)
    due_at = models.DateTimeField(default=timezone.now, help_text="not to be claimed before")
    attempt = models.PositiveSmallIntegerField(default=0)
    claim = models.UUIDField(null=True)
    worker = models.CharField(max_length=120, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    finished_at = models.DateTimeField(null=True)
    find_ms = models.FloatField(null=True, help_text="time to find the cells, milliseconds")
    engine_ms = models.FloatField(null=True, help_text="time to classify them, milliseconds")
    quality_flags = models.JSONField(
        null=True, help_text="what is wrong with the picture, e.g. blurred; null: not measured"
    )

    class Meta:
        verbose_name_plural = "analyses"
        constraints = (
            models.UniqueConstraint(
                fields=["sample_image", "model_version"], name="analysis_unique"
            ),
        )
        indexes = (models.Index(fields=["status", "-priority", "due_at"], name="analysis_queue"),)

    def __str__(self) -> str:
        return f"{self.sample_image} by {self.model_version}"


class Cell(models.Model):
    """A white cell in a picture: its box, in pixels of the upright picture."""

    sample_image = models.ForeignKey(SampleImage, on_delete=models.CASCADE, related_name="cells")
    x = models.PositiveIntegerField()
    y = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    position = models.PositiveIntegerField(help_text="0 is the main cell of the picture")
    finder_version = models.CharField(max_length=40)
    review = models.ForeignKey(
        "Review",
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        # SQLite would look for cells without one in an index, through all samples.
        db_index=False,
        help_text="the newest of its reviews: a person's answer, which counts",
    )

    class Meta:
        ordering = ("sample_image", "position")
        constraints = (
            models.UniqueConstraint(fields=["sample_image", "position"], name="cell_unique"),
        )

    def __str__(self) -> str:
        return f"cell {self.position + 1} of {self.sample_image}"


class Prediction(models.Model):
    """What one model version says of one cell. Never changed: people answer in other rows."""

    cell = models.ForeignKey(Cell, on_delete=models.CASCADE, related_name="predictions")
    model_version = models.ForeignKey(
        ModelVersion,
        on_delete=models.PROTECT,
        related_name="+",
        # Half of all rows have the same: SQLite would read them all for the cells of one sample.
        db_index=False,
    )
    label = models.CharField(max_length=40, db_index=True)
    confidence = models.FloatField(help_text="calibrated probability of the label, 0 to 1")
    probabilities = models.JSONField(help_text="calibrated probability by class")
    flags = models.JSONField(default=list, help_text="e.g. uncertain")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["cell", "model_version"], name="prediction_unique"),
        )

    def __str__(self) -> str:
        return f"{self.label} ({self.confidence:.2f})"


class Review(models.Model):
    """What a person says a cell is. Only ever added: the newest one of a cell counts."""

    cell = models.ForeignKey(Cell, on_delete=models.PROTECT, related_name="reviews")
    label = models.CharField(max_length=60)
    prediction = models.ForeignKey(
        Prediction,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="what the model said when the person answered",
    )
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(default=timezone.now, db_index=True, editable=False)

    objects = AppendOnlyQuerySet["Review"].as_manager()

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.label} by {self.by}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise AppendOnlyError("Review rows are never changed.")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise AppendOnlyError("Review rows are never deleted.")


class WatchAlert(models.Model):
    """A figure of a model left its band at a site in a week; see docs/watching.md."""

    class Measure(models.TextChoices):
        OVERRIDE = "override", "Answers that people changed"
        CONFIDENCE = "confidence", "Mean confidence"
        UNFAMILIAR = "unfamiliar", "Unfamiliar cells"

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    measure = models.CharField(max_length=12, choices=Measure.choices)
    label = models.CharField(max_length=60, blank=True, help_text="the class; empty: of all")
    week = models.DateField(help_text="its Monday")
    cells = models.PositiveIntegerField()
    value = models.FloatField()
    low = models.FloatField(help_text="of the band")
    high = models.FloatField()
    raised_at = models.DateTimeField(default=timezone.now, editable=False)
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True, help_text="what the person found or did")

    class Meta:
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=["site", "model_version", "measure", "label", "week"],
                name="watch_alert_unique",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_measure_display()} at {self.site}, week of {self.week}"
