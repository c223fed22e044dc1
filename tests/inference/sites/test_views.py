"""The pages of a site's first day, and the line that results carry until then."""

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from accounts.models import Site, User
from accounts.permissions import Role
from analyses.models import Sample
from inference.datasets.services import dataset_retire
from inference.models import Job, ModelVersion, SiteValidation
from inference.sites import services
from tests.factories import ModelVersionFactory, UserFactory, activate, analysed_sample
from tests.inference.sites.conftest import MakeCells

pytestmark = [pytest.mark.unit, pytest.mark.django_db]

NOT_VALIDATED = "Not validated at this site"


@pytest.fixture
def doctor(site: Site) -> User:
    return UserFactory.create(role=Role.DOCTOR, sites=[site])


@pytest.fixture
def web(client: Client, doctor: User) -> Client:
    client.force_login(doctor)
    return client


@pytest.fixture
def model() -> ModelVersion:
    return activate(ModelVersionFactory.create())


def text(client: Client, address: str) -> str:
    response = client.get(address)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def share(value: float) -> dict[str, object]:
    return {"value": value, "interval": [value - 0.1, value], "by": "wilson"}


def told(validation: SiteValidation, verdict: str) -> SiteValidation:
    """As the job leaves it."""
    row = {"images": 20, "recall": share(0.9), "precision": share(0.9)}
    validation.figures = {
        "cells": 20,
        "photographs": 20,
        "photographs_known": True,
        "training_known": True,
        "left_out": {"the model was made with them": 2},
        "believed": {"share": share(0.9), "accuracy": share(0.9)},
        "known": {
            **{name: share(0.9) for name in ("accuracy", "balanced_accuracy", "mean_confidence")},
            "calibration_error": share(0.1),
            "classes": {"neutrophil": row},
            "names": ["neutrophil", "lymphocyte"],
            "confusion": [[18, 2], [0, 0]],
            "flags": {"any": {"coverage": share(0.9)}},
        },
        "unknown_classes": {
            "blast": {"flagged": {"any": share(0.5)}, "answers": {"lymphocyte": 2}}
        },
        "not_tested": ["lymphocyte"],
        "verdict": verdict,
        "findings": [{"met": True, "sentence": "All is well."}],
        "advice": "Go on.",
    }
    validation.save()
    Job.objects.filter(pk=validation.job_id).update(status=Job.Status.DONE)
    return validation


def test_from_the_cells_to_acceptance(
    web: Client, site: Site, doctor: User, model: ModelVersion, cells: MakeCells
) -> None:
    sample = analysed_sample(site, doctor, model)
    for address in (f"/samples/{sample.pk}/", f"/samples/{sample.pk}/results/", "/samples/"):
        assert NOT_VALIDATED in text(web, address)
    assert "Begin the first day" in text(web, "/sites/")
    cells({"neutrophil": 19})
    assert "no dataset that is ready and has 20 cells yet" in text(web, f"/sites/{site.pk}/")

    labelled = cells({"neutrophil": 20})
    chosen = {"dataset_version": labelled.pk, "model_version": model.pk}
    response = web.post(f"/sites/{site.pk}/", chosen)
    validation = SiteValidation.objects.get()
    assert response.headers["Location"] == f"/validations/{validation.pk}/"
    assert "Validation at a site" in text(web, f"/validations/{validation.pk}/")

    told(validation, "not_fit")
    page = text(web, f"/validations/{validation.pk}/")
    assert "The model does not know blasts. It flagged 50.0 % of" in page
    assert "Nothing is known of lymphocytes" in page
    assert "I accept it although the verdict is “not fit for use here”" in page
    refused = web.post(f"/validations/{validation.pk}/accept/", {"words": "Yes."})
    assert refused.status_code == 422
    assert "against it" in refused.content.decode()
    accepted = {"words": "Only as a second look.", "against": "on"}
    web.post(f"/validations/{validation.pk}/accept/", accepted)
    page = text(web, f"/validations/{validation.pk}/")
    assert "<strong>against the verdict</strong>" in page
    assert "Only as a second look." in page
    for address in (f"/samples/{sample.pk}/", "/samples/"):
        assert NOT_VALIDATED not in text(web, address)


def test_cells_of_a_retired_dataset_are_not_offered(
    web: Client, site: Site, doctor: User, model: ModelVersion, cells: MakeCells
) -> None:
    labelled = cells({"neutrophil": 20})
    assert f"{labelled}: 20 cells" in text(web, f"/sites/{site.pk}/")
    dataset_retire(dataset=labelled.dataset, by=doctor)
    assert str(labelled) not in text(web, f"/sites/{site.pk}/")
    chosen = {"dataset_version": labelled.pk, "model_version": model.pk}
    assert web.post(f"/sites/{site.pk}/", chosen).status_code == 422
    labelled.dataset.refresh_from_db()
    with pytest.raises(ValidationError, match="is retired"):
        services.validation_start(
            site=site, model_version=model, dataset_version=labelled, by=doctor
        )


def test_a_new_model_has_to_be_validated_anew(
    web: Client, site: Site, doctor: User, model: ModelVersion, cells: MakeCells
) -> None:
    validation = services.validation_start(
        site=site, model_version=model, dataset_version=cells({"neutrophil": 20}), by=doctor
    )
    told(validation, "fit")
    services.validation_accept(validation=validation, words="Good.", against=False, by=doctor)
    assert "Validated" in text(web, "/sites/")
    newer = activate(ModelVersionFactory.create())
    assert NOT_VALIDATED in text(web, "/sites/")
    older, later = (analysed_sample(site, doctor, version) for version in (model, newer))
    assert NOT_VALIDATED not in text(web, f"/samples/{older.pk}/")
    assert NOT_VALIDATED in text(web, f"/samples/{later.pk}/")


def test_a_synthetic_example_carries_the_line_too(
    web: Client, site: Site, doctor: User, model: ModelVersion
) -> None:
    sample = analysed_sample(site, doctor, model)
    Sample.objects.update(is_synthetic=True)
    assert NOT_VALIDATED in text(web, f"/samples/{sample.pk}/")


def test_who_may_not_validate_gets_the_line_without_a_link(
    client: Client, site: Site, model: ModelVersion
) -> None:
    technician = UserFactory.create(role=Role.TECHNICIAN, sites=[site])
    client.force_login(technician)
    page = text(client, f"/samples/{analysed_sample(site, technician, model).pk}/")
    assert NOT_VALIDATED in page
    assert "Begin the first day" not in page


def test_cells_of_another_site_cannot_be_chosen(
    web: Client, site: Site, model: ModelVersion, cells: MakeCells
) -> None:
    other = Site.objects.create(name="Elsewhere")
    foreign = cells({"neutrophil": 20}, at=other)
    chosen = {"dataset_version": foreign.pk, "model_version": model.pk}
    assert web.post(f"/sites/{site.pk}/", chosen).status_code == 422
    assert web.get(f"/sites/{other.pk}/").status_code == 404
    assert not SiteValidation.objects.exists()
    assert "Elsewhere" not in text(web, "/sites/")


def test_the_learning_curve_is_drawn_and_told(
    web: Client, site: Site, doctor: User, model: ModelVersion, cells: MakeCells
) -> None:
    validation = services.validation_start(
        site=site, model_version=model, dataset_version=cells({"neutrophil": 20}), by=doctor
    )
    told(validation, "not_fit")
    job = services.adaptation_start(validation=validation, by=doctor)
    assert "Adaptation to a site" in text(web, f"/validations/{validation.pk}/")
    Job.objects.filter(pk=job.pk).update(status=Job.Status.DONE)
    validation.refresh_from_db()
    validation.adapted = ModelVersionFactory.create(origin="adapted", parent=model)
    validation.curve = [
        {"cells": n, "site": {"mean": m, "spread": s}, "home": {"mean": 0.9, "spread": s}}
        for n, m, s in ((0, 0.6, None), (20, 0.8, 0.02), (50, 0.9, 0.01))
    ]
    validation.save()
    page = text(web, f"/validations/{validation.pk}/")
    assert 'points="0.0,120.0 128.0,60.0 320.0,30.0"' in page
    assert "80.0 % ± 2.0 %" in page
    assert "60.0 % ± –" in page
