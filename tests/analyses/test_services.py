"""Samples and their pictures: kept once, counted once, each act with its event."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from uuid import uuid4

import pytest
from django.core.checks import run_checks
from django.core.exceptions import ValidationError
from django.db import connection
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from accounts.models import AuditEvent, Site, User
from analyses.models import AccessionCounter, Analysis, Patient, Sample, SampleImage
from analyses.services import (
    NewSample,
    Outcome,
    analysis_retry,
    images_upload,
    sample_create,
)
from hematovision.files.models import StoredImage
from inference.models import ModelVersion
from tests.factories import AnalysisFactory, SiteFactory, UserFactory, picture

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


def upload(
    site: Site, by: User, *pictures: bytes, target: Sample | NewSample | None = None
) -> tuple[Sample | None, list[Outcome]]:
    files = [(f"field-{number}.png", data) for number, data in enumerate(pictures)]
    sample, outcomes = images_upload(target=target or NewSample(site=site), files=files, by=by)
    return sample, [outcome.outcome for outcome in outcomes]


def test_an_upload_makes_a_sample_with_queued_images(
    site: Site, technician: User, model: ModelVersion
) -> None:
    sample, outcomes = upload(site, technician, picture(seed=1), picture(seed=2))
    assert sample is not None
    assert outcomes == [Outcome.ACCEPTED] * 2
    assert sample.accession_number.startswith("HV-")
    assert [image.position for image in sample.images.all()] == [0, 1]
    assert sample.images.get(position=0).file_name == "field-0.png"
    sample.refresh_from_db()
    assert sample.model_version == model
    jobs = Analysis.objects.filter(sample_image__sample=sample)
    assert {job.status for job in jobs} == {"queued"}
    assert AuditEvent.objects.filter(action="image_uploaded", actor=technician).count() == 2


def test_a_bad_file_leaves_the_rest_unharmed(
    site: Site, technician: User, model: ModelVersion
) -> None:
    sample, outcomes = upload(site, technician, b"MZ", picture(seed=1), b"", picture(seed=2))
    assert outcomes == ["refused", "accepted", "refused", "accepted"]
    assert sample is not None
    assert sample.images.count() == 2
    reasons = AuditEvent.objects.filter(action="image_refused").values_list("details", flat=True)
    assert len(reasons) == 2
    assert all(details["reason"].endswith(".") for details in reasons)


def test_only_bad_files_leave_no_sample(site: Site, technician: User) -> None:
    assert upload(site, technician, b"MZ", b"") == (None, ["refused", "refused"])
    assert not Sample.objects.exists()
    assert not StoredImage.objects.exists()


def test_one_picture_counts_once_in_a_sample(
    site: Site, technician: User, model: ModelVersion
) -> None:
    sample, outcomes = upload(site, technician, picture(), picture())
    assert outcomes == ["accepted", "duplicate"]
    assert sample is not None
    _, again = upload(site, technician, picture(), target=sample)
    assert again == ["duplicate"]
    assert SampleImage.objects.count() == StoredImage.objects.count() == 1


def test_the_same_picture_in_another_sample_warns(site: Site, technician: User) -> None:
    first, _ = upload(site, technician, picture())
    _, outcomes = images_upload(
        target=NewSample(site=site), files=[("again.png", picture())], by=technician
    )
    assert f"in sample {first} too" in outcomes[0].warning
    assert StoredImage.objects.count() == 1


def test_the_warning_does_not_name_a_sample_of_another_site(site: Site, technician: User) -> None:
    other = SiteFactory.create()
    first, _ = upload(other, UserFactory.create(sites=[other]), picture())
    _, outcomes = images_upload(
        target=NewSample(site=site), files=[("again.png", picture())], by=technician
    )
    assert "a sample of another site" in outcomes[0].warning
    assert str(first) not in outcomes[0].warning


def test_two_samples_of_one_patient_do_not_warn(site: Site, technician: User) -> None:
    for _ in range(2):
        _, outcomes = images_upload(
            target=NewSample(site=site, patient_identifier="P-1"),
            files=[("a.png", picture())],
            by=technician,
        )
        assert outcomes[0].warning == ""
    assert Patient.objects.count() == 1


def test_accession_numbers_count_through_the_day(site: Site, technician: User) -> None:
    numbers = [
        sample_create(new=NewSample(site=site), by=technician).accession_number for _ in range(3)
    ]
    assert [number[-4:] for number in numbers] == ["0001", "0002", "0003"]
    assert len(set(numbers)) == 3


def test_an_automatic_number_skips_one_typed_before(
    site: Site, technician: User, settings: Settings
) -> None:
    settings.ACCESSION_FORMAT = "N{number}-{date:%d}"
    today = AccessionCounter(day=date.today())  # noqa: DTZ011  (the test's zone is the system's)
    typed = f"N1-{today.day:%d}"
    sample_create(new=NewSample(site=site, accession_number=typed), by=technician)
    assert sample_create(new=NewSample(site=site), by=technician).accession_number.startswith("N2-")


@pytest.mark.parametrize("number", ["<script>", "-1", "a\nb", "x" * 41])
def test_malformed_accession_numbers_are_refused(site: Site, technician: User, number: str) -> None:
    with pytest.raises(ValidationError):
        sample_create(new=NewSample(site=site, accession_number=number), by=technician)


def test_a_taken_accession_number_is_refused_at_its_site_only(site: Site, technician: User) -> None:
    sample_create(new=NewSample(site=site, accession_number="A-1"), by=technician)
    with pytest.raises(ValidationError, match="exists already"):
        sample_create(new=NewSample(site=site, accession_number="A-1"), by=technician)
    sample_create(new=NewSample(site=SiteFactory.create(), accession_number="A-1"), by=technician)


def test_requests_of_one_batch_share_a_sample(site: Site, technician: User) -> None:
    new = NewSample(site=site, accession_number="A-1", batch=uuid4())
    first = sample_create(new=new, by=technician)
    assert sample_create(new=new, by=technician) == first
    with pytest.raises(ValidationError):  # a batch belongs to the person who sent it
        sample_create(new=new, by=UserFactory.create(sites=[site]))


@pytest.mark.django_db(transaction=True)
def test_two_people_with_the_same_bytes_at_the_same_moment(site: Site) -> None:
    people = [UserFactory.create(sites=[site]) for _ in range(4)]
    batch = uuid4()

    def send(person: User) -> int:
        try:
            sample, _ = upload(site, person, picture(seed=5))
            upload(site, people[0], picture(seed=6), target=NewSample(site=site, batch=batch))
            assert sample is not None
            return sample.pk
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        samples = list(pool.map(send, people))
    assert len(set(samples)) == 4
    assert StoredImage.objects.count() == 2
    assert Sample.objects.filter(batch=batch).count() == 1
    assert Sample.objects.get(batch=batch).images.count() == 1
    assert Sample.objects.values("accession_number").distinct().count() == 5


def test_without_a_model_images_are_kept_and_wait(site: Site, technician: User) -> None:
    _, outcomes = images_upload(
        target=NewSample(site=site), files=[("a.png", picture())], by=technician
    )
    assert outcomes[0].outcome == Outcome.ACCEPTED
    assert "until an admin activates a model" in outcomes[0].sentence
    assert not Analysis.objects.exists()


def test_a_hint_goes_out_on_commit_and_its_loss_is_survived(
    site: Site,
    technician: User,
    model: ModelVersion,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    sent: list[str] = []

    def refuse(name: str) -> None:
        sent.append(name)
        raise OSError("no broker")

    monkeypatch.setattr("analyses.pipeline.app.send_task", refuse)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        _, outcomes = upload(site, technician, picture())
        assert sent == []
    assert len(callbacks) == 1
    assert sent == ["analyses.tasks.analyse_queued"]
    assert outcomes == ["accepted"]
    assert Analysis.objects.get().status == "queued"


def test_retry_gives_a_failed_analysis_fresh_attempts(technician: User) -> None:
    failed = AnalysisFactory.create(status="failed", attempt=3, error="The disk was away.")
    analysis_retry(analysis=failed, by=technician)
    failed.refresh_from_db()
    assert (failed.status, failed.attempt, failed.error) == ("queued", 0, "")
    event = AuditEvent.objects.get(action="analysis_retried")
    assert event.details == {"failed_with": "The disk was away."}
    with pytest.raises(ValidationError, match="Only a failed analysis"):
        analysis_retry(analysis=failed, by=technician)


@pytest.mark.parametrize(
    "form",
    [
        "X",
        "{number}",
        "{date:%d}",
        "{nmbr}",
        "{number:q}",
        "HV#{date}:{number}",
        "{date.no}{number}",
    ],
)
def test_an_accession_format_that_cannot_number_is_an_error(settings: Settings, form: str) -> None:
    settings.ACCESSION_FORMAT = form
    assert "analyses.E001" in {message.id for message in run_checks()}


@pytest.mark.parametrize("other", [{"patient_identifier": "P-2"}, {"accession_number": "A-2"}])
def test_a_batch_never_goes_to_another_patient(
    site: Site, technician: User, other: dict[str, str]
) -> None:
    told = {"accession_number": "A-1", "patient_identifier": "P-1", "batch": uuid4()}
    sample_create(new=NewSample(site=site, **told), by=technician)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="begun for another sample"):
        sample_create(new=NewSample(site=site, **(told | other)), by=technician)  # type: ignore[arg-type]
    assert Sample.objects.count() == 1
