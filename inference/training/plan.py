"""What a training would be made of and what it would take, told before it is started.

Imports no TensorFlow: the form's page uses it.
"""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from django.conf import settings as django_settings

from inference.cells import cell_class
from inference.datasets.selectors import listing_of
from inference.ml.augment import WIDER
from inference.ml.bundle import BundleError
from inference.ml.data import DataError, Listing
from inference.ml.sides import Dealt, deal, manifests_of
from inference.ml.split import SIDES, Side
from inference.models import Job, ModelVersion, TrainingRun
from inference.training.options import Options, Order, settings_for

FEW_PHOTOGRAPHS = 10  # for testing: the interval of a class's recall is then 40 points wide

# With crops of 128 pixels in batches of 32: seconds of a crop on two cores that do nothing else,
# from the processor time of training steps; memory in MB that was a process's own in these steps,
# and half as much again for the rest of a run; numbers of the network. (docs/training.md)
SECONDS_A_CROP = {
    "mobilenetv2": 0.0068,
    "scratch-cnn": 0.008,
    "vgg16": 0.053,
    "resnet50v2": 0.023,
    "efficientnetv2b0": 0.010,
}
MEMORY_MB = {
    "mobilenetv2": 1600,
    "scratch-cnn": 1300,
    "vgg16": 1800,
    "resnet50v2": 2500,
    "efficientnetv2b0": 2400,
}
MEMORY_OF_TENSORFLOW = 500
NUMBERS = {
    "mobilenetv2": 2.3e6,
    "scratch-cnn": 1.0e6,
    "vgg16": 14.7e6,
    "resnet50v2": 23.6e6,
    "efficientnetv2b0": 5.9e6,
}
MEASURED_SIZE, MEASURED_CORES = 128, 2
SECONDS_A_PICTURE = 0.02  # to find its cell and cut it out
SECONDS_AT_LEAST = 30  # to load TensorFlow, to calibrate, measure and write the model
COPIES_KEPT = 11  # of the network's numbers: two checkpoints of five, and the finished model
BYTES_A_NUMBER = 4


@dataclass(frozen=True)
class ClassPlan:
    """A class of the new model: its pictures, and its photographs on each side."""

    label: str
    is_new: bool
    pictures: int
    photographs: dict[Side, int]


@dataclass(frozen=True)
class Plan:
    """``problem``: why it cannot be trained, in a sentence; the rest is then what is known."""

    problem: str = ""
    warnings: list[str] = field(default_factory=list)
    classes: list[ClassPlan] = field(default_factory=list)
    pictures: int = 0
    photographs: int = 0
    kept: int = 0
    seconds: float = 0
    measured: bool = False
    memory_mb: int = 0
    disk_mb: int = 0
    free_mb: int = 0


def plan_of(order: Order) -> Plan:
    """Deal the pictures as the training would, and reckon what it takes."""
    try:
        settings = settings_for(
            options=order.options, start=order.start, parent=order.parent, out=Path()
        )
        listing = listing_of(order.versions, order.class_map)
        dealt = deal(listing, settings, manifests_of(settings.keep_sides_of))
    except (BundleError, DataError, ValueError) as error:
        return Plan(problem=str(error))
    options, parent = order.options, order.parent
    classes = _classes(dealt, parent)
    seconds, measured = expected_seconds(options, pictures=len(dealt.items))
    free_mb = shutil.disk_usage(django_settings.MEDIA_ROOT).free // 2**20
    plan = Plan(
        warnings=_warnings(listing, dealt, classes, parent),
        classes=classes,
        pictures=len(dealt.items),
        photographs=len({item.group for item in dealt.items}),
        kept=dealt.kept,
        seconds=seconds,
        measured=measured,
        memory_mb=_memory_mb(options),
        disk_mb=_disk_mb(options, dealt),
        free_mb=max(0, free_mb - django_settings.JOB_FREE_DISK_MB),
    )
    plan.warnings.extend(_lacking(plan))
    return plan


def _classes(dealt: Dealt, parent: ModelVersion | None) -> list[ClassPlan]:
    known = set(parent.classes) if parent else set()
    pictures: dict[str, int] = defaultdict(int)
    photographs: dict[tuple[str, Side], set[str]] = defaultdict(set)
    for item, side in zip(dealt.items, dealt.sides, strict=True):
        pictures[item.label] += 1
        photographs[item.label, side].add(item.group)
    return [
        ClassPlan(
            label,
            is_new=bool(known) and label not in known,
            pictures=pictures[label],
            photographs={side: len(photographs[label, side]) for side in SIDES},
        )
        for label in sorted(pictures)
    ]


def _names(labels: Iterable[str]) -> str:
    return ", ".join(cell_class(label).name.lower() for label in labels)


def _warnings(
    listing: Listing, dealt: Dealt, classes: list[ClassPlan], parent: ModelVersion | None
) -> list[str]:
    warnings = [
        f"The source photographs of {name} are unknown: every file counts as one. If several "
        "files show one cell, one photograph or one patient, the figures will flatter."
        for name in listing.groups_unknown
    ]
    lost = sorted(set(parent.classes if parent else ()) - {each.label for each in classes})
    if lost:
        warnings.append(
            f"The model in use also knows {_names(lost)}. The new one will not, and the gate "
            "before promotion objects to that: add a dataset with such cells."
        )
    untested = [each.label for each in classes if not each.photographs["test"]]
    if untested:
        warnings.append(f"Nothing of {_names(untested)} is left to test with.")
    few = [
        f"{cell_class(each.label).name.lower()} ({each.photographs['test']})"
        for each in classes
        if 0 < each.photographs["test"] < FEW_PHOTOGRAPHS
    ]
    if few:
        warnings.append(
            f"Few photographs to test with: {', '.join(few)}. The figures of these classes will "
            "have wide intervals."
        )
    if dealt.not_tested:
        warnings.append(
            f"{dealt.not_tested} photographs of the given test set are not tested with: an "
            "earlier model was trained on them."
        )
    return warnings


def _lacking(plan: Plan) -> list[str]:
    lacking = []
    if plan.disk_mb > plan.free_mb:
        lacking.append(
            f"The disk will not suffice: about {plan.disk_mb} MB are needed and {plan.free_mb} MB "
            "can be used. Make room first."
        )
    if plan.memory_mb > django_settings.JOB_MEMORY_MB:
        lacking.append(
            f"The memory will probably not suffice: about {plan.memory_mb} MB are needed, and "
            f"JOB_MEMORY_MB allows {django_settings.JOB_MEMORY_MB}. Use smaller crops or batches."
        )
    return lacking


# --- What it takes ---------------------------------------------------------------------------
def expected_seconds(options: Options, *, pictures: int) -> tuple[float, bool]:
    """How long a training takes if nobody else needs the machine, and whether by its own runs."""
    measured = _measured_pace(options)
    reckoned = (
        SECONDS_A_CROP[options.backbone]
        * (options.size / MEASURED_SIZE) ** 2
        * (MEASURED_CORES / (os.cpu_count() or 1))
    )
    a_crop = reckoned if measured is None else measured
    seconds = SECONDS_AT_LEAST + pictures * SECONDS_A_PICTURE
    seconds += options.epochs * options.crops_per_epoch * a_crop
    limit = options.stop_after_minutes
    return (min(seconds, 60 * limit) if limit else seconds), measured is not None


def _measured_pace(options: Options) -> float | None:
    """Seconds for a crop in the last runs of the same network and size on this installation."""
    same = TrainingRun.objects.filter(
        job__status=Job.Status.DONE,
        settings__backbone=options.backbone,
        settings__width=options.width,
        settings__size=options.size,
    )
    paces = [
        record["seconds"] / run.settings["crops_per_epoch"]
        for run in same.order_by("-pk")[:3]
        for record in run.history
        if "training_loss" in record and "seconds" in record
    ]
    return median(paces) if paces else None


def _memory_mb(options: Options) -> int:
    """TensorFlow with a network takes the most of it; larger crops and batches add maps."""
    scale = (options.size / MEASURED_SIZE) ** 2 * options.batch / 32
    rest = MEMORY_MB[options.backbone] - MEMORY_OF_TENSORFLOW
    return round(MEMORY_OF_TENSORFLOW + rest * scale)


def _disk_mb(options: Options, dealt: Dealt) -> int:
    crops = sum(
        len(dealt.of(side)) * (options.size * (WIDER if side == "train" else 1)) ** 2 * 3
        for side in SIDES
    )
    network = COPIES_KEPT * BYTES_A_NUMBER * NUMBERS[options.backbone]
    return round((crops + network) / 2**20) + 1
