"""Writes of datasets. A version is begun here; its job makes it ready, and nothing changes it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from accounts import audit
from accounts.models import Site, User
from hematovision.files.models import StoredImage
from inference.jobs import queue
from inference.models import Dataset, DatasetVersion, Job


@dataclass(frozen=True, slots=True)
class LabelledCell:
    """A cell that a person has named.

    ``box`` is x, y, width and height in pixels of the upright picture; None: its main cell.
    ``group`` is what a split must not divide (the source photograph, or the patient); "": unknown.
    """

    stored_image: StoredImage
    box: tuple[int, int, int, int] | None
    label: str
    group: str
    file_name: str


@transaction.atomic
def dataset_create(
    *,
    name: str,
    description: str = "",
    licence: str = "",
    site: Site | None = None,
    by: User | None,
) -> Dataset:
    """Make a dataset without any version.

    Raises:
        ValidationError: the name is taken or malformed.
    """
    dataset = Dataset(name=name, description=description, licence=licence, site=site, created_by=by)
    dataset.full_clean(exclude=["created_by"])  # the command line has no person
    dataset.save()
    audit.record(
        audit.Action.DATASET_CREATED, actor=by, subject=dataset, site=site.name if site else None
    )
    return dataset


@transaction.atomic
def dataset_version_from_path(
    *,
    path: Path,
    table: Path | None,
    name: str,
    licence: str = "",
    description: str = "",
    by: User | None = None,
) -> DatasetVersion:
    """Make the next version of a dataset from a folder or a ZIP archive on the server.

    Raises:
        ValidationError: there is no such folder, archive or table.
    """
    for place in (path, table):
        if place is not None and not place.exists():
            raise ValidationError(f"There is no {place}.")
    dataset = Dataset.objects.filter(name=name).first()
    if dataset is None:
        dataset = dataset_create(name=name, licence=licence, description=description, by=by)
    source = DatasetVersion.Source
    return version_begin(
        dataset=dataset,
        source=source.FOLDER if path.is_dir() else source.ZIP,
        origin={
            "path": str(path.resolve()),
            **({"table": str(table.resolve())} if table is not None else {}),
        },
        by=by,
    )


@transaction.atomic
def dataset_update(*, dataset: Dataset, licence: str, description: str, by: User) -> None:
    """Change what is said of a dataset. Its name stands in models, and stays."""
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    before = {"licence": dataset.licence, "description": dataset.description}
    dataset.licence = licence
    dataset.description = description
    dataset.full_clean(exclude=["created_by"])
    dataset.save()
    audit.record(audit.Action.DATASET_CHANGED, actor=by, subject=dataset, before=before)


@transaction.atomic
def dataset_retire(*, dataset: Dataset, by: User) -> None:
    """Use a dataset no more: nothing is trained or measured with it, and it gets no version.

    What was made with it stays as it is; a training that has begun goes on.
    """
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.retired_at is None:
        dataset.retired_at = timezone.now()
        dataset.save(update_fields=["retired_at"])
        audit.record(audit.Action.DATASET_CHANGED, actor=by, subject=dataset, change="retired")


@transaction.atomic
def dataset_restore(*, dataset: Dataset, by: User) -> None:
    """Use a retired dataset again."""
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.retired_at is not None:
        dataset.retired_at = None
        dataset.save(update_fields=["retired_at"])
        audit.record(audit.Action.DATASET_CHANGED, actor=by, subject=dataset, change="brought back")


@transaction.atomic
def dataset_version_from_cells(
    *, dataset: Dataset, cells: Iterable[LabelledCell], by: User | None
) -> DatasetVersion:
    """Make a version of exactly these cells, whose pictures are in the store already.

    It is ready when its job has measured them (`DatasetVersion.ready_at`, `job`).

    Raises:
        ValidationError: there are none, a class has the name of a flag, or a cell has two labels.
    """
    cells = list(cells)
    if not cells:
        raise ValidationError("There are no cells to make a version of.")
    check_labels({cell.label for cell in cells})
    labels: dict[tuple[int, tuple[int, int, int, int] | None], str] = {}
    for cell in cells:
        if labels.setdefault((cell.stored_image.pk, cell.box), cell.label) != cell.label:
            raise ValidationError(f"A cell of {cell.file_name} has two labels. Decide on one.")
    return version_begin(
        dataset=dataset,
        source=DatasetVersion.Source.CORRECTIONS,
        origin={
            "cells": [
                {
                    "stored_image": cell.stored_image.pk,
                    "box": cell.box,
                    "label": cell.label,
                    "group": cell.group,
                    "file_name": cell.file_name,
                }
                for cell in cells
            ]
        },
        by=by,
    )


@transaction.atomic
def dataset_version_edit(
    *,
    parent: DatasetVersion,
    labels: Mapping[str, str],
    left_out: Iterable[int] = (),
    by: User | None,
) -> DatasetVersion:
    """Make a version from another one, with other class names or without some pictures.

    Args:
        parent: a ready version.
        labels: from a label of the parent to its new name; "" leaves the class out. A label that
            is not in it stays.
        left_out: keys of the parent's `DatasetImage` rows that the new version does not have.

    Raises:
        ValidationError: nothing would change, nothing would be left, or a name cannot be used.
    """
    if parent.ready_at is None:
        raise ValidationError("This version is not ready yet. Wait for the end of its import.")
    present = set(parent.images.values_list("label", flat=True).distinct())
    changes = {old: new for old, new in labels.items() if old in present and new != old}
    dropped = sorted(parent.images.filter(pk__in=set(left_out)).values_list("pk", flat=True))
    if not changes and not dropped:
        raise ValidationError("Nothing is changed, so there is nothing to make a version of.")
    check_labels({new for new in changes.values() if new})
    gone = [old for old, new in changes.items() if not new]
    if not parent.images.exclude(label__in=gone).exclude(pk__in=dropped).exists():
        raise ValidationError("No picture would be left. Keep at least one class.")
    return version_begin(
        dataset=parent.dataset,
        source=DatasetVersion.Source.EDIT,
        origin={"labels": changes, "left_out": dropped},
        parent=parent,
        by=by,
    )


def check_labels(labels: Iterable[str]) -> None:
    """Refuse names that no class may have.

    Raises:
        ValidationError: a name is that of a flag, too long, or not written as labels are.
    """
    from inference.ml.datasets.layout import label_refused
    from inference.ml.datasets.tables import tidy_label

    for label in labels:
        if label != tidy_label(label):
            raise ValidationError(f"Write the class “{label}” in lower case, with single spaces.")
        if reason := label_refused(label):
            raise ValidationError(reason)


@transaction.atomic
def version_begin(
    *,
    dataset: Dataset,
    source: DatasetVersion.Source,
    origin: dict[str, Any],
    by: User | None,
    parent: DatasetVersion | None = None,
) -> DatasetVersion:
    """Give the dataset its next version, and queue the job that makes it ready.

    Raises:
        ValidationError: the dataset is retired.
    """
    dataset = Dataset.objects.select_for_update().get(pk=dataset.pk)
    if dataset.retired_at is not None:
        raise ValidationError(f"{dataset} is retired. Bring it back first.")
    last = dataset.versions.aggregate(last=Max("number"))["last"] or 0
    version = DatasetVersion.objects.create(
        dataset=dataset,
        number=last + 1,
        source=source,
        origin=origin,
        parent=parent,
        job=queue.job_create(kind=Job.Kind.DATASET_IMPORT, by=by),
        created_by=by,
    )
    audit.record(
        audit.Action.DATASET_VERSION_STARTED,
        actor=by,
        subject=version,
        source=source.value,
        **{name: origin[name] for name in ("name", "path", "size") if name in origin},
        **({"parent": str(parent)} if parent else {}),
    )
    return version
