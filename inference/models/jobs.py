"""Long work of the training worker: imports, trainings, comparisons, exports. One kind of row."""

import uuid
from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone


class Job(models.Model):
    """Work that a child process of the training worker does. The row is the truth of it.

    What the work is about lies in the row that points here (a dataset version, a training run);
    ``claim`` is the token of the newest claim: whoever writes must hold it.
    """

    LOG_NAME = "log.txt"

    class Kind(models.TextChoices):
        DATASET_IMPORT = "dataset_import", "Import of a dataset"
        TRAINING = "training", "Training"
        COMPARISON = "comparison", "Comparison of two models"
        SITE_VALIDATION = "site_validation", "Validation at a site"
        ADAPTATION = "adaptation", "Adaptation to a site"
        EDGE_EXPORT = "edge_export", "Export for edge devices"
        KERAS_IMPORT = "keras_import", "Import of a Keras model"

    class Status(models.TextChoices):
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"

    class Stop(models.TextChoices):
        NOTHING = "", "Go on"
        FINISH = "finish", "Finish with what there is"
        CANCEL = "cancel", "Cancel"

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    stop = models.CharField(
        max_length=10, choices=Stop.choices, blank=True, help_text="what a person asked for"
    )
    due_at = models.DateTimeField(default=timezone.now, help_text="not to be claimed before")
    attempt = models.PositiveSmallIntegerField(
        default=0, help_text="how often it was begun since it last got further"
    )
    claim = models.UUIDField(null=True)
    worker = models.CharField(max_length=120, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    stage = models.CharField(max_length=40, blank=True)
    steps_done = models.PositiveIntegerField(default=0)
    steps_total = models.PositiveIntegerField(default=0)
    message = models.CharField(max_length=500, blank=True, help_text="the newest line of the log")
    error = models.CharField(max_length=1000, blank=True)
    peak_memory_mb = models.PositiveIntegerField(null=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True)
    stage_started_at = models.DateTimeField(null=True)
    stage_started_with = models.PositiveIntegerField(
        default=0, help_text="steps of the stage that an earlier attempt has done"
    )
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("-pk",)
        indexes = (models.Index(fields=["status", "due_at"], name="job_queue"),)

    def __str__(self) -> str:
        return f"{self.get_kind_display()}, job {self.pk}"

    @property
    def is_over(self) -> bool:
        return self.status in (Job.Status.DONE, Job.Status.FAILED, Job.Status.CANCELLED)

    @property
    def folder(self) -> Path:
        """The job's own folder: its log, its checkpoints, what it makes before that is kept."""
        return Path(settings.MEDIA_ROOT) / "jobs" / str(self.uuid)

    @property
    def log_path(self) -> Path:
        return self.folder / self.LOG_NAME
