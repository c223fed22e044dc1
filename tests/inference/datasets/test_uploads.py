"""An archive's way to the server in pieces: gone on with, bounded, cleaned up."""

import errno
import fcntl
import os
import shutil
import time
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import UnreadablePostError
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from accounts.models import AuditEvent, User
from hematovision.tasks import care
from inference.datasets import uploads
from inference.datasets.uploads import NewDataset, OffsetError
from inference.models import Dataset, DatasetUpload, DatasetVersion, Job
from tests.factories import DatasetFactory

pytestmark = pytest.mark.django_db

DATA = bytes(range(250)) * 40


def begin(by: User, data: bytes = DATA) -> DatasetUpload:
    return uploads.upload_begin(
        file_name="cells.zip", size=len(data), last_modified=1_700_000_000_000, by=by
    )


def append(upload: DatasetUpload, offset: int, data: bytes) -> int:
    return uploads.piece_append(upload=upload, offset=offset, piece=BytesIO(data), length=len(data))


def whole(by: User) -> DatasetUpload:
    upload = begin(by)
    append(upload, 0, DATA)
    return upload


class BreaksOff:
    """A connection that breaks in the middle of a piece."""

    def __init__(self, data: bytes) -> None:
        self._data = [data]

    def read(self, size: int, /) -> bytes:
        if not self._data:
            raise UnreadablePostError("broken")
        return self._data.pop()


class TestPieces:
    def test_they_are_put_together(self, admin: User) -> None:
        upload = begin(admin)
        assert append(upload, 0, DATA[:4000]) == 4000
        assert append(upload, 4000, DATA[4000:]) == len(DATA)
        assert upload.path.read_bytes() == DATA

    def test_a_piece_at_the_wrong_place_is_told_where_to_go_on(self, admin: User) -> None:
        upload = begin(admin)
        append(upload, 0, DATA[:4000])
        for offset in (0, 3999, 4001):
            with pytest.raises(OffsetError) as error:
                append(upload, offset, b"x" * 10)
            assert error.value.received == 4000
        assert upload.path.read_bytes() == DATA[:4000]

    def test_what_came_before_the_connection_broke_is_kept(self, admin: User) -> None:
        upload = begin(admin)
        piece = BreaksOff(DATA[:1500])
        assert uploads.piece_append(upload=upload, offset=0, piece=piece, length=5000) == 1500
        append(upload, 1500, DATA[1500:])
        assert upload.path.read_bytes() == DATA

    def test_an_upload_that_is_thrown_away_meanwhile(self, admin: User) -> None:
        upload = begin(admin)
        with uploads._locked(upload):  # it is opened, then another person is faster
            DatasetUpload.objects.all().delete()
        with pytest.raises(ValidationError, match="was removed"):
            append(upload, 0, DATA[:1000])
        assert not DatasetUpload.objects.exists()

    def test_bytes_that_nobody_vouched_for_are_written_over(self, admin: User) -> None:
        """A process that was killed in mid-piece leaves more in the file than in the row."""
        upload = begin(admin)
        append(upload, 0, DATA[:1000])
        with upload.path.open("ab") as file:
            file.write(b"torn" * 5000)
        append(upload, 1000, DATA[1000:])
        assert upload.path.read_bytes() == DATA

    def test_the_same_file_goes_on_where_it_stopped(self, admin: User) -> None:
        upload = begin(admin)
        append(upload, 0, DATA[:4000])
        again = begin(admin)
        assert (again.pk, again.received) == (upload.pk, 4000)
        other = uploads.upload_begin(
            file_name="cells.zip", size=len(DATA), last_modified=1_700_000_000_001, by=admin
        )
        assert other.received == 0

    def test_two_pieces_at_once_do_not_mix(self, admin: User) -> None:
        upload = begin(admin)
        with upload.path.open("r+b") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(OffsetError):
                append(upload, 0, DATA)

    @pytest.mark.parametrize("length", [0, len(DATA) + 1, uploads.MOST_PIECE_BYTES + 1])
    def test_a_piece_that_does_not_fit_is_refused(self, admin: User, length: int) -> None:
        upload = begin(admin)
        with pytest.raises(ValidationError, match="does not fit"):
            uploads.piece_append(upload=upload, offset=0, piece=BytesIO(), length=length)

    def test_a_full_disk_loses_nothing_that_arrived(
        self, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        upload = begin(admin)
        append(upload, 0, DATA[:4000])

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr("inference.datasets.uploads.os.fsync", full)
            with pytest.raises(ValidationError, match=r"No space left on device.*goes on there"):
                append(upload, 4000, DATA[4000:])
        upload.refresh_from_db()
        assert upload.received == 4000
        append(upload, 4000, DATA[4000:])
        assert upload.path.read_bytes() == DATA


class TestBegin:
    def test_too_large_for_the_settings(self, admin: User, settings: Settings) -> None:
        settings.DATASET_MAX_BYTES = 1000
        with pytest.raises(ValidationError, match="DATASET_MAX_MB"):
            begin(admin)
        assert not DatasetUpload.objects.exists()

    def test_too_large_for_the_disk(
        self, admin: User, monkeypatch: pytest.MonkeyPatch, settings: Settings
    ) -> None:
        free = settings.JOB_FREE_DISK_MB * 2**20 + len(DATA)
        usage = shutil.disk_usage("/")._replace(free=free)
        monkeypatch.setattr("inference.datasets.uploads.shutil.disk_usage", lambda path: usage)
        with pytest.raises(ValidationError, match="Make room first"):
            begin(admin)
        assert not DatasetUpload.objects.exists()


class TestFinish:
    def test_it_makes_a_dataset_a_version_and_a_job(self, admin: User) -> None:
        target = NewDataset(name="Cells", licence="CC0")
        version = uploads.upload_finish(upload=whole(admin), target=target, by=admin)
        assert (str(version), version.source) == ("Cells v1", DatasetVersion.Source.ZIP)
        assert version.ready_at is None
        assert version.job is not None
        assert version.job.kind == Job.Kind.DATASET_IMPORT
        assert version.dataset.licence == "CC0"
        actions = AuditEvent.objects.order_by("at").values_list("action", flat=True)
        assert list(actions) == ["dataset_created", "dataset_version_started"]

    def test_twice_is_once(self, admin: User) -> None:
        upload = whole(admin)
        versions = {
            uploads.upload_finish(upload=upload, target=NewDataset(name="Cells"), by=admin)
            for _ in range(2)
        }
        assert len(versions) == Job.objects.count() == Dataset.objects.count() == 1

    def test_a_known_dataset_gets_its_next_version(self, admin: User) -> None:
        dataset = DatasetFactory.create()
        for number in (1, 2):
            upload = whole(admin)
            version = uploads.upload_finish(upload=upload, target=dataset, by=admin)
            assert version.number == number

    def test_half_an_archive_is_none(self, admin: User) -> None:
        upload = begin(admin)
        append(upload, 0, DATA[:4000])
        with pytest.raises(ValidationError, match="goes on where it stopped"):
            uploads.upload_finish(upload=upload, target=NewDataset(name="Cells"), by=admin)
        assert not Dataset.objects.exists()

    def test_after_it_no_piece_is_taken(self, admin: User) -> None:
        upload = whole(admin)
        uploads.upload_finish(upload=upload, target=NewDataset(name="Cells"), by=admin)
        with pytest.raises((OffsetError, ValidationError)):
            append(upload, len(DATA) - 1, b"x")


class TestCare:
    def old(self, upload: DatasetUpload) -> None:
        past = timezone.now() - timedelta(hours=25)
        DatasetUpload.objects.filter(pk=upload.pk).update(touched_at=past)
        os.utime(upload.path, (past.timestamp(), past.timestamp()))

    def test_an_abandoned_upload_goes(
        self, admin: User, django_capture_on_commit_callbacks: Any
    ) -> None:
        upload = begin(admin)
        self.old(upload)
        with django_capture_on_commit_callbacks(execute=True):
            care()
        assert not DatasetUpload.objects.exists()
        assert not upload.path.exists()

    def test_a_young_one_stays(self, admin: User) -> None:
        upload = begin(admin)
        care()
        assert upload.path.exists()

    def test_one_that_is_being_imported_stays(self, admin: User) -> None:
        upload = whole(admin)
        version = uploads.upload_finish(upload=upload, target=NewDataset(name="Cells"), by=admin)
        self.old(upload)
        for status in (Job.Status.QUEUED, Job.Status.RUNNING):
            Job.objects.filter(dataset_version=version).update(status=status)
            care()
            assert upload.path.exists()

    @pytest.mark.parametrize("hours", [1, 25])
    def test_after_a_failure_it_stays_for_a_day(self, admin: User, hours: int) -> None:
        upload = whole(admin)
        version = uploads.upload_finish(upload=upload, target=NewDataset(name="Cells"), by=admin)
        self.old(upload)
        Job.objects.filter(dataset_version=version).update(
            status=Job.Status.FAILED, finished_at=timezone.now() - timedelta(hours=hours)
        )
        care()
        assert upload.path.exists() == (hours < 24)

    def test_a_file_without_a_row_goes(self, files_folder: Path) -> None:
        stray = files_folder / "incoming" / "datasets" / "stray"
        stray.parent.mkdir()
        stray.write_bytes(b"x")
        care()
        assert stray.exists()
        os.utime(stray, (time.time() - 90_000,) * 2)
        care()
        assert not stray.exists()


class TestPages:
    """What the page's script sends."""

    def announced(self, client: Client, **values: object) -> Any:
        data = {
            "name": "Cells",
            "file_name": "cells.zip",
            "size": len(DATA),
            "last_modified": 1_700_000_000_000,
            **values,
        }
        return client.post(reverse("inference:dataset_upload"), data)

    def piece(self, client: Client, address: str, offset: int, data: bytes) -> tuple[int, object]:
        response = client.post(
            address,
            data,
            content_type="application/octet-stream",
            headers={"Upload-Offset": str(offset)},
        )
        return response.status_code, response.json()

    def test_from_announcement_to_version(self, client: Client) -> None:
        said = self.announced(client).json()
        assert said["received"] == 0
        assert self.piece(client, said["piece_url"], 0, DATA[:6000]) == (200, {"received": 6000})
        assert self.piece(client, said["piece_url"], 0, DATA[:10]) == (409, {"received": 6000})
        again = self.announced(client).json()
        assert again == {**said, "received": 6000}
        self.piece(client, said["piece_url"], 6000, DATA[6000:])
        for _ in range(2):
            finished = client.post(said["finish_url"], {"name": "Cells"})
            version = DatasetVersion.objects.get()
            assert finished.json() == {"url": f"/datasets/versions/{version.pk}/"}

    def test_the_form_is_checked_before_a_byte_is_sent(self, client: Client) -> None:
        DatasetFactory.create(name="cells")
        taken = self.announced(client)
        assert taken.status_code == 422
        assert "is here already" in taken.json()["error"]
        table = SimpleUploadedFile("labels.csv", b"a;b\n1;2\n")
        bad_table = self.announced(client, name="Other", table=table).json()
        assert "needs a heading" in bad_table["error"]
        assert not DatasetUpload.objects.exists()

    def test_a_piece_needs_the_token_of_its_page(self, admin: User) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(admin)
        address = reverse("inference:dataset_piece", args=[begin(admin).pk])
        assert (
            strict.post(address, b"x", content_type="application/octet-stream").status_code == 403
        )

    def test_without_the_script_a_small_archive_goes_in_one(self, client: Client) -> None:
        archive = SimpleUploadedFile("cells.zip", DATA)
        table = SimpleUploadedFile("labels.csv", b"file,label\na.png,x\n")
        page = client.post(
            reverse("inference:dataset_new"), {"name": "Cells", "archive": archive, "table": table}
        )
        version = DatasetVersion.objects.get()
        assert page.headers["Location"] == f"/datasets/versions/{version.pk}/"
        assert version.upload.path.read_bytes() == DATA
        assert version.upload.table_path.read_bytes().startswith(b"file,label")
        assert version.origin == {"name": "cells.zip", "size": len(DATA), "table": "labels.csv"}

    def test_without_the_script_a_large_one_is_told_what_to_do(
        self, client: Client, settings: Settings
    ) -> None:
        settings.UPLOAD_MAX_BYTES = 1000
        archive = SimpleUploadedFile("cells.zip", DATA)
        page = client.post(reverse("inference:dataset_new"), {"name": "Cells", "archive": archive})
        assert page.status_code == 422
        assert b"import_dataset" in page.content
        assert not Dataset.objects.exists()

    def test_an_open_upload_is_listed_and_thrown_away(self, client: Client, admin: User) -> None:
        upload = whole(admin)
        assert b"Choose the file again" in client.get(reverse("inference:datasets")).content
        client.post(reverse("inference:dataset_discard", args=[upload.pk]))
        assert not DatasetUpload.objects.exists()
        event = AuditEvent.objects.get(action="dataset_upload_discarded")
        assert event.object_label.startswith("cells.zip")
