"""Datasets: named, in immutable versions, their pictures in the content-addressed store."""

import uuid
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import Site
from hematovision.files.models import StoredImage
from inference.models.jobs import Job


class ImmutableError(RuntimeError):
    """Somebody tried to change or delete what a training may have used."""


class Dataset(models.Model):
    """Labelled pictures under one name; what is in it lies in its versions."""

    name = models.CharField(max_length=80, unique=True)
    description = models.TextField(blank=True, max_length=2000)
    licence = models.CharField(max_length=200, blank=True, help_text="for the model card")
    site = models.ForeignKey(
        Site,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="datasets",
        help_text="whose cells they are; empty: of no site of ours",
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False, help_text="not used since")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class DatasetVersion(models.Model):
    """An immutable list of labelled pictures, from the end of its import on."""

    class Source(models.TextChoices):
        ZIP = "zip", "Uploaded ZIP archive"
        FOLDER = "folder", "Folder on the server"
        CORRECTIONS = "corrections", "People's corrections"
        EDIT = "edit", "Change of an earlier version"

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    source = models.CharField(max_length=12, choices=Source.choices)
    parent = models.ForeignKey("self", null=True, on_delete=models.PROTECT, related_name="+")
    origin = models.JSONField(default=dict, help_text="what it is made from, beside its source")
    job = models.OneToOneField(
        Job, null=True, on_delete=models.PROTECT, related_name="dataset_version"
    )
    ready_at = models.DateTimeField(null=True, help_text="when its import ended; immutable since")
    manifest_sha256 = models.CharField(max_length=64, blank=True)
    groups_known = models.BooleanField(default=False, help_text="source photographs were told")
    summary = models.JSONField(default=dict, help_text="counts, findings, warnings")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("dataset", "-number")
        constraints = (
            models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_unique"),
        )

    def __str__(self) -> str:
        return f"{self.dataset} v{self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            _refuse_if_ready(self.pk)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        _refuse_if_ready(self.pk)
        return super().delete(*args, **kwargs)

    @property
    def folder(self) -> Path:
        """Its report, plots and manifest, written by its job."""
        return Path(settings.MEDIA_ROOT) / "datasets" / str(self.pk)


def _refuse_if_ready(pk: int) -> None:
    if DatasetVersion.objects.filter(pk=pk, ready_at__isnull=False).exists():
        raise ImmutableError("A ready version never changes: make a new one.")


class DatasetImage(models.Model):
    """A labelled picture (or a labelled cell of one, with its box) of a version."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="images")
    stored_image = models.ForeignKey(StoredImage, on_delete=models.PROTECT, related_name="+")
    file_name = models.CharField(max_length=400, help_text="as it was called; text only")
    label = models.CharField(max_length=60)
    group = models.CharField(max_length=400, blank=True, help_text="source photograph")
    part = models.CharField(max_length=10, blank=True, help_text="train or test, as uploaded")
    box = models.JSONField(
        null=True, help_text="[x, y, width, height] of the cell; null: main cell"
    )
    facts = models.JSONField(default=dict, help_text="what was measured of the picture")

    class Meta:
        ordering = ("version", "pk")
        indexes = (models.Index(fields=["version", "label"], name="dataset_image_label"),)

    def __str__(self) -> str:
        return f"{self.file_name} ({self.label})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        _refuse_if_ready(self.version_id)
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        _refuse_if_ready(self.version_id)
        return super().delete(*args, **kwargs)

    @property
    def short_name(self) -> str:
        """The file's own name, without its folders."""
        return self.file_name.rsplit("/", 1)[-1]


class LeftOutFile(models.Model):
    """A file of an import that is not in the version, and why."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.CASCADE, related_name="left_out")
    file_name = models.CharField(max_length=400)
    reason = models.CharField(max_length=300)

    class Meta:
        ordering = ("version", "pk")

    def __str__(self) -> str:
        return f"{self.file_name}: {self.reason}"


class DatasetUpload(models.Model):
    """An archive on its way, sent in pieces; a broken connection goes on where it stopped."""

    uuid = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    file_name = models.CharField(max_length=300)
    size = models.PositiveBigIntegerField(help_text="bytes, as announced")
    last_modified = models.BigIntegerField(help_text="milliseconds, as the browser tells")
    received = models.PositiveBigIntegerField(default=0, help_text="bytes on disk")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    touched_at = models.DateTimeField(default=timezone.now, help_text="when the last piece came")
    version = models.OneToOneField(
        DatasetVersion, null=True, on_delete=models.SET_NULL, related_name="upload"
    )

    def __str__(self) -> str:
        return f"{self.file_name} ({self.received} of {self.size} bytes)"

    @property
    def path(self) -> Path:
        """The archive: on the disk of the store, away from it until it is whole and imported."""
        return Path(settings.MEDIA_ROOT) / "incoming" / "datasets" / str(self.uuid)

    @property
    def table_path(self) -> Path:
        """The table of labels or source photographs that was sent beside it, if one was."""
        return self.path.with_suffix(".csv")
