"""Every URL x every kind of person, against the table; and every URL has a row."""

from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.access import access_of
from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from analyses.models import Analysis, Cell, SampleImage
from inference.datasets.looking import MANIFEST_NAME, REPORT_NAME
from inference.datasets.uploads import upload_begin
from inference.jobs import log
from inference.models import (
    DatasetImage,
    EdgeExport,
    Job,
    KerasImport,
    ModelVersion,
    SiteValidation,
    TrainingRun,
)
from tests.access.table import ROWS, SCOPES, A, Row, as_markdown
from tests.factories import (
    DatasetFactory,
    DatasetVersionFactory,
    JobFactory,
    ModelVersionFactory,
    SiteFactory,
    UserFactory,
    WatchAlertFactory,
    activate,
    analysed_sample,
    dataset_version,
)

pytestmark = [pytest.mark.permission, pytest.mark.django_db]


@pytest.fixture
def site() -> Site:
    return SiteFactory.create()


@pytest.fixture
def keys(site: Site) -> dict[str, int]:
    """A row of each kind, at ``site``."""
    model_version = activate(ModelVersionFactory.create())
    technician = UserFactory.create(sites=[site])
    sample = analysed_sample(site, technician, model_version)
    Analysis.objects.update(status=Analysis.Status.FAILED)
    return {
        "": 0,
        "sample": sample.pk,
        "image": SampleImage.objects.get().pk,
        "cell": Cell.objects.first().pk,  # type: ignore[union-attr]
        "analysis": Analysis.objects.get().pk,
        "job": site_job(site, model_version).pk,
        "model": model_version.pk,
        "run": TrainingRun.objects.create(job=JobFactory.create()).pk,
        **exchange_keys(model_version, technician),
        **dataset_keys(site, technician),
        "person": technician.pk,
        "site": site.pk,
        "own site": site.pk,
        "alert": WatchAlertFactory.create(site=site, model_version=model_version).pk,
        "validation": SiteValidation.objects.get().pk,
    }


def site_job(site: Site, model_version: ModelVersion) -> Job:
    """Work about a site, with a log; failed, so that it can be tried again."""
    job = JobFactory.create(kind=Job.Kind.SITE_VALIDATION, status=Job.Status.FAILED)
    SiteValidation.objects.create(
        site=site,
        model_version=model_version,
        dataset_version=DatasetVersionFactory.create(),
        job=job,
    )
    log.append(job, "It began.")
    return job


def exchange_keys(model_version: ModelVersion, by: User) -> dict[str, int]:
    """An export with a file, and a Keras file that has been recognised."""
    export = EdgeExport.objects.create(
        job=JobFactory.create(kind=Job.Kind.EDGE_EXPORT, status=Job.Status.DONE),
        model_version=model_version,
        figures={"files": {"labels.txt": ""}, "measured": {"files": {}, "sets": []}},
    )
    export.folder.mkdir(parents=True)
    (export.folder / "labels.txt").write_text("lymphocyte")
    row = KerasImport.objects.create(
        job=JobFactory.create(kind=Job.Kind.KERAS_IMPORT, status=Job.Status.FAILED),
        file_name="model.keras",
        file_sha256="0" * 64,
        created_by=by,
    )
    return {"edge export": export.pk, "keras import": row.pk}


def dataset_keys(site: Site, by: User) -> dict[str, int]:
    """A dataset of a site with its saved files, and an archive on its way."""
    version = dataset_version(["a", "b"], each=1, dataset=DatasetFactory.create(site=site))
    version.folder.mkdir(parents=True)
    for name in (MANIFEST_NAME, REPORT_NAME):
        (version.folder / name).touch()
    upload = upload_begin(file_name="cells.zip", size=1000, last_modified=0, by=by)
    return {
        "dataset": version.dataset.pk,
        "dataset_version": version.pk,
        "dataset_picture": DatasetImage.objects.first().pk,  # type: ignore[union-attr]
        "dataset_upload": upload.pk,
    }


def call(row: Row, keys: dict[str, int], person: User | None) -> int:
    client = Client()
    if person:
        client.force_login(person)
    address = reverse(row.url, args=[keys[row.object]] if row.object else [])
    return int(getattr(client, row.method)(address).status_code)


# The table's bundle is none that loads: a heat map then answers 503, which is past the check.
LET_THROUGH = {200, 204, 302, 422, 503}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.url)
@pytest.mark.parametrize("role", Role)
def test_each_role(row: Row, role: Role, site: Site, keys: dict[str, int]) -> None:
    person = UserFactory.create(role=role, sites=[site])
    allowed = row.roles is None or role in row.roles
    status = call(row, keys, person)
    assert status in LET_THROUGH if allowed else status == 403


@pytest.mark.parametrize("row", [row for row in ROWS if row.roles], ids=lambda row: row.url)
def test_a_refusal_is_recorded(row: Row, site: Site, keys: dict[str, int]) -> None:
    person = UserFactory.create(role="", sites=[site])
    assert call(row, keys, person) == 403
    assert AuditEvent.objects.filter(action="access_denied", actor=person).count() == 1


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.url)
@pytest.mark.parametrize("active", [True, False], ids=["anonymous", "deactivated"])
def test_without_log_in(row: Row, active: bool, site: Site, keys: dict[str, int]) -> None:
    client = Client()
    if not active:
        person = UserFactory.create(role=Role.ADMIN, sites=[site])
        client.force_login(person)
        person.is_active = False
        person.save()
    address = reverse(row.url, args=[keys[row.object]] if row.object else [])
    response = getattr(client, row.method)(address)
    if row.roles is None:
        assert response.status_code in LET_THROUGH
    else:
        assert response.status_code == 302
        assert response.url.startswith(reverse(settings.LOGIN_URL))


SITE_OBJECTS = {"sample", "image", "cell", "analysis", "job", "own site", "validation", "alert"}
SITE_ROWS = [row for row in ROWS if row.object in SITE_OBJECTS]
SITE_ROWS_OF_ADMINS = [row for row in SITE_ROWS if row.roles and A in row.roles]


@pytest.mark.parametrize("row", SITE_ROWS, ids=lambda row: row.url)
@pytest.mark.parametrize("role", [Role.TECHNICIAN, Role.DOCTOR])
def test_another_site_sees_nothing(row: Row, role: Role, keys: dict[str, int]) -> None:
    stranger = UserFactory.create(role=role, sites=[SiteFactory.create()])
    assert row.roles is not None
    assert call(row, keys, stranger) == (404 if role in row.roles else 403)


@pytest.mark.parametrize("row", SITE_ROWS_OF_ADMINS, ids=lambda row: row.url)
def test_an_admin_sees_every_site(row: Row, keys: dict[str, int]) -> None:
    assert call(row, keys, UserFactory.create(role=Role.ADMIN)) in LET_THROUGH


def views(patterns: list[URLPattern | URLResolver], namespace: str = "") -> dict[str, URLPattern]:
    found: dict[str, URLPattern] = {}
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else ""
            found |= views(pattern.url_patterns, namespace + inner)
        else:
            found[f"{namespace}{pattern.name}"] = pattern
    return found


def test_every_url_has_a_row_and_a_declaration() -> None:
    urls = views(get_resolver().url_patterns)
    assert set(urls) == {row.url for row in ROWS}
    for row in ROWS:
        access = access_of(urls[row.url].callback)
        assert access is not None, f"{row.url} does not declare who may"
        assert access.public == (row.roles is None)
        if access.permission is not None:
            assert access.permission.roles == row.roles
        elif not access.public:
            assert row.roles == frozenset(Role)


def test_a_view_without_a_declaration_is_refused(
    settings: object, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = views(get_resolver().url_patterns)
    monkeypatch.delattr(urls["accounts:people"].callback, "access")
    client.force_login(UserFactory.create(role=Role.ADMIN))
    assert client.get(reverse("accounts:people")).status_code == 403


def test_every_kind_of_row_says_who_sees_it() -> None:
    assert {row.object for row in ROWS if row.object} == set(SCOPES)


def test_the_document_has_this_table() -> None:
    document = Path(settings.BASE_DIR) / "docs" / "permissions.md"
    assert as_markdown() in document.read_text()
