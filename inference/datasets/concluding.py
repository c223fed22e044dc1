"""The end of a version's job: look at the data, keep the pictures, make the version ready."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from accounts import audit
from hematovision.files import store
from hematovision.files.gate import open_upright
from hematovision.files.models import StoredImage
from hematovision.files.pictures import jpeg
from inference.datasets.looking import MANIFEST_NAME
from inference.datasets.records import Found, Record, box_of
from inference.jobs import queue
from inference.jobs.kinds import Cancelled
from inference.ml.datasets import manifest, report
from inference.ml.datasets.explore import Exploration, summarise
from inference.models import DatasetImage, DatasetVersion, Job, LeftOutFile

if TYPE_CHECKING:
    from inference.jobs.child import Running

ROWS_AT_ONCE = 500  # of one transaction, so that nobody waits long for the database
LEFT_OUT_KEPT = 5000  # rows; the summary counts the rest
SAMPLE_SIDE = 160  # pixels, in the saved report


def conclude(
    running: Running, version: DatasetVersion, found: Found, staging: store.Staging
) -> None:
    """Make the version ready with what was found. Idempotent."""
    running.report("Looking at the data", 0, 1, f"{len(found.records):,} pictures read.")
    exploration = _explore(found)
    running.check_stop()
    manifest_sha256 = _write_folder(version, found, exploration, staging)
    running.check_stop()
    staging.move_in()
    _write_rows(running, version, found.records)
    with running.result():
        _make_ready(version, found, exploration, manifest_sha256)


def _explore(found: Found) -> Exploration:
    return summarise(
        [record.entry for record in found.records],
        [record.facts for record in found.records],
        left_out=found.left_out,
        notes=found.notes,
    )


def _write_folder(
    version: DatasetVersion, found: Found, exploration: Exploration, staging: store.Staging
) -> str:
    """Report, plots and manifest, in one go; returns the manifest's hash."""
    listed = manifest.to_bytes(record.entry for record in found.records)
    new = version.folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    thumbnails = _thumbnails(found.records, exploration, staging)
    report.write(exploration, thumbnails, title=str(version), out=new)
    (new / MANIFEST_NAME).write_bytes(listed)
    shutil.rmtree(version.folder, ignore_errors=True)
    new.rename(version.folder)
    return hashlib.sha256(listed).hexdigest()


def _thumbnails(
    records: Sequence[Record], exploration: Exploration, staging: store.Staging
) -> dict[str, bytes]:
    shown = {position for positions in exploration["samples"].values() for position in positions}
    files = {records[position].entry.sha256 for position in shown}
    return {sha256: jpeg(open_upright(staging.read(sha256), side=SAMPLE_SIDE)) for sha256 in files}


def _write_rows(running: Running, version: DatasetVersion, records: Sequence[Record]) -> None:
    """The pictures' rows, in short transactions; nobody sees them before the version is ready."""
    with transaction.atomic():
        _check_claim(running.job)
        version.images.all().delete()  # what an earlier attempt has written
    for start in range(0, len(records), ROWS_AT_ONCE):
        running.report("Writing the rows", start, len(records))
        running.check_stop()
        some = records[start : start + ROWS_AT_ONCE]
        with transaction.atomic():
            _check_claim(running.job)
            stored = _stored_images(some)
            DatasetImage.objects.bulk_create(
                DatasetImage(
                    version=version,
                    stored_image_id=stored[record.entry.sha256],
                    file_name=record.entry.name,
                    label=record.entry.label,
                    group=record.entry.group,
                    part=record.entry.part,
                    box=record.entry.box,
                    facts=record.facts.to_dict(),
                )
                for record in some
            )


def _stored_images(records: Sequence[Record]) -> dict[str, int]:
    """The key of each file's row, which is made where there is none.

    In the order of the hashes: two imports of the same pictures would wait for each other else.
    """
    by_sha256 = {record.entry.sha256: record for record in records}
    StoredImage.objects.bulk_create(
        [
            StoredImage(
                sha256=record.entry.sha256,
                format=record.format,
                width=record.facts.width,
                height=record.facts.height,
                size=record.size,
            )
            for _, record in sorted(by_sha256.items())
        ],
        ignore_conflicts=True,
    )
    rows = StoredImage.objects.filter(sha256__in=by_sha256)
    return dict(rows.values_list("sha256", "pk"))


def _make_ready(
    version: DatasetVersion,
    found: Found,
    exploration: Exploration,
    manifest_sha256: str,
) -> None:
    LeftOutFile.objects.bulk_create(
        (
            LeftOutFile(version=version, file_name=one.name[:400], reason=one.reason[:300])
            for one in found.left_out[:LEFT_OUT_KEPT]
        ),
        batch_size=ROWS_AT_ONCE,
    )
    version.origin = found.origin
    version.manifest_sha256 = manifest_sha256
    version.groups_known = _groups_known(found.records)
    version.summary = _summary(version, found, exploration)
    version.ready_at = timezone.now()
    version.save()
    audit.record(
        audit.Action.DATASET_IMPORTED,
        actor=version.created_by,
        subject=version,
        pictures=len(found.records),
        left_out=len(found.left_out),
        manifest_sha256=manifest_sha256,
    )


def _check_claim(job: Job) -> None:
    """Inside the transaction of a write: another attempt may have taken over meanwhile."""
    if queue.held(job.pk, job.claim).select_for_update().first() is None:
        raise Cancelled


def _groups_known(records: Sequence[Record]) -> bool:
    """Whether no two pictures that teach something can be copies without our knowing.

    A picture in which no cell was found is never cut, so its photograph does not matter.
    """
    return all(
        record.entry.group or (record.entry.box is None and record.facts.box is None)
        for record in records
    )


def _summary(version: DatasetVersion, found: Found, exploration: Exploration) -> dict[str, Any]:
    """What lists of versions show; the rest is in the saved report."""
    entries = [record.entry for record in found.records]
    return {
        "pictures": len(entries),
        "photographs": exploration["photographs"],
        "classes": dict(sorted(Counter(entry.label for entry in entries).items())),
        "left_out": len(found.left_out),
        "sentences": exploration["sentences"],
        "compared": _compared(version, found.records),
    }


def _compared(version: DatasetVersion, records: Sequence[Record]) -> dict[str, Any] | None:
    """What differs from the version before, by what the pictures are and not by their names."""
    before = (
        version.dataset.versions.filter(ready_at__isnull=False, number__lt=version.number)
        .order_by("-number")
        .first()
    )
    if before is None:
        return None
    rows = before.images.values_list("stored_image__sha256", "box", "label")
    old, new = defaultdict(list), defaultdict(list)
    for sha256, box, label in rows:
        old[sha256, box_of(box)].append(label)
    for record in records:
        new[record.entry.sha256, record.entry.box].append(record.entry.label)
    more = {key: len(new.get(key, [])) - len(old.get(key, [])) for key in old.keys() | new.keys()}
    same_number = [key for key, number in more.items() if number == 0]
    return {
        "number": before.number,
        "added": sum(number for number in more.values() if number > 0),
        "removed": -sum(number for number in more.values() if number < 0),
        "other_class": sum(sorted(old[key]) != sorted(new[key]) for key in same_number),
    }
