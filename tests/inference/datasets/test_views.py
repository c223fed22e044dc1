"""The pages about datasets."""

from collections.abc import Iterator
from io import BytesIO

import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image
from pytest_django import DjangoAssertNumQueries

from accounts.models import AuditEvent, User
from hematovision.files import store
from inference.datasets.looking import MANIFEST_NAME, REPORT_NAME
from inference.datasets.services import dataset_version_edit
from inference.models import DatasetImage, DatasetVersion, LeftOutFile
from tests.factories import DatasetFactory, SiteFactory, dataset_version
from tests.inference.datasets.conftest import smears, zipped
from tests.inference.datasets.test_importing import imported

pytestmark = pytest.mark.django_db


@pytest.fixture
def version() -> DatasetVersion:
    return dataset_version(groups=2, dataset=DatasetFactory.create(site=SiteFactory.create()))


def address(name: str, version: DatasetVersion) -> str:
    return reverse(f"inference:{name}", args=[version.pk])


def events(action: str) -> int:
    return AuditEvent.objects.filter(action=action).count()


class TestList:
    def test_it_tells_what_is_in_each_version(
        self, client: Client, version: DatasetVersion
    ) -> None:
        page = client.get(reverse("inference:datasets")).content.decode()
        assert version.dataset.name in page
        assert "6 pictures" in page
        assert "from 4 source photographs" in page
        assert "Lymphocyte" in page

    def test_its_queries_do_not_grow(
        self, client: Client, django_assert_max_num_queries: DjangoAssertNumQueries
    ) -> None:
        for number in range(5):
            dataset_version(["a", "b"], each=1, seed=number)
        with django_assert_max_num_queries(12):
            client.get(reverse("inference:datasets"))

    def test_none_yet(self, client: Client) -> None:
        assert b"No datasets yet" in client.get(reverse("inference:datasets")).content


class TestChange:
    def test_licence_and_description(self, client: Client, version: DatasetVersion) -> None:
        page = reverse("inference:dataset_change", args=[version.dataset.pk])
        client.post(page, {"licence": "CC BY 4.0", "description": "May-Grünwald"})
        version.dataset.refresh_from_db()
        assert version.dataset.licence == "CC BY 4.0"
        event = AuditEvent.objects.get(action="dataset_changed")
        assert event.details["before"] == {"licence": "", "description": ""}


class TestEdit:
    def test_a_new_version_is_begun(self, client: Client, version: DatasetVersion) -> None:
        form = {"label_0": "Reactive  Lymphocyte", "label_1": "neutrophil"}
        answer = client.post(address("dataset_edit", version), form)
        made = DatasetVersion.objects.get(parent=version)
        assert answer.headers["Location"] == address("dataset_version", made)
        assert made.origin["labels"] == {"lymphocyte": "reactive_lymphocyte"}
        assert b"Waiting" in client.get(address("dataset_version", made)).content

    def test_single_pictures_alone(self, client: Client, version: DatasetVersion) -> None:
        ticked = list(version.images.values_list("pk", flat=True))[:2]
        client.post(address("dataset_edit", version), {"left_out": [*ticked, "9" * 5000]})
        made = DatasetVersion.objects.get(parent=version)
        assert made.origin == {"labels": {}, "left_out": ticked}

    def test_files_under_two_classes_and_copies_go_in_one(
        self, client: Client, version: DatasetVersion
    ) -> None:
        one, copy, other = version.images.filter(label="lymphocyte")
        twice = version.images.filter(label="neutrophil")[0]
        rows = DatasetImage.objects.filter
        rows(pk=copy.pk).update(stored_image=one.stored_image)
        rows(pk=twice.pk).update(stored_image=other.stored_image)
        page = client.get(address("dataset_edit", version)).content.decode()
        assert "Leave out 2 pictures whose file stands under two classes" in page
        form = {"label_0": "lymphocyte", "label_1": "neutrophil"}
        ticks = {"without_contradicting": "on", "without_copies": "on"}
        client.post(address("dataset_edit", version), {**form, **ticks})
        made = DatasetVersion.objects.get(parent=version)
        assert made.origin["left_out"] == sorted([copy.pk, other.pk, twice.pk])

    def test_what_cannot_be_is_told_beside_the_form(
        self, client: Client, version: DatasetVersion
    ) -> None:
        form = {"label_0": "unfamiliar", "label_1": "neutrophil"}
        page = client.post(address("dataset_edit", version), form)
        assert b"mark that cells get" in page.content
        assert not DatasetVersion.objects.filter(parent=version).exists()

    def test_a_version_that_is_not_ready_has_no_such_page(
        self, client: Client, admin: User, version: DatasetVersion
    ) -> None:
        made = dataset_version_edit(parent=version, labels={"lymphocyte": "x"}, by=admin)
        assert client.get(address("dataset_edit", made)).status_code == 404


class TestFiles:
    def test_a_picture_is_small_and_not_kept_for_others(
        self, client: Client, version: DatasetVersion
    ) -> None:
        row = version.images.get(file_name="lymphocyte/0.png")
        answer = client.get(reverse("inference:dataset_picture", args=[row.pk]))
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert Image.open(BytesIO(answer.content)).size == (320, 240)

    def test_a_cell_is_shown_with_what_is_around_it(
        self, client: Client, version: DatasetVersion
    ) -> None:
        DatasetImage.objects.filter(version=version).update(box=[300, 10, 40, 50])
        row = version.images.all()[0]
        answer = client.get(reverse("inference:dataset_picture", args=[row.pk]))
        assert Image.open(BytesIO(answer.content)).size == (192, 192)

    def test_a_damaged_one_says_so(self, client: Client, version: DatasetVersion) -> None:
        row = version.images.all()[0]
        store.path_of(row.stored_image.sha256).write_bytes(b"gone bad")
        answer = client.get(reverse("inference:dataset_picture", args=[row.pk]))
        assert answer.status_code == 503
        assert b"damaged" in answer.content

    @pytest.mark.parametrize(
        ("name", "file"), [("dataset_report", REPORT_NAME), ("dataset_manifest", MANIFEST_NAME)]
    )
    def test_report_and_manifest(
        self, client: Client, version: DatasetVersion, name: str, file: str
    ) -> None:
        assert client.get(address(name, version)).status_code == 404
        version.folder.mkdir(parents=True)
        (version.folder / file).write_bytes(b"content")
        answer = client.get(address(name, version))
        assert b"".join(content(answer)) == b"content"
        assert answer.headers["Content-Disposition"].startswith("attachment")
        assert events("dataset_viewed") == 1

    def test_a_spreadsheet_runs_no_file_name(self, client: Client, version: DatasetVersion) -> None:
        LeftOutFile.objects.create(version=version, file_name="=cmd()", reason="The file, so")
        answer = client.get(address("dataset_left_out", version))
        assert b"".join(content(answer)) == b'file,reason\r\n\'=cmd(),"The file, so"\r\n'


def content(answer: object) -> Iterator[bytes]:
    yield from answer.streaming_content  # type: ignore[attr-defined]


class TestTrail:
    def test_a_page_leaves_one_event_and_its_pictures_none(
        self, client: Client, version: DatasetVersion
    ) -> None:
        client.get(address("dataset_version", version))
        for row in version.images.all():
            client.get(reverse("inference:dataset_picture", args=[row.pk]))
        assert events("dataset_viewed") == 1

    def test_a_picture_without_its_page_leaves_one(
        self, client: Client, version: DatasetVersion
    ) -> None:
        for row in version.images.all():
            client.get(reverse("inference:dataset_picture", args=[row.pk]))
        assert events("dataset_viewed") == 1


class TestLook:
    """The page of a version that was really imported."""

    def test_it_shows_the_data(self, client: Client, admin: User) -> None:
        version = imported(zipped({**smears(), "NEUTROPHIL/x.png": b"%PDF-1.7"}), admin)
        page = client.get(address("dataset_version", version)).content.decode()
        for text in ("NEUTROPHIL/x.png", "PDF document", "Neutrophil", "<svg"):
            assert text in page

    def test_its_queries_do_not_grow(
        self,
        client: Client,
        admin: User,
        django_assert_max_num_queries: DjangoAssertNumQueries,
    ) -> None:
        version = imported(zipped(smears(("A", "B", "C"), each=6)), admin)
        with django_assert_max_num_queries(20):
            client.get(address("dataset_version", version))

    def test_a_report_that_is_gone_is_told(self, client: Client, version: DatasetVersion) -> None:
        page = client.get(address("dataset_version", version))
        assert page.status_code == 200
        assert b"restore it from a backup" in page.content
