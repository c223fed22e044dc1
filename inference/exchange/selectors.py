"""Reads of exports and imports. A model holds no patient's data: who may see models sees these."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from inference.ml.bundle import KERAS_NAME
from inference.models import EdgeExport, KerasImport, ModelVersion

SUMMARY_NAME = "edge.json"  # of `inference.ml.edge`, which a web process does not import


@dataclass(frozen=True)
class Edge:
    """What a version's page shows of its export: what is there, what is under way, what hinders."""

    done: EdgeExport | None
    pending: EdgeExport | None
    hindrance: str


def edge_of(version: ModelVersion) -> Edge:
    exports = EdgeExport.objects.filter(model_version=version).select_related("job")
    newest = exports.first()
    return Edge(
        done=exports.exclude(figures={}).first(),
        pending=newest if newest and not newest.figures else None,
        hindrance=edge_hindrance(version),
    )


def edge_hindrance(version: ModelVersion) -> str:
    """Why there can be no classifiers of this version for small devices, or ""."""
    if not version.card.get("unfamiliarity"):
        return (
            "This model was trained elsewhere, and nothing is known of the pictures that it was "
            "trained with: classifiers for small devices could be neither made nor measured."
        )
    if KERAS_NAME not in version.card.get("files", {}):
        return f"This model holds no {KERAS_NAME}, from which other forms are made."
    return ""


def edge_exports() -> QuerySet[EdgeExport]:
    return EdgeExport.objects.select_related("model_version", "job")


def edge_files(export: EdgeExport) -> list[str]:
    """Names of the files that can be downloaded."""
    names = export.figures.get("files")
    return [*names, SUMMARY_NAME] if names else []


def edge_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Of both files and of the served model: size, time, and accuracy on each set."""
    if not figures:
        return []
    measured = figures["measured"]
    return [
        {
            "name": name,
            "words": words,
            "file": measured["files"].get(name),
            "sets": [one[name] for one in measured["sets"]],
        }
        for name, words in (
            ("fp32", "32-bit floating point"),
            ("int8", "8-bit integers"),
            ("served", "the served model"),
        )
    ]


def keras_imports() -> QuerySet[KerasImport]:
    return KerasImport.objects.select_related("job", "model_version", "created_by")
