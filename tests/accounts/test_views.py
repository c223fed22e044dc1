"""Logging in and out, passwords, people: as a browser sees it."""

import re

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, Settings

from accounts.models import AuditEvent, User
from accounts.permissions import Role
from accounts.services import password_reset_by_admin
from tests.factories import PASSWORD, SiteFactory, UserFactory

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/"


def log_in(client: Client, name: str, password: str = PASSWORD) -> int:
    return client.post(LOGIN, {"username": name, "password": password}).status_code


@pytest.mark.parametrize("name", ["eva", "EVA", "eva@example.org", "Eva@Example.org"])
def test_log_in_by_user_name_or_e_mail(client: Client, name: str) -> None:
    person = UserFactory.create(username="eva")
    assert log_in(client, name) == 302
    assert client.session["_auth_user_id"] == str(person.pk)
    event = AuditEvent.objects.get(action="login")
    assert (event.actor, event.address) == (person, "127.0.0.1")


def test_a_wrong_password_is_recorded_without_it(client: Client) -> None:
    UserFactory.create(username="eva")
    assert log_in(client, "eva", "guess-guess-guess") == 200
    event = AuditEvent.objects.get()
    assert (event.action, event.object_label, event.details) == ("login_failed", "eva", {})


def test_too_many_failures_lock_for_a_while(client: Client, settings: Settings) -> None:
    settings.LOGIN_FAILURES_PER_HOUR = 3
    UserFactory.create(username="eva")
    for _ in range(3):
        assert log_in(client, "eva", "guess-guess-guess") == 200
    response = client.post(LOGIN, {"username": "eva", "password": PASSWORD})
    assert response.status_code == 429
    assert b"Too many failed log-ins" in response.content
    assert "_auth_user_id" not in client.session


def test_log_out_is_recorded(client: Client) -> None:
    person = UserFactory.create()
    client.force_login(person)
    assert client.post("/accounts/logout/").status_code == 302
    assert AuditEvent.objects.get(action="logout").actor == person
    assert client.get("/home/").status_code == 302


def test_changing_the_password_ends_other_sessions(client: Client) -> None:
    person = UserFactory.create(role=Role.DOCTOR)
    elsewhere = Client()
    for one in (client, elsewhere):
        one.force_login(person)
    new = "a-much-better-secret"
    form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    assert client.post("/accounts/password/", form).status_code == 302
    assert client.get("/home/").status_code == 200
    assert elsewhere.get("/home/").status_code == 302
    assert AuditEvent.objects.filter(action="password_changed", actor=person).exists()


@pytest.mark.parametrize("weak", ["short-one", "password1234"])
def test_weak_passwords_are_refused(client: Client, weak: str) -> None:
    person = UserFactory.create()
    client.force_login(person)
    form = {"old_password": PASSWORD, "new_password1": weak, "new_password2": weak}
    assert client.post("/accounts/password/", form).status_code == 200
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


@pytest.fixture
def admin_client(client: Client) -> Client:
    client.force_login(UserFactory.create(role=Role.ADMIN))
    return client


def test_an_admin_adds_a_person_who_can_log_in(admin_client: Client) -> None:
    site = SiteFactory.create()
    form = {
        "full_name": "Eva Adam",
        "username": "eva",
        "email": "eva@example.org",
        "role": "doctor",
        "sites": [site.pk],
    }
    response = admin_client.post("/accounts/people/new/", form)
    assert response["Cache-Control"] == "no-store"
    found = re.search(r'id="new-password">([^<]+)<', response.content.decode())
    assert found
    assert log_in(Client(), "eva", found[1]) == 302
    assert list(User.objects.get(username="eva").sites.all()) == [site]


def test_a_doctor_needs_a_site(admin_client: Client) -> None:
    form = {"full_name": "Eva", "username": "eva", "email": "e@e.org", "role": "doctor"}
    response = admin_client.post("/accounts/people/new/", form)
    assert b"need at least one site" in response.content
    assert not User.objects.filter(username="eva").exists()


def test_a_new_password_by_the_admin_ends_sessions(admin_client: Client) -> None:
    person, other = UserFactory.create(), Client()
    other.force_login(person)
    response = admin_client.post(reverse("accounts:person_password", args=[person.pk]))
    assert response.status_code == 200
    assert other.get("/samples/").status_code == 302


def test_a_deactivated_person_is_out_at_once(admin_client: Client) -> None:
    person, other = UserFactory.create(role=Role.ADMIN), Client()
    other.force_login(person)
    form = {
        "full_name": "X",
        "username": person.username,
        "email": person.email,
        "role": "admin",
    }
    assert admin_client.post(f"/accounts/people/{person.pk}/", form).status_code == 302
    assert other.get("/home/").status_code == 302
    assert log_in(Client(), person.username) == 200


def test_denied_says_which_role_may(client: Client) -> None:
    client.force_login(UserFactory.create(role=Role.TECHNICIAN))
    response = client.get("/accounts/people/")
    assert response.status_code == 403
    assert b"Access denied" in response.content
    assert b"Only admins may manage people and sites" in response.content


def test_a_partial_without_session_sends_the_page_to_log_in(client: Client) -> None:
    response = client.get("/samples/1/results/", headers={"HX-Request": "true"})
    assert response["HX-Redirect"].startswith(LOGIN)
    response = client.post("/upload/", headers={"Accept": "application/json"})
    assert response.status_code == 401
    assert "Log in again" in response.json()["error"]


def test_the_audit_page_costs_a_fixed_number_of_queries(
    admin_client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(30):
        log_in(Client(), UserFactory.create().username)
    admin_client.get("/accounts/audit/")
    with django_assert_num_queries(8):
        page = admin_client.get("/accounts/audit/?text=person&action=login")
    assert page.content.count(b"Logged in") == 32  # the admin's, 30 more and the choice in the form


def test_errors_have_friendly_pages(client: Client) -> None:
    response = client.get("/nowhere/")
    assert response.status_code == 404
    assert b"There is nothing at this address" in response.content


def test_the_session_is_not_written_for_every_request(client: Client) -> None:
    client.force_login(UserFactory.create())
    client.get("/samples/")
    first = client.session["seen"]
    client.get("/samples/")
    assert client.session["seen"] == first


def test_pages_carry_a_strict_policy(client: Client) -> None:
    policy = client.get(LOGIN)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_failures_count_at_the_account_under_both_names(client: Client, settings: Settings) -> None:
    settings.LOGIN_FAILURES_PER_HOUR = 4
    UserFactory.create(username="eva")
    for name in ("eva", "EVA", "eva@example.org", "eva@example.org"):
        assert log_in(client, name, "guess-guess-guess") == 200
    assert log_in(client, "eva") == 429
    assert log_in(client, "eva@example.org") == 429


def test_a_new_password_opens_a_locked_account(client: Client, settings: Settings) -> None:
    settings.LOGIN_FAILURES_PER_HOUR = 1
    person = UserFactory.create(username="eva")
    log_in(client, "eva", "guess-guess-guess")
    assert log_in(client, "eva") == 429
    password = password_reset_by_admin(person=person, by=UserFactory.create(role=Role.ADMIN))
    assert log_in(client, "eva", password) == 302


def test_one_address_cannot_try_many_accounts(client: Client, settings: Settings) -> None:
    settings.LOGIN_FAILURES_PER_ADDRESS = 3
    for number in range(3):
        assert log_in(client, f"nobody{number}") == 200
    UserFactory.create(username="eva")
    assert log_in(client, "eva") == 429
    events = AuditEvent.objects.count()
    assert log_in(client, "nobody9") == 429
    assert AuditEvent.objects.count() == events  # and fills no table
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert log_in(elsewhere, "eva") == 302


@pytest.mark.parametrize(
    ("behind_proxy", "expected"), [(True, "198.51.100.9"), (False, "127.0.0.1")]
)
def test_the_address_behind_a_proxy(
    client: Client, settings: Settings, behind_proxy: bool, expected: str
) -> None:
    settings.BEHIND_PROXY = behind_proxy
    client.post(
        LOGIN,
        {"username": "x", "password": "y"},
        headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.9"},
    )
    assert AuditEvent.objects.get().address == expected
