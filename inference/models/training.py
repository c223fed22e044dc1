"""Training runs."""

from django.db import models

from inference.models.datasets import DatasetVersion
from inference.models.jobs import Job
from inference.models.registry import ModelVersion


class TrainingRun(models.Model):
    """A retraining that an admin asked for: what it was told, how it went, what came of it."""

    class Start(models.TextChoices):
        ACTIVE = "active", "The model in use"
        IMAGENET = "imagenet", "ImageNet weights"
        SCRATCH = "scratch", "Random weights"

    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="training_run")
    dataset_versions = models.ManyToManyField(DatasetVersion, related_name="training_runs")
    start = models.CharField(max_length=10, choices=Start.choices, default=Start.ACTIVE)
    parent = models.ForeignKey(
        ModelVersion,
        null=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="the model that training went on from, and whose test set stays locked",
    )
    class_map = models.JSONField(default=dict, help_text="label of the data to label of the model")
    settings = models.JSONField(default=dict, help_text="everything else the run was told")
    history = models.JSONField(default=list, help_text="losses and accuracies by epoch")
    model_version = models.OneToOneField(
        ModelVersion, null=True, on_delete=models.PROTECT, related_name="training_run"
    )

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return f"Training {self.pk}"
