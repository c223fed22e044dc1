"""A site's first day: what may be measured, adapted and accepted."""

from collections.abc import Callable

import pytest
from django.core.exceptions import ValidationError

from accounts.models import AuditEvent, Site, User
from accounts.permissions import Role
from inference.models import DatasetVersion, Job, ModelVersion, SiteValidation
from inference.registry.selectors import bundle_folder
from inference.sites import runners, selectors, services
from tests.factories import ModelVersionFactory, SiteFactory, UserFactory
from tests.inference.sites.conftest import MakeCells

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def doctor(site: Site) -> User:
    return UserFactory.create(role=Role.DOCTOR, sites=[site])


def a_model() -> ModelVersion:
    version: ModelVersion = ModelVersionFactory.create()
    return version


def start(
    site: Site, cells: DatasetVersion, by: User, model: ModelVersion | None = None
) -> SiteValidation:
    return services.validation_start(
        site=site,
        model_version=model or a_model(),
        dataset_version=cells,
        by=by,
    )


def measured(site: Site, cells: MakeCells, by: User, verdict: str) -> SiteValidation:
    validation = start(site, cells({"neutrophil": 20}), by)
    validation.figures = {"verdict": verdict, "cells": 20}
    validation.save()
    return validation


# --- What is measured ------------------------------------------------------------------------
def test_only_enough_cells_of_the_site_itself_are_measured(
    site: Site, cells: MakeCells, doctor: User
) -> None:
    with pytest.raises(ValidationError, match="19 cells are too few"):
        start(site, cells({"neutrophil": 19}), doctor)
    with pytest.raises(ValidationError, match="not this site's own"):
        start(site, cells({"neutrophil": 20}, at=SiteFactory.create()), doctor)
    begun = cells({"neutrophil": 20})
    DatasetVersion.objects.filter(pk=begun.pk).update(ready_at=None)
    begun.refresh_from_db()
    with pytest.raises(ValidationError, match="not ready yet"):
        start(site, begun, doctor)
    assert not Job.objects.exists()

    validation = start(site, cells({"neutrophil": 20}), doctor)
    assert validation.job.kind == Job.Kind.SITE_VALIDATION
    again = start(site, validation.dataset_version, doctor, validation.model_version)
    assert again == validation
    assert AuditEvent.objects.filter(action="site_validation_started", actor=doctor).count() == 1


def test_a_model_is_measured_and_judged(
    site: Site,
    cells: MakeCells,
    doctor: User,
    model: ModelVersion,
    work: Callable[[], Job],
) -> None:
    labelled = cells({"neutrophil": 11, "lymphocyte": 9}, pictures=True)
    validation = start(site, labelled, doctor, model)
    assert work().status == Job.Status.DONE
    validation.refresh_from_db()
    assert validation.figures["cells"] == 20
    assert validation.verdict in {"fit", "not_fit", "unknown"}
    assert len(validation.figures["findings"]) == 5


def test_a_model_whose_files_changed_is_not_measured(
    site: Site, cells: MakeCells, doctor: User, model: ModelVersion, work: Callable[[], Job]
) -> None:
    validation = start(site, cells({"neutrophil": 20}), doctor, model)
    (bundle_folder(model) / "head.npz").write_bytes(b"something else")
    job = work()
    assert job.status == Job.Status.FAILED
    assert "head.npz" in job.error
    validation.refresh_from_db()
    assert not validation.figures


def test_an_adapted_model_is_a_candidate_measured_on_what_it_did_not_learn(
    site: Site,
    cells: MakeCells,
    doctor: User,
    model: ModelVersion,
    work: Callable[[], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runners, "CURVE_DRAWS", 1)
    labelled = cells({"neutrophil": 14, "lymphocyte": 14, "blast": 10, "oddity": 3}, pictures=True)
    validation = start(site, labelled, doctor, model)
    work()
    services.adaptation_start(validation=validation, by=doctor)
    job = work()
    assert job.status == Job.Status.DONE, job.error
    validation.refresh_from_db()
    adapted = validation.adapted
    assert adapted is not None
    assert (adapted.origin, adapted.parent) == (ModelVersion.Origin.ADAPTED, model)
    assert adapted.classes == [*model.classes, "blast"]  # of oddities there are too few
    assert [row["cells"] for row in validation.curve] == [0, 20]

    again = SiteValidation.objects.get(model_version=adapted)
    assert again.dataset_version == labelled
    work()
    again.refresh_from_db()
    learned = adapted.card["training"]["adaptation"]["cells"]
    left_out = again.figures["left_out"]["the model was made with them"]
    assert left_out == sum(learned.values())
    assert again.figures["cells"] == 41 - left_out
    assert services.adaptation_start(validation=validation, by=doctor) == job  # once is enough


def test_an_adaptation_goes_on_where_it_stood(
    site: Site,
    cells: MakeCells,
    doctor: User,
    model: ModelVersion,
    work: Callable[[], Job],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runners, "CURVE_DRAWS", 1)
    validation = start(site, cells({"neutrophil": 14, "lymphocyte": 14}, pictures=True), doctor)
    SiteValidation.objects.update(figures={"verdict": "not_fit"}, model_version=model)
    Job.objects.update(status=Job.Status.DONE)
    job = services.adaptation_start(validation=validation, by=doctor)

    def lost(*args: object, **kwargs: object) -> None:
        raise OSError("the disk went away")

    with monkeypatch.context() as patch:
        patch.setattr(runners, "bundle_register", lost)
        assert work().status == Job.Status.FAILED
    Job.objects.filter(pk=job.pk).update(status=Job.Status.QUEUED)
    for name in ("learning_curve.learning_curve", "adapt.adapt_to"):
        monkeypatch.setattr(f"inference.ml.{name}", lost)
    assert work().status == Job.Status.DONE
    validation.refresh_from_db()
    assert validation.adapted is not None
    assert validation.curve


# --- Acceptance ------------------------------------------------------------------------------
def test_a_fit_model_is_accepted_in_the_persons_words(
    site: Site, cells: MakeCells, doctor: User
) -> None:
    validation = measured(site, cells, doctor, "fit")
    assert selectors.validated_pairs() == set()
    with pytest.raises(ValidationError, match="own words"):
        services.validation_accept(validation=validation, words=" ", against=False, by=doctor)
    services.validation_accept(validation=validation, words="Good.", against=False, by=doctor)
    assert selectors.validated_pairs() == {(site.pk, validation.model_version.pk)}
    event = AuditEvent.objects.get(action="site_validated")
    assert (event.actor, event.details["against_verdict"]) == (doctor, False)
    with pytest.raises(ValidationError, match="already"):
        services.validation_accept(validation=validation, words="Again.", against=False, by=doctor)


@pytest.mark.parametrize("verdict", ["not_fit", "unknown"])
def test_against_the_verdict_it_takes_a_tick_and_is_recorded(
    site: Site, cells: MakeCells, doctor: User, verdict: str
) -> None:
    validation = measured(site, cells, doctor, verdict)
    with pytest.raises(ValidationError, match="against it"):
        services.validation_accept(
            validation=validation, words="Why not.", against=False, by=doctor
        )
    services.validation_accept(validation=validation, words="A trial.", against=True, by=doctor)
    validation.refresh_from_db()
    assert validation.is_against_verdict
    details = AuditEvent.objects.get(action="site_validated").details
    assert details == {"verdict": verdict, "against_verdict": True, "words": "A trial."}


def test_without_a_verdict_nothing_is_accepted_or_adapted(
    site: Site, cells: MakeCells, doctor: User
) -> None:
    validation = start(site, cells({"neutrophil": 20}), doctor)
    with pytest.raises(ValidationError, match="no verdict yet"):
        services.validation_accept(validation=validation, words="Yes.", against=True, by=doctor)
    with pytest.raises(ValidationError, match="Wait for the end"):
        services.adaptation_start(validation=validation, by=doctor)


def test_a_cancelled_adaptation_can_be_begun_again(
    site: Site, cells: MakeCells, doctor: User
) -> None:
    validation = measured(site, cells, doctor, "not_fit")
    first = services.adaptation_start(validation=validation, by=doctor)
    Job.objects.filter(pk=first.pk).update(status=Job.Status.CANCELLED)
    assert services.adaptation_start(validation=validation, by=doctor) != first
