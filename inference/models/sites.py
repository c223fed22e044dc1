"""What a site has found out about a model with cells of its own."""

from django.conf import settings
from django.db import models
from django.utils import timezone

from accounts.models import Site
from inference.models.datasets import DatasetVersion
from inference.models.jobs import Job
from inference.models.registry import ModelVersion


class SiteValidation(models.Model):
    """A model measured on a site's own labelled cells; valid once a person has accepted it."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="validations")
    model_version = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="validations"
    )
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="site_validation")
    figures = models.JSONField(default=dict, help_text="measured on the site's cells")
    curve = models.JSONField(default=list, help_text="learning curve of an adaptation")
    adaptation = models.OneToOneField(
        Job, null=True, on_delete=models.PROTECT, related_name="adaptation_of"
    )
    adapted = models.OneToOneField(
        ModelVersion, null=True, on_delete=models.PROTECT, related_name="adapted_for"
    )
    accepted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    accepted_at = models.DateTimeField(null=True)
    acceptance = models.CharField(max_length=500, blank=True, help_text="the person's words")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"{self.model_version} at {self.site}"

    @property
    def verdict(self) -> str:
        """See `inference.sites.verdict`; "" while the model is being measured."""
        return str(self.figures.get("verdict", ""))

    @property
    def is_against_verdict(self) -> bool:
        """Whether a person has accepted a model that was not found fit."""
        return self.accepted_at is not None and self.verdict != "fit"
