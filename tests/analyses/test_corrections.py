"""People's answers as training data: whose, which, and how they are grouped."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from analyses import corrections, services
from analyses.models import Cell, Patient, Sample
from inference.datasets.selectors import listing_of
from inference.jobs import child, queue
from inference.models import Dataset, DatasetVersion, Job, ModelVersion
from inference.sites.selectors import cells_of
from tests.factories import DatasetFactory, SiteFactory, UserFactory, analysed_sample

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def admin() -> User:
    person: User = UserFactory.create(role=Role.ADMIN)
    return person


def reviewed(
    site: Site, by: User, model: ModelVersion, *labels: str, consent: bool = True
) -> Sample:
    sample = analysed_sample(site, by, model, cells=len(labels))
    Sample.objects.filter(pk=sample.pk).update(training_consent=consent)
    cells = Cell.objects.filter(sample_image__sample=sample)
    for cell, label in zip(cells, labels, strict=True):
        services.cell_review(cell=cell, label=label, by=by)
    return sample


def test_only_reviewed_cells_of_a_class_with_consent(
    site: Site, technician: User, model: ModelVersion, admin: User
) -> None:
    reviewed(site, technician, model, "neutrophil", "blast", "artefact", "unidentified")
    reviewed(site, technician, model, "monocyte", consent=False)
    example = reviewed(site, technician, model, "monocyte")
    Sample.objects.filter(pk=example.pk).update(is_synthetic=True)
    unread = analysed_sample(site, technician, model)
    Sample.objects.filter(pk=unread.pk).update(training_consent=True)

    (given,) = corrections.corrections_by_site(admin)
    assert given.classes == [("neutrophil", "Neutrophil", 1), ("blast", "Blast", 1)]
    assert (given.cells, given.samples) == (2, 1)
    assert not corrections.corrections_for(technician).exists()


def test_a_version_is_made_of_pictures_boxes_and_labels_and_names_nobody(
    site: Site, technician: User, model: ModelVersion, admin: User
) -> None:
    sample = reviewed(site, technician, model, "neutrophil", "blast")
    known = reviewed(site, technician, model, "monocyte")
    patient = Patient.objects.create(site=site, identifier="P-77")
    Sample.objects.filter(pk=known.pk).update(patient=patient)
    reviewed(SiteFactory.create(), technician, model, "basophil")

    version = corrections.corrections_hand_over(site=site, dataset=None, name="Ours", by=admin)
    assert version.source == DatasetVersion.Source.CORRECTIONS
    assert version.dataset.site == site
    assert version.job is not None
    assert version.job.kind == Job.Kind.DATASET_IMPORT
    rows = {row["label"]: row for row in version.origin["cells"]}
    assert set(rows) == {"neutrophil", "blast", "monocyte"}
    cell = Cell.objects.get(review__label="blast")
    assert list(rows["blast"]["box"]) == [cell.x, cell.y, cell.width, cell.height]
    assert rows["blast"]["stored_image"] == cell.sample_image.stored_image_id
    assert rows["blast"]["group"] == rows["neutrophil"]["group"] == f"sample {sample.pk}"
    assert rows["monocyte"]["group"] == f"patient {patient.pk}"
    assert not {"field", "P-77", str(sample)} & set(str(version.origin).split())
    event = AuditEvent.objects.get(action="corrections_handed_over")
    assert event.details["samples"] == [sample.pk, known.pk]


def test_the_newest_answer_counts_for_a_picture_in_two_samples(
    site: Site, technician: User, model: ModelVersion, admin: User
) -> None:
    first = reviewed(site, technician, model, "neutrophil")
    second = reviewed(site, technician, model, "blast")
    second.images.update(stored_image=first.images.get().stored_image)
    version = corrections.corrections_hand_over(site=site, dataset=None, name="Ours", by=admin)
    assert [row["label"] for row in version.origin["cells"]] == ["blast"]


def test_handing_over_reads_no_models_card(
    site: Site,
    technician: User,
    model: ModelVersion,
    admin: User,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    reviewed(site, technician, model, "neutrophil", "blast")
    with django_assert_max_num_queries(30) as queries:
        corrections.corrections_hand_over(site=site, dataset=None, name="Ours", by=admin)
    assert not [query for query in queries.captured_queries if '"card"' in query["sql"]]


def test_what_cannot_be_handed_over_is_said(
    site: Site, technician: User, model: ModelVersion, admin: User
) -> None:
    with pytest.raises(ValidationError, match="no reviewed cell"):
        corrections.corrections_hand_over(site=site, dataset=None, name="Ours", by=admin)
    reviewed(site, technician, model, "neutrophil")
    elsewhere = DatasetFactory.create(site=SiteFactory.create())
    with pytest.raises(ValidationError, match="not of this site"):
        corrections.corrections_hand_over(site=site, dataset=elsewhere, by=admin)
    with pytest.raises(ValidationError):
        corrections.corrections_hand_over(site=site, dataset=None, name="", by=admin)
    assert Dataset.objects.count() == 1


def test_the_page_makes_a_version_and_goes_to_it(
    client: Client, site: Site, technician: User, model: ModelVersion, admin: User
) -> None:
    client.force_login(admin)
    assert "nothing to hand over yet" in client.get("/corrections/").content.decode()
    reviewed(site, technician, model, "neutrophil", "blast")
    refused = client.post("/corrections/", {"site": site.pk})
    assert refused.status_code == 422
    assert "Give the new dataset a name." in refused.content.decode()
    response = client.post("/corrections/", {"site": site.pk, "name": "Ours"})
    version = DatasetVersion.objects.get()
    assert response.headers["Location"] == f"/datasets/versions/{version.pk}/"
    client.post("/corrections/", {"site": site.pk, "dataset": version.dataset_id})
    assert version.dataset.versions.count() == 2


def test_the_counts_cost_a_fixed_number_of_queries(
    site: Site,
    technician: User,
    model: ModelVersion,
    admin: User,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    for place in (site, SiteFactory.create(), SiteFactory.create()):
        reviewed(place, technician, model, "neutrophil")
    with django_assert_num_queries(3):
        assert len(corrections.corrections_by_site(admin)) == 3


def test_the_version_can_be_trained_and_measured_with(
    site: Site, technician: User, model: ModelVersion, admin: User
) -> None:
    samples = [reviewed(site, technician, model, "neutrophil", "blast") for _ in range(10)]
    version = corrections.corrections_hand_over(site=site, dataset=None, name="Ours", by=admin)
    job = queue.claim(worker="test")
    assert job is not None
    job.folder.mkdir(parents=True, exist_ok=True)
    child.run(job)
    version.refresh_from_db()
    assert version.ready_at is not None, version.job and version.job.error
    assert version.groups_known
    listing = listing_of([version])
    assert {(item.label, item.box is not None) for item in listing.items} == {
        ("neutrophil", True),
        ("blast", True),
    }
    assert {item.group for item in listing.items} == {f"Ours:sample {one.pk}" for one in samples}
    assert [one.pk for one in cells_of(site)] == [version.pk]
