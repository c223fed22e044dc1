"""The registry: which model bundles are known, and which of them is in use."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class ModelVersion(models.Model):
    """One immutable bundle, kept in the installation's own folder under its version."""

    version = models.CharField(max_length=80, unique=True)
    sha256 = models.CharField(max_length=64, help_text="of the bundle's card, which holds the rest")
    card = models.JSONField(help_text="the bundle's card.json")
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


class Deployment(models.Model):
    """A model version was put in use. The newest row is the model in use; rows are only added."""

    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="deployments"
    )
    at = models.DateTimeField(default=timezone.now, editable=False)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.model_version} since {self.at:%Y-%m-%d %H:%M}"
