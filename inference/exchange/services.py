"""Writes of exports and imports. The work itself is done by `runners.py`, in a child process."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from inference.exchange.selectors import edge_hindrance
from inference.jobs.queue import job_create
from inference.ml.keras_import.options import Options
from inference.models import EdgeExport, Job, KerasImport, ModelVersion

KEEP_FILE = timedelta(days=7)
"""So long a file waits for its options."""

_ACTIVE = (Job.Status.QUEUED, Job.Status.RUNNING)


@transaction.atomic
def edge_export_start(*, model_version: ModelVersion, by: User | None) -> EdgeExport:
    """Queue the making of classifiers for small devices. What waits or runs already is it.

    Raises:
        ValidationError: there can be none of this version.
    """
    if hindrance := edge_hindrance(model_version):
        raise ValidationError(hindrance)
    ModelVersion.objects.select_for_update(no_key=True).get(pk=model_version.pk)
    pending = EdgeExport.objects.filter(model_version=model_version, job__status__in=_ACTIVE)
    if export := pending.first():
        return export
    export = EdgeExport.objects.create(
        job=job_create(kind=Job.Kind.EDGE_EXPORT, by=by), model_version=model_version
    )
    audit.record(audit.Action.EDGE_EXPORT_STARTED, actor=by, subject=model_version)
    return export


def keras_import_begin(*, file_name: str, chunks: Iterable[bytes], by: User) -> KerasImport:
    """Keep a Keras file that came from outside, and queue the reading of it.

    Raises:
        ValidationError: it is empty or too large.
    """
    forget_files()
    sha256 = _keep(chunks)
    with transaction.atomic():
        row = KerasImport.objects.create(
            job=job_create(kind=Job.Kind.KERAS_IMPORT, by=by),
            file_name=Path(file_name).name[:300],
            file_sha256=sha256,
            created_by=by,
        )
        audit.record(
            audit.Action.KERAS_FILE_RECEIVED,
            actor=by,
            subject=row,
            file_name=row.file_name,
            sha256=sha256,
        )
    return row


@transaction.atomic
def keras_import_tell(*, keras_import: KerasImport, options: Options, by: User) -> KerasImport:
    """Say what a file cannot say itself, and queue the making of the model.

    Raises:
        ValidationError: the file has not been recognised, is gone, is being worked on, or has
            become a model with the same options.
    """
    row = KerasImport.objects.select_for_update().get(pk=keras_import.pk)
    if row.model_version_id is not None:
        raise ValidationError(f"This file has become {row.model_version} already.")
    if not row.recognised or row.job is None or not row.job.is_over:
        raise ValidationError("The file is still being read. Wait until it has been recognised.")
    if not row.path.is_file():
        raise ValidationError("The file is no longer there. Upload it again.")
    if len(options.classes) != row.recognised["classes"]:
        raise ValidationError(f"Name {row.recognised['classes']} classes, in the order of answers.")
    row.options = json.loads(json.dumps(options.to_dict()))
    same = KerasImport.objects.filter(file_sha256=row.file_sha256, options=row.options)
    if known := same.exclude(model_version=None).first():
        raise ValidationError(f"This file with these options is {known.model_version} already.")
    row.job = job_create(kind=Job.Kind.KERAS_IMPORT, by=by)
    row.save(update_fields=["options", "job"])
    audit.record(audit.Action.KERAS_IMPORT_STARTED, actor=by, subject=row, **row.options)
    return row


def forget_files() -> None:
    """Remove files that nobody has told the options of, or that have become a model."""
    waiting = KerasImport.objects.filter(
        model_version=None, created_at__gt=timezone.now() - KEEP_FILE
    )
    kept = set(waiting.values_list("file_sha256", flat=True))
    old = (timezone.now() - timedelta(hours=1)).timestamp()
    for path in KerasImport.folder().glob("*"):
        if path.name not in kept and path.stat().st_mtime < old:
            path.unlink(missing_ok=True)


def _keep(chunks: Iterable[bytes]) -> str:
    """Write a file under its SHA-256: under a name of its own first, flushed, then renamed."""
    folder = KerasImport.folder()
    folder.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".incoming-", delete=False) as target:
        incoming = Path(target.name)
        try:
            for chunk in chunks:
                size += len(chunk)
                if size > settings.MODEL_UPLOAD_MAX_BYTES:
                    raise ValidationError(
                        f"The file is larger than {settings.MODEL_UPLOAD_MAX_BYTES // 2**20} MB "
                        "(MODEL_UPLOAD_MAX_MB). Save the model without its optimizer: "
                        "model.save(…, include_optimizer=False)."
                    )
                digest.update(chunk)
                target.write(chunk)
            if not size:
                raise ValidationError("The file is empty (0 bytes). Choose it again.")
            target.flush()
            os.fsync(target.fileno())
            incoming.rename(folder / digest.hexdigest())
        finally:
            incoming.unlink(missing_ok=True)
    return digest.hexdigest()
