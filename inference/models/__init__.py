"""The tables of the model's life: jobs, datasets, training runs, the registry, sites."""

from inference.models.datasets import (
    Dataset,
    DatasetImage,
    DatasetUpload,
    DatasetVersion,
    LeftOutFile,
)
from inference.models.jobs import Job
from inference.models.registry import (
    Comparison,
    Deployment,
    EdgeExport,
    KerasImport,
    ModelVersion,
)
from inference.models.sites import SiteValidation
from inference.models.training import TrainingRun

__all__ = [
    "Comparison",
    "Dataset",
    "DatasetImage",
    "DatasetUpload",
    "DatasetVersion",
    "Deployment",
    "EdgeExport",
    "Job",
    "KerasImport",
    "LeftOutFile",
    "ModelVersion",
    "SiteValidation",
    "TrainingRun",
]
