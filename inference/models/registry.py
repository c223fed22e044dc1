"""The registry: which model bundles are known, how they compare, which one serves which site."""

from pathlib import Path

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import Site
from inference.models.jobs import Job


class ModelVersion(models.Model):
    """One immutable bundle, kept in the installation's own folder under its version."""

    class Origin(models.TextChoices):
        SHIPPED = "shipped", "Came with the program"
        TRAINED = "trained", "Trained here"
        ADAPTED = "adapted", "Adapted to a site"
        IMPORTED = "imported", "Imported"

    version = models.CharField(max_length=80, unique=True)
    sha256 = models.CharField(max_length=64, help_text="of the bundle's card, which holds the rest")
    card = models.JSONField(help_text="the bundle's card.json")
    origin = models.CharField(max_length=10, choices=Origin.choices, default=Origin.IMPORTED)
    parent = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.PROTECT,
        related_name="children",
        help_text="the model that it was made from",
    )
    registered_at = models.DateTimeField(default=timezone.now, editable=False)
    registered_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-registered_at",)

    def __str__(self) -> str:
        return self.version

    @property
    def classes(self) -> list[str]:
        return list(self.card["classes"])


class Comparison(models.Model):
    """A candidate beside the model in use, on pictures that neither was trained on: the gate."""

    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="comparison")
    candidate = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="comparisons"
    )
    baseline = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    dataset_versions = models.ManyToManyField("inference.DatasetVersion", related_name="+")
    passed = models.BooleanField(null=True, help_text="null: not known yet")
    result = models.JSONField(default=dict, help_text="checks and figures")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.candidate} beside {self.baseline}"


class Deployment(models.Model):
    """A model version was put in use. The newest row of a scope counts; rows are only added.

    Without a site it is the default for all. A site's row without a model version gives the
    site back to the default.
    """

    model_version = models.ForeignKey(
        ModelVersion, null=True, on_delete=models.PROTECT, related_name="deployments"
    )
    site = models.ForeignKey(Site, null=True, on_delete=models.PROTECT, related_name="deployments")
    reason = models.CharField(max_length=500, blank=True)
    override_reason = models.CharField(
        max_length=500, blank=True, help_text="why, although the gate was not passed"
    )
    comparison = models.ForeignKey(
        Comparison, null=True, on_delete=models.PROTECT, related_name="deployments"
    )
    went_back = models.BooleanField(default=False, help_text="it undid the change before it")
    at = models.DateTimeField(default=timezone.now, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.model_version} since {self.at:%Y-%m-%d %H:%M}"


class EdgeExport(models.Model):
    """TFLite classifiers of a version for edge devices, with what was measured of them."""

    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="edge_export")
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="edge_exports"
    )
    figures = models.JSONField(default=dict, help_text="the export's edge.json")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Edge export of {self.model_version}"

    @property
    def folder(self) -> Path:
        """Where the classifiers are kept."""
        return Path(settings.MEDIA_ROOT) / "edge" / str(self.pk)


class KerasImport(models.Model):
    """A plain Keras classifier on its way into the registry, and what a person said of it."""

    job = models.OneToOneField(
        Job, null=True, on_delete=models.PROTECT, related_name="keras_import"
    )
    file_name = models.CharField(max_length=300)
    file_sha256 = models.CharField(max_length=64)
    recognised = models.JSONField(default=dict, help_text="what the file says of its network")
    options = models.JSONField(default=dict, help_text="class order, scale and colours")
    model_version = models.OneToOneField(
        ModelVersion, null=True, on_delete=models.PROTECT, related_name="keras_import"
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.file_name

    @staticmethod
    def folder() -> Path:
        """Where files wait until they have become a model."""
        return Path(settings.MEDIA_ROOT) / "keras"

    @property
    def path(self) -> Path:
        return self.folder() / self.file_sha256
