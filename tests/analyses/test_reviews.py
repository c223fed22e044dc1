"""A person's answer to a cell: kept beside the model's, and counted before it."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import AppendOnlyError, AuditEvent, Site, User
from accounts.permissions import Role
from analyses import selectors, services
from analyses.models import Cell, Prediction, Review, Sample
from inference.models import ModelVersion
from tests.factories import UserFactory, analysed_sample

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def sample(site: Site, technician: User, model: ModelVersion) -> Sample:
    return analysed_sample(site, technician, model)


@pytest.fixture
def cell(sample: Sample) -> Cell:
    return Cell.objects.filter(sample_image__sample=sample)[0]


@pytest.fixture
def web(client: Client, technician: User) -> Client:
    client.force_login(technician)
    return client


def counted(sample: Sample) -> dict[str, int]:
    return {count.label: count.count for count in selectors.class_counts([sample])[sample.pk]}


def test_the_answer_counts_and_the_models_stays(
    sample: Sample, cell: Cell, technician: User
) -> None:
    services.cell_review(cell=cell, label="blast", by=technician)
    assert counted(sample) == {"neutrophil": 1, "blast": 1}
    assert Prediction.objects.get(cell=cell).label == "neutrophil"
    review = Review.objects.get()
    assert review.prediction == Prediction.objects.get(cell=cell)
    event = AuditEvent.objects.get(action="cell_reviewed")
    assert event.actor == technician
    assert event.details["answer"] == "blast"
    assert event.details["model_said"] == "neutrophil"


def test_the_newest_counts_and_every_one_is_kept(
    sample: Sample, cell: Cell, technician: User, site: Site
) -> None:
    doctor = UserFactory.create(role=Role.DOCTOR, sites=[site])
    for by, label in (
        (technician, "blast"),
        (doctor, "lymphocyte"),
        (doctor, "lymphocyte"),  # said already
        (technician, "lymphocyte"),  # another person agrees
    ):
        services.cell_review(cell=cell, label=label, by=by)
    assert counted(sample) == {"neutrophil": 1, "lymphocyte": 1}
    assert [one.by for one in Review.objects.all()] == [technician, doctor, technician]
    review = Review.objects.first()
    assert review is not None
    for change in (review.save, review.delete, Review.objects.all().delete):
        with pytest.raises(AppendOnlyError):
            change()


def test_a_reviewed_cell_is_no_longer_flagged(sample: Sample, cell: Cell, technician: User) -> None:
    Prediction.objects.filter(cell=cell).update(flags=["unfamiliar"])
    samples = Sample.objects.all()
    assert counted(sample) == {"neutrophil": 1, "unfamiliar": 1}
    assert selectors.samples_to_look_at(samples).exists()
    assert selectors.samples_with_class(samples, "unfamiliar").exists()
    services.cell_review(cell=cell, label="monocyte", by=technician)
    assert counted(sample) == {"neutrophil": 1, "monocyte": 1}
    assert not selectors.samples_to_look_at(samples).exists()
    assert not selectors.samples_with_class(samples, "unfamiliar").exists()
    assert selectors.samples_with_class(samples, "monocyte").exists()


def test_what_is_no_white_cell_leaves_their_total(
    sample: Sample, technician: User, web: Client
) -> None:
    first, second = Cell.objects.filter(sample_image__sample=sample)
    services.cell_review(cell=first, label="artefact", by=technician)
    services.cell_review(cell=second, label="unidentified", by=technician)
    counts = {count.label: count for count in selectors.class_counts([sample])[sample.pk]}
    assert not counts["artefact"].is_white
    assert counts["unidentified"].is_white  # a white cell that is in no class
    page = " ".join(web.get(f"/samples/{sample.pk}/").content.decode().split())
    assert "1 white cell · artefacts apart: 1" in page
    assert "2 of 2 cells reviewed" in page


def test_only_what_is_known_can_be_said(cell: Cell, technician: User, model: ModelVersion) -> None:
    with pytest.raises(ValidationError, match="from the list"):
        services.cell_review(cell=cell, label="unicorn", by=technician)
    model.card["classes"].append("hairy_cell")
    model.save()
    services.cell_review(cell=cell, label="hairy_cell", by=technician)  # a class of this model


def test_the_form_without_a_script_goes_back_to_the_cell(web: Client, cell: Cell) -> None:
    response = web.post(f"/cells/{cell.pk}/review/?page=2", {"label": "monocyte"})
    sample = cell.sample_image.sample
    assert response.headers["Location"] == f"/samples/{sample.pk}/?page=2#cell-{cell.pk}"
    page = web.get(f"/samples/{sample.pk}/").content.decode()
    assert "Monocyte" in page
    assert "The model: Neutrophil." in page


def test_with_a_script_the_card_the_box_and_the_counts_come_anew(web: Client, cell: Cell) -> None:
    headers = {"HX-Request": "true"}
    address = f"/cells/{cell.pk}/review/"
    part = web.post(address, {"label": "monocyte"}, headers=headers).content.decode()
    assert f'id="cell-{cell.pk}"' in part
    assert part.count('hx-swap-oob="true"') == 2
    assert "1 of 2 cells reviewed" in part
    refused = web.post(address, {"label": ""}, headers=headers)
    assert refused.status_code == 422
    assert Review.objects.count() == 1


def test_who_only_oversees_is_not_asked(client: Client, sample: Sample) -> None:
    client.force_login(UserFactory.create(role=Role.ADMIN))
    assert "It is …" not in client.get(f"/samples/{sample.pk}/").content.decode()


def test_consent_is_given_and_withdrawn(web: Client, sample: Sample) -> None:
    assert not sample.training_consent
    for said, given in (("yes", True), ("yes", True), ("no", False)):
        web.post(f"/samples/{sample.pk}/consent/", {"given": said})
        sample.refresh_from_db()
        assert sample.training_consent == given
    events = AuditEvent.objects.filter(action="consent_changed").order_by("at")
    assert [event.details["given"] for event in events] == [True, False]


def test_a_class_of_two_words_is_one_class_of_the_page(web: Client, sample: Sample) -> None:
    Prediction.objects.update(label="hairy cell", probabilities={"hairy cell": 0.9, "blast": 0.1})
    for address in (f"/samples/{sample.pk}/", "/samples/"):
        page = web.get(address).content.decode()
        assert "cell-hairy-cell" in page
        assert "cell-hairy cell" not in page
