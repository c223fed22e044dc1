"""What a page shows of a job."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import AuditEvent
from accounts.permissions import Role
from inference.jobs import log
from inference.models import Job
from inference.templatetags.jobs import in_words, news_of, time_left
from tests.factories import JobFactory, UserFactory

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(UserFactory.create(role=Role.ADMIN))
    return client


def running(**fields: object) -> Job:
    job = JobFactory.create(
        status=Job.Status.RUNNING,
        started_at=timezone.now(),
        stage="cut",
        stage_started_at=timezone.now() - timedelta(seconds=60),
        steps_done=20,
        steps_total=100,
        **fields,
    )
    log.append(job, "20 cells were cut.")
    return job


def test_a_poll_shows_progress_and_is_silent_without_news(admin: Client) -> None:
    job = running()
    response = admin.get(f"/jobs/{job.pk}/?news=0", headers={"hx-request": "true"})
    page = " ".join(response.content.decode().split())
    assert "20 of 100" in page
    assert "about 4 minutes left" in page
    assert "20 cells were cut." in page
    assert response["HX-Trigger"] == '{"job-news": {}}'
    poll = f"/jobs/{job.pk}/?news={news_of(job)}"
    assert poll in page
    assert admin.get(poll).status_code == 204
    log.append(job, "More.")
    assert admin.get(poll).status_code == 200


def test_the_page_is_loaded_again_at_the_end_of_a_job(admin: Client) -> None:
    job = JobFactory.create(status=Job.Status.DONE)
    response = admin.get(f"/jobs/{job.pk}/", headers={"hx-request": "true"})
    assert response["HX-Refresh"] == "true"
    assert "Cancel" not in admin.get(f"/jobs/{job.pk}/").content.decode()


def test_what_earlier_attempts_did_is_no_pace() -> None:
    job = running()
    job.stage_started_with = 10
    assert time_left(job) == "8 minutes"
    job.stage_started_with = 20
    assert time_left(job) == ""
    assert in_words(1) == "1 second"
    assert in_words(3 * 3600 + 20 * 60) == "3 h 20 min"


def test_a_job_is_cancelled_and_tried_again_from_its_page(admin: Client) -> None:
    job = running()
    response = admin.post(f"/jobs/{job.pk}/stop/", {"how": "finish", "next": "/models/"})
    assert response.headers["Location"] == "/models/"
    job.refresh_from_db()
    assert job.stop == "finish"
    htmx = {"hx-request": "true"}
    response = admin.post(f"/jobs/{job.pk}/stop/", {"next": "https://evil.example/"}, headers=htmx)
    assert response["HX-Redirect"] == "/home/"
    job.refresh_from_db()
    assert job.stop == "cancel"
    Job.objects.update(status=Job.Status.FAILED, error="There is no room.")
    assert "There is no room." in admin.get(f"/jobs/{job.pk}/").content.decode()
    admin.post(f"/jobs/{job.pk}/retry/", {"next": "/models/"})
    job.refresh_from_db()
    assert (job.status, job.stop) == ("queued", "")
    assert AuditEvent.objects.filter(action="job_retried").count() == 1


def test_the_log_can_be_read_whole(admin: Client) -> None:
    job = running()
    response = admin.get(f"/jobs/{job.pk}/log/")
    assert b"20 cells were cut." in response.getvalue()
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert admin.get(f"/jobs/{JobFactory.create().pk}/log/").status_code == 404


def test_a_doctor_sees_no_training(client: Client) -> None:
    client.force_login(UserFactory.create(role=Role.DOCTOR))
    assert client.get(f"/jobs/{running().pk}/").status_code == 404


def test_a_waiting_job_says_what_it_waits_for(admin: Client) -> None:
    job = JobFactory.create()
    assert "in a moment" in admin.get(f"/jobs/{job.pk}/").content.decode()
    Job.objects.update(
        due_at=timezone.now() - timedelta(hours=1), created_at=timezone.now() - timedelta(hours=1)
    )
    assert "No training worker has taken it" in admin.get(f"/jobs/{job.pk}/").content.decode()
    running()
    assert "Other work runs first" in admin.get(f"/jobs/{job.pk}/").content.decode()
