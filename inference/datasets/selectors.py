"""Reads of datasets: of the sites of the person who asks, and of no site of ours."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Prefetch, Q, QuerySet

from accounts.models import User
from accounts.permissions import Permission, has_permission
from accounts.selectors import sites_for
from hematovision.files import store
from inference.models import Dataset, DatasetImage, DatasetUpload, DatasetVersion

if TYPE_CHECKING:
    from inference.ml.data import Listing
    from inference.ml.finder import Box


def datasets_for(person: User) -> QuerySet[Dataset]:
    """Every page about datasets starts here."""
    if not has_permission(person, Permission.MANAGE_DATASETS):
        return Dataset.objects.none()
    return Dataset.objects.filter(Q(site=None) | Q(site__in=sites_for(person)))


def datasets_in_use_for(person: User) -> QuerySet[Dataset]:
    """Those that may get a new version."""
    return datasets_for(person).filter(retired_at=None)


def versions_for(person: User) -> QuerySet[DatasetVersion]:
    return DatasetVersion.objects.filter(dataset__in=datasets_for(person)).select_related(
        "dataset__site", "job", "created_by"
    )


def ready_versions_for(person: User) -> QuerySet[DatasetVersion]:
    return versions_for(person).filter(ready_at__isnull=False)


def versions_to_train_on_for(person: User) -> QuerySet[DatasetVersion]:
    return ready_versions_for(person).filter(dataset__retired_at=None)


def images_for(person: User) -> QuerySet[DatasetImage]:
    return DatasetImage.objects.filter(version__in=ready_versions_for(person)).select_related(
        "version__dataset", "stored_image"
    )


def uploads_for(person: User) -> QuerySet[DatasetUpload]:
    """Archives that are on their way or were imported: whoever manages datasets sees them."""
    if not has_permission(person, Permission.MANAGE_DATASETS):
        return DatasetUpload.objects.none()
    return DatasetUpload.objects.select_related("created_by")


def open_uploads_for(person: User) -> QuerySet[DatasetUpload]:
    """Those that were begun and are not whole yet."""
    return uploads_for(person).filter(version=None).order_by("-touched_at")


def datasets_with_versions_for(person: User) -> QuerySet[Dataset]:
    """Datasets for the list, each with its versions, the newest first."""
    versions = DatasetVersion.objects.defer("origin").select_related("job").order_by("-number")
    return (
        datasets_for(person)
        .select_related("site")
        .prefetch_related(Prefetch("versions", queryset=versions))
    )


@dataclass(frozen=True)
class SameCells:
    """Keys of the images of a version that are the same cell of the same file as another.

    ``contradicting`` stand under several classes; ``copies`` are all but the first of a class.
    """

    contradicting: list[int]
    copies: list[int]


def same_cells(version: DatasetVersion) -> SameCells:
    rows = version.images.order_by("pk").values_list("pk", "stored_image", "box", "label")
    labels: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for pk, stored_image, box, label in rows:
        labels[stored_image, str(box)][label].append(pk)
    contradicting, copies = [], []
    for by_label in labels.values():
        for pks in by_label.values():
            if len(by_label) > 1:
                contradicting += pks
            else:
                copies += pks[1:]
    return SameCells(contradicting, copies)


def listing_of(
    versions: Sequence[DatasetVersion],
    class_map: Mapping[str, str] | None = None,
    *,
    disputed: set[tuple[str, Box | None]] | None = None,
) -> Listing:
    """The labelled cells of ready versions, for the machine-learning core.

    Items name the dataset without the version's number: a photograph is the same in every version
    of it, and a model that was trained on one has seen those of the others. What is in several
    versions counts once; identical files are of one photograph.

    Args:
        versions: ready ones.
        class_map: from a label of the data to that of the model; "" leaves the label out. A label
            that is not in it stays as it is.
        disputed: where it is given, cells that are in two classes are left out, and put into it.

    Raises:
        inference.ml.data.DataError: a cell is in two classes, or there is none.
    """
    from inference.ml.data import DataError, Item, make_listing
    from inference.ml.finder import Box

    class_map = class_map or {}
    rows = (
        DatasetImage.objects.filter(version__in=versions)
        .order_by("version", "pk")
        .values_list(
            "version__dataset__name",
            "file_name",
            "label",
            "group",
            "part",
            "box",
            "stored_image__sha256",
        )
    )
    items: dict[tuple[str, Box | None], Item] = {}
    for dataset, name, given, group, part, box, sha256 in rows.iterator(chunk_size=5000):
        label = class_map.get(given, given)
        if not label:
            continue
        item = Item(
            path=store.path_of(sha256),
            dataset=dataset,
            label=label,
            group=f"{dataset}:{group or sha256[:12]}",
            sha256=sha256,
            box=Box(*box) if box else None,
            part=part,
            name=name,
        )
        known = items.setdefault(item.key, item)
        if known.label != label and disputed is not None:
            disputed.add(item.key)
        elif known.label != label:
            raise DataError(
                f"{known.shown} of {known.dataset} and {name} of {dataset} are the same cell in "
                f"two classes, {known.label} and {label}. Make a version without one of them."
            )
    for key in disputed or ():
        del items[key]
    if not items:
        raise DataError("No picture is left. Choose other datasets or keep more classes.")
    unknown = sorted({v.dataset.name for v in versions if not v.groups_known})
    return make_listing(items.values(), groups_unknown=unknown)
