"""The job that makes a version ready: from archives good and evil, cells, and earlier versions."""

import errno
import gzip
import hashlib
import os
import shutil
import stat
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from pytest_django import Settings

from accounts.models import AuditEvent, User
from hematovision.files import gate, store
from hematovision.files.models import StoredImage
from inference.datasets import finding, importing, traces, uploads
from inference.datasets.concluding import conclude
from inference.datasets.looking import FIGURES_NAME, MANIFEST_NAME, REPORT_NAME
from inference.datasets.records import Journal
from inference.datasets.services import (
    LabelledCell,
    dataset_version_edit,
    dataset_version_from_cells,
    dataset_version_from_path,
)
from inference.datasets.uploads import NewDataset, SentTable
from inference.jobs import child, queue
from inference.jobs.child import Running
from inference.ml.datasets.archive import LeftOut
from inference.ml.datasets.manifest import from_bytes
from inference.models import (
    Dataset,
    DatasetImage,
    DatasetVersion,
    Job,
)
from inference.models.datasets import ImmutableError
from inference.registry.selectors import bundle_folder
from tests.factories import (
    DatasetFactory,
    DatasetVersionFactory,
    JobFactory,
    ModelVersionFactory,
    StoredImageFactory,
    smear,
)
from tests.inference.datasets.conftest import smears, write, zipped

pytestmark = pytest.mark.django_db


def sent(data: bytes, by: User, *, table: bytes | None = None) -> DatasetVersion:
    """A version whose archive has arrived, and whose import is queued."""
    return uploads.archive_upload(
        file_name="cells.zip",
        size=len(data),
        chunks=[data],
        target=Dataset.objects.first() or NewDataset(name="Cells"),
        table=SentTable("labels.csv", table) if table is not None else None,
        by=by,
    )


def work_on(version: DatasetVersion) -> Job:
    """What the training worker does, in this process."""
    job = queue.claim(worker="test")
    assert job is not None
    child.run(job)
    queue.tidy(job)
    version.refresh_from_db()
    job.refresh_from_db()
    return job


def imported(data: bytes, by: User, **options: Any) -> DatasetVersion:
    version = sent(data, by, **options)
    job = work_on(version)
    assert job.status == Job.Status.DONE, job.error
    return version


def failed(data: bytes, by: User, **options: Any) -> str:
    """Import what cannot be; nothing of it may be left; return the sentence."""
    version = sent(data, by, **options)
    job = work_on(version)
    assert job.status == Job.Status.FAILED
    assert version.ready_at is None
    assert_no_trace(version, job)
    return job.error


def assert_no_trace(version: DatasetVersion, job: Job) -> None:
    assert not DatasetImage.objects.filter(version=version).exists()
    assert not StoredImage.objects.exists()
    assert not version.folder.exists()
    assert {path.name for path in job.folder.iterdir()} <= {"log.txt", "progress.json"}
    assert not list(store.path_of("0" * 64).parents[2].glob("*/*/*"))


class TestArchive:
    def test_a_version_is_made(self, admin: User) -> None:
        files = smears(each=3)
        data = zipped(files)
        version = imported(data, admin)
        assert version.ready_at is not None
        rows = version.images.select_related("stored_image")
        told = {(row.file_name, row.label, row.stored_image.sha256) for row in rows}
        assert told == {
            (name, name.split("/")[0].lower(), hashlib.sha256(bytes_).hexdigest())
            for name, bytes_ in files.items()
        }
        for row in rows:
            assert store.read(row.stored_image.sha256) == files[row.file_name]
        assert version.summary["classes"] == {"lymphocyte": 3, "neutrophil": 3}
        assert version.origin["sha256"] == hashlib.sha256(data).hexdigest()
        event = AuditEvent.objects.get(action="dataset_imported")
        assert (event.actor, event.object_label) == (admin, "Cells v1")

    def test_the_manifest_is_that_of_the_rows(self, admin: User) -> None:
        version = imported(zipped(smears()), admin)
        listed = (version.folder / MANIFEST_NAME).read_bytes()
        assert hashlib.sha256(listed).hexdigest() == version.manifest_sha256
        assert len(from_bytes(listed)) == 6
        for name in (REPORT_NAME, FIGURES_NAME):
            assert (version.folder / name).stat().st_size > 0

    def test_nothing_of_the_way_is_left(self, admin: User) -> None:
        version = imported(zipped(smears()), admin)
        assert not version.upload.path.exists()
        assert version.job is not None
        assert [path.name for path in version.job.folder.iterdir()] == ["log.txt"]

    def test_train_and_test_as_in_the_kaggle_archive(self, admin: User) -> None:
        base = "dataset2-master/dataset2-master/images"
        one, other = smears(each=1), smears(("LYMPHOCYTE", "NEUTROPHIL"), each=2)
        files = {f"{base}/TRAIN/{name}": data for name, data in one.items()}
        files |= {f"{base}/TEST/{n}": d for n, d in other.items() if d not in one.values()}
        version = imported(zipped(files), admin)
        parts = version.images.values_list("part", flat=True).distinct()
        assert set(parts) == {"train", "test"}

    def test_source_photographs_by_table(self, admin: User) -> None:
        files = smears(each=2)
        table = "file,group\n" + "".join(f"{name},photo {name[0]}\n" for name in files)
        version = imported(zipped(files), admin, table=table.encode())
        assert version.groups_known
        assert version.summary["photographs"] == 2
        groups = set(version.images.values_list("group", flat=True))
        assert groups == {"photo L", "photo N"}

    def test_what_the_gate_refuses_is_left_out_with_its_reason(self, admin: User) -> None:
        good = smears()
        evil = {
            "NEUTROPHIL/half.png": next(iter(good.values()))[:500],
            "NEUTROPHIL/report.png": b"%PDF-1.7",
        }
        version = imported(zipped({**good, **evil}), admin)
        reasons = dict(version.left_out.values_list("file_name", "reason"))
        assert set(reasons) == set(evil)
        assert "damaged" in reasons["NEUTROPHIL/half.png"]
        assert "PDF" in reasons["NEUTROPHIL/report.png"]
        assert version.images.count() == len(good)
        assert version.summary["left_out"] == 2

    def test_known_pictures_are_stored_once(self, admin: User) -> None:
        imported(zipped(smears(each=2)), admin)
        version = imported(zipped(smears(each=3)), admin)
        assert version.number == 2
        assert StoredImage.objects.count() == 6
        compared = version.summary["compared"]
        assert (compared["number"], compared["removed"]) == (1, 0)


class TestEvilArchives:
    def test_paths_outside_and_links_are_left_out(self, admin: User, files_folder: Path) -> None:
        target = BytesIO(zipped(smears()))
        with zipfile.ZipFile(target, "a") as archive:
            archive.writestr("../../outside.png", smear(99))
            archive.writestr("/etc/absolute.png", smear(98))
            link = zipfile.ZipInfo("NEUTROPHIL/link.png")
            link.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(link, "/etc/passwd")
        version = imported(target.getvalue(), admin)
        assert version.images.count() == 6
        assert version.left_out.count() == 3
        assert not list(files_folder.parent.rglob("outside.png"))

    def test_a_bomb_is_refused(self, admin: User) -> None:
        target = BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(20):
                archive.writestr(f"a/{number}.bmp", bytes(5_000_000))
        assert "ZIP bomb" in failed(target.getvalue(), admin)

    def test_more_than_is_allowed(self, admin: User, settings: Settings) -> None:
        data = zipped(smears())
        version = sent(data, admin)
        settings.DATASET_MAX_BYTES = len(data) // 2
        job = work_on(version)
        assert job.status == Job.Status.FAILED
        assert_no_trace(version, job)

    def test_no_archive(self, admin: User) -> None:
        assert "ZIP" in failed(b"%PDF-1.7 and so on", admin)

    def test_no_picture_that_can_be_used(self, admin: User) -> None:
        reason = failed(zipped({"a/1.png": b"%PDF-1.7", "b/2.png": b"GIF89a"}), admin)
        assert reason.startswith("None of the 2 pictures can be used.")
        assert "PDF" in reason

    def test_no_classes(self, admin: User) -> None:
        assert "folder" in failed(zipped({"1.png": smear(1), "2.png": smear(2)}), admin)

    def test_a_table_of_something_else(self, admin: User) -> None:
        table = b"file,label\nother.png,x\n"
        assert "labels.csv" in failed(zipped(smears()), admin, table=table)

    def test_one_class_is_told_loudly(self, admin: User) -> None:
        version = imported(zipped(smears(("BLAST",))), admin)
        bad = [s["text"] for s in version.summary["sentences"] if s["kind"] == "bad"]
        assert any("class" in text for text in bad), version.summary["sentences"]


class TestBreakingOff:
    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(finding, "AT_ONCE", 2)

    def test_a_full_disk_leaves_nothing_and_can_be_tried_again(
        self, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = sent(zipped(smears()), admin)
        write_one = store.Staging.add

        def full(staging: store.Staging, data: bytes, sha256: str) -> None:
            write_one(staging, data, sha256)
            if len(list(staging._folder.iterdir())) > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(store.Staging, "add", full)
            job = work_on(version)
        assert job.error.startswith("The disk is full.")
        assert_no_trace(version, job)
        queue.job_retry(job=job, by=admin)
        assert work_on(version).status == Job.Status.DONE
        assert version.images.count() == 6

    def test_no_room_is_told_before_the_work(
        self, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = sent(zipped(smears()), admin)
        usage = shutil.disk_usage("/")._replace(free=2**20)
        monkeypatch.setattr("inference.datasets.finding.shutil.disk_usage", lambda path: usage)
        job = work_on(version)
        assert "Make room" in job.error
        assert_no_trace(version, job)

    def test_a_cancelled_import_leaves_nothing(
        self, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = sent(zipped(smears()), admin)
        flush = store.Staging.flush

        def cancel(staging: store.Staging) -> None:
            flush(staging)
            queue.job_stop(job=Job.objects.get(), how=Job.Stop.CANCEL, by=admin)

        monkeypatch.setattr(store.Staging, "flush", cancel)
        monkeypatch.setattr(child, "WRITE_EVERY", 0.0)
        job = work_on(version)
        assert job.status == Job.Status.CANCELLED
        assert_no_trace(version, job)

    def test_the_next_attempt_goes_on(self, admin: User, monkeypatch: pytest.MonkeyPatch) -> None:
        """As after kill -9: the first attempt cannot clean up, and the second reads the rest."""
        version = sent(zipped(smears()), admin)
        read: list[bytes] = []
        decode = gate.inspect_and_decode

        def counted(data: bytes, **limits: int) -> Any:
            read.append(data)
            return decode(data, **limits)

        monkeypatch.setattr(gate, "inspect_and_decode", counted)
        flush = store.Staging.flush
        with monkeypatch.context() as patch:
            flushed: list[int] = []

            def killed(staging: store.Staging) -> None:
                flushed.append(1)
                if len(flushed) == 3:
                    raise KeyboardInterrupt
                flush(staging)

            patch.setattr(store.Staging, "flush", killed)
            patch.setattr(importing, "leave_no_trace", lambda version: None)
            with pytest.raises(KeyboardInterrupt):
                work_on(version)
        job = Job.objects.get()
        queue.give_back(job, "killed")
        read.clear()
        assert work_on(version).status == Job.Status.DONE
        assert len(read) == 2
        assert version.images.count() == StoredImage.objects.count() == 6

    def test_a_torn_line_of_the_journal_is_dropped(self, admin: User, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "journal.jsonl")
        journal.append([LeftOut("a.png", "so")])
        with (tmp_path / "journal.jsonl").open("a") as file:
            file.write('{"name": "b.p')
        assert list(journal.read()) == [LeftOut("a.png", "so")]
        journal.append([LeftOut("c.png", "so")])
        assert [one.name for one in journal.read()] == ["a.png", "c.png"]  # type: ignore[union-attr]

    def test_an_attempt_that_lost_its_claim_writes_and_removes_nothing(
        self, admin: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = sent(zipped(smears()), admin)

        def too_late(running: Running, *args: Any) -> None:
            queue.give_back(Job.objects.get(), "frozen")
            other = queue.claim(worker="another")
            assert other is not None
            conclude(running, *args)

        monkeypatch.setattr(importing, "conclude", too_late)
        job = work_on(version)
        assert (job.status, job.worker) == (Job.Status.RUNNING, "another")
        assert version.ready_at is None
        assert not version.images.exists()
        assert (job.folder / "journal.jsonl").exists()


class TestFolder:
    def test_a_folder_of_the_server(self, tmp_path: Path, admin: User) -> None:
        folder = write(tmp_path / "cells", smears())
        (folder / "NEUTROPHIL" / "link.png").symlink_to("/etc/passwd")
        version = dataset_version_from_path(path=folder, table=None, name="Cells")
        assert work_on(version).status == Job.Status.DONE
        assert version.source == DatasetVersion.Source.FOLDER
        assert version.images.count() == 6
        assert version.left_out.count() == 1
        assert folder.exists()

    def test_an_archive_of_the_server_stays_there(self, tmp_path: Path) -> None:
        archive = tmp_path / "cells.zip"
        archive.write_bytes(zipped(smears()))
        version = dataset_version_from_path(path=archive, table=None, name="Cells")
        assert work_on(version).status == Job.Status.DONE
        assert archive.exists()

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ValidationError, match="There is no"):
            dataset_version_from_path(path=tmp_path / "gone", table=None, name="Cells")
        assert not Dataset.objects.exists()


class TestEdit:
    def test_classes_are_renamed_merged_and_left_out(self, admin: User) -> None:
        parent = imported(zipped(smears(("A", "B", "C", "D"), each=2)), admin)
        dropped = parent.images.filter(label="d").first()
        assert dropped is not None
        version = dataset_version_edit(
            parent=parent,
            labels={"a": "blast", "b": "blast", "c": ""},
            left_out=[dropped.pk],
            by=admin,
        )
        assert work_on(version).status == Job.Status.DONE
        assert version.summary["classes"] == {"blast": 4, "d": 1}
        assert (version.number, version.parent) == (2, parent)
        assert version.summary["compared"] == {
            "number": 1,
            "added": 0,
            "removed": 3,
            "other_class": 4,
        }
        assert parent.images.count() == 8
        assert version.images.first().facts == parent.images.first().facts  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            ({"lymphocyte": "unfamiliar"}, "mark that cells get"),
            ({"lymphocyte": "Big  One"}, "lower case"),
            ({"lymphocyte": "lymphocyte"}, "Nothing is changed"),
            ({"lymphocyte": "", "neutrophil": ""}, "No picture would be left"),
        ],
    )
    def test_what_cannot_be(self, admin: User, labels: dict[str, str], message: str) -> None:
        parent = imported(zipped(smears()), admin)
        with pytest.raises(ValidationError, match=message):
            dataset_version_edit(parent=parent, labels=labels, by=admin)
        assert DatasetVersion.objects.count() == 1

    def test_a_ready_version_never_changes(self, admin: User) -> None:
        version = imported(zipped(smears()), admin)
        row = version.images.first()
        assert row is not None
        row.label = "other"
        for act in (version.save, version.delete, row.save, row.delete):
            with pytest.raises(ImmutableError):
                act()


class TestCells:
    def stored(self, seed: int) -> StoredImage:
        data = smear(seed, white_cells=2)
        sha256 = store.write(data)
        return StoredImage.objects.create(
            sha256=sha256, format="PNG", width=320, height=240, size=len(data)
        )

    def cell(self, image: StoredImage, x: int, label: str) -> LabelledCell:
        return LabelledCell(image, (x, 10, 40, 50), label, f"photo {image.pk}", "field.png")

    def test_a_version_of_peoples_cells(self, admin: User) -> None:
        images = [self.stored(seed) for seed in (1, 2)]
        cells = [
            self.cell(image, x, label)
            for image in images
            for x, label in ((10, "neutrophil"), (90, "blast"))
        ]
        version = dataset_version_from_cells(dataset=DatasetFactory.create(), cells=cells, by=admin)
        assert work_on(version).status == Job.Status.DONE
        assert version.groups_known
        assert version.summary["classes"] == {"blast": 2, "neutrophil": 2}
        assert version.images.values_list("stored_image").distinct().count() == 2
        assert version.images.get(stored_image=images[0], label="blast").box == [90, 10, 40, 50]
        assert version.origin == {"cells": 4}

    def test_one_cell_under_two_labels(self, admin: User) -> None:
        image = self.stored(1)
        cells = [self.cell(image, 10, label) for label in ("neutrophil", "blast")]
        with pytest.raises(ValidationError, match="two labels"):
            dataset_version_from_cells(dataset=DatasetFactory.create(), cells=cells, by=admin)

    def test_none_at_all(self, admin: User) -> None:
        with pytest.raises(ValidationError, match="no cells"):
            dataset_version_from_cells(dataset=DatasetFactory.create(), cells=[], by=admin)


class TestKnownPhotographs:
    def test_a_registered_model_knows_them(self, admin: User) -> None:
        files = smears(each=2)
        shas = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        model = ModelVersionFactory.create()
        folder = bundle_folder(model)
        folder.mkdir(parents=True)
        lines = ["side,dataset,label,group,sha256"]
        lines += [f"train,x/TRAIN,a,x/TRAIN:photo {name[0]},{sha}" for name, sha in shas.items()]
        (folder / "manifest.csv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
        version = imported(zipped(files), admin)
        assert version.groups_known
        assert version.summary["photographs"] == 2
        report = (version.folder / REPORT_NAME).read_text()
        assert f"known from the model {model.version}" in report


@pytest.mark.parametrize(("status", "left"), [("cancelled", 0), ("failed", 0), ("running", 1)])
def test_the_daily_care_removes_the_rows_of_what_will_not_be_ready(status: str, left: int) -> None:
    job = JobFactory.create(kind=Job.Kind.DATASET_IMPORT, status=status)
    version = DatasetVersionFactory.create(job=job)
    DatasetImage.objects.create(version=version, stored_image=StoredImageFactory.create())
    traces.clean_up()
    assert version.images.count() == left
