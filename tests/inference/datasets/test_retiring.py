"""A retired dataset keeps its pages, and is used no more until it is brought back."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import AuditEvent, User
from inference.datasets.selectors import datasets_in_use_for
from inference.datasets.services import dataset_restore, dataset_retire, dataset_version_edit
from inference.models import Dataset, DatasetVersion
from tests.factories import dataset_version

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def version() -> DatasetVersion:
    return dataset_version()


@pytest.fixture
def dataset(version: DatasetVersion) -> Dataset:
    return version.dataset


def changes() -> list[str]:
    events = AuditEvent.objects.filter(action="dataset_changed").order_by("at")
    return [event.details["change"] for event in events]


def test_twice_is_once(dataset: Dataset, admin: User) -> None:
    for _ in range(2):
        dataset_retire(dataset=dataset, by=admin)
    since = Dataset.objects.get().retired_at
    assert since is not None
    assert changes() == ["retired"]
    for _ in range(2):
        dataset_restore(dataset=dataset, by=admin)
    assert Dataset.objects.get().retired_at is None
    assert changes() == ["retired", "brought back"]


def test_it_gets_no_version(version: DatasetVersion, admin: User) -> None:
    dataset_retire(dataset=version.dataset, by=admin)
    assert not datasets_in_use_for(admin).exists()
    with pytest.raises(ValidationError, match="Bring it back first"):
        dataset_version_edit(parent=version, labels={"lymphocyte": "blast"}, by=admin)
    dataset_restore(dataset=version.dataset, by=admin)
    assert dataset_version_edit(parent=version, labels={"lymphocyte": "blast"}, by=admin).number > 1


def test_the_buttons(client: Client, version: DatasetVersion) -> None:
    retire = f"/datasets/{version.dataset_id}/retire/"
    client.post(retire, {"act": "no such thing"})
    assert changes() == []
    client.post(retire, {"act": "retire"})
    page = client.get("/datasets/").content.decode()
    assert page.index("No datasets in use") < page.index("<details") < page.index("Bring back")
    assert "Add a version" not in page
    offered = client.get("/datasets/new/").content.decode()
    assert f'value="{version.dataset_id}">{version.dataset}<' not in offered

    page = client.get(f"/datasets/versions/{version.pk}/").content.decode()
    assert "Bring back" in page
    assert "Train a model on it" not in page
    client.post(retire, {"act": "restore"})
    assert "Bring back" not in client.get("/datasets/").content.decode()
    offered = client.get("/datasets/new/").content.decode()
    assert f'value="{version.dataset_id}">{version.dataset}<' in offered


def test_what_was_sent_for_it_is_refused(client: Client, dataset: Dataset, admin: User) -> None:
    """Its page was open when another person retired it."""
    dataset_retire(dataset=dataset, by=admin)
    file = {"file_name": "cells.zip", "size": 10, "last_modified": 0}
    response = client.post("/datasets/uploads/", {"dataset": dataset.pk, **file})
    assert response.status_code == 422
    assert response.json()["fields"] == ["dataset"]
