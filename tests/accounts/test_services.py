"""People, sites and the trail: each act leaves its event, the guards hold."""

import contextlib

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit, services
from accounts.models import AppendOnlyError, AuditEvent, Site, User
from accounts.permissions import Permission, Role, has_permission
from tests.factories import SiteFactory, UserFactory

pytestmark = [pytest.mark.unit, pytest.mark.django_db]


@pytest.fixture
def admin() -> User:
    return UserFactory.create(role=Role.ADMIN)


def test_the_first_people_are_made_once() -> None:
    people = services.first_people_create()
    assert [person.role for person, _ in people] == [Role.ADMIN, Role.TECHNICIAN, Role.DOCTOR]
    for person, password in people:
        assert person.check_password(password)
        assert [site.name for site in person.sites.all()] == [services.DEFAULT_SITE_NAME]
    assert len({password for _, password in people}) == 3
    assert services.first_people_create() == []
    assert AuditEvent.objects.filter(action="person_created").count() == 3


def test_passwords_are_in_no_event() -> None:
    for _, password in services.first_people_create():
        assert not [e for e in AuditEvent.objects.all() if password in str(e.details)]


def create(admin: User, **changes: object) -> User:
    facts = {
        "username": "eva",
        "email": "Eva@Example.org",
        "full_name": "Eva",
        "role": Role.DOCTOR,
        "sites": [SiteFactory.create()],
    } | changes
    return services.person_create(by=admin, **facts)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("taken", [{"username": "EVA", "email": "b@b.org"}, {"username": "b"}])
def test_names_are_unique_without_case(admin: User, taken: dict[str, str]) -> None:
    create(admin)
    with pytest.raises(ValidationError, match="exists already"):
        create(admin, **taken)


def test_a_user_name_cannot_be_an_e_mail(admin: User) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        create(admin, username="eva@example.org")


def change(person: User, admin: User, **changes: object) -> None:
    facts = {
        "username": person.username,
        "email": person.email,
        "full_name": person.full_name,
        "role": person.role,
        "sites": list(person.sites.all()),
        "is_active": True,
    } | changes
    services.person_update(person=person, by=admin, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("change_to", [{"role": Role.DOCTOR}, {"is_active": False}])
def test_the_last_admin_stays(admin: User, change_to: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="last active admin"):
        change(admin, admin, **change_to)
    admin.refresh_from_db()
    assert (admin.role, admin.is_active) == (Role.ADMIN, True)
    UserFactory.create(role=Role.ADMIN)
    change(admin, admin, **change_to)


def test_a_change_keeps_before_and_after(admin: User) -> None:
    person = create(admin)
    change(person, admin, role=Role.TECHNICIAN)
    event = AuditEvent.objects.get(action="person_changed")
    assert event.details["before"]["role"] == "doctor"
    assert event.details["after"]["role"] == "technician"
    assert (event.actor, event.object_id) == (admin, str(person.pk))


def test_sites_leave_events(admin: User) -> None:
    site = services.site_create(name="Clinic", by=admin)
    services.site_update(site=site, name="Rural clinic", by=admin)
    assert Site.objects.get().name == "Rural clinic"
    assert AuditEvent.objects.get(action="site_changed").details == {
        "before": "Clinic",
        "after": "Rural clinic",
    }


def test_an_act_that_fails_leaves_no_event(admin: User) -> None:
    with contextlib.suppress(RuntimeError), transaction.atomic():
        services.site_create(name="Clinic", by=admin)
        raise RuntimeError
    assert not Site.objects.exists()
    assert not AuditEvent.objects.filter(action="site_created").exists()


def test_events_are_only_added(admin: User) -> None:
    event = audit.record(audit.Action.LOGIN, actor=admin)
    event.action = "else"
    for change_it in (
        event.save,
        event.delete,
        AuditEvent.objects.all().delete,
        lambda: AuditEvent.objects.update(action="else"),
    ):
        with pytest.raises(AppendOnlyError):
            change_it()
    assert AuditEvent.objects.get().action == "login"


def test_permission_needs_role_and_activity() -> None:
    person = UserFactory.build(role=Role.TECHNICIAN)
    assert has_permission(person, Permission.UPLOAD_IMAGES)
    assert not has_permission(person, Permission.MANAGE_PEOPLE)
    person.is_active = False
    assert not has_permission(person, Permission.UPLOAD_IMAGES)
    assert Permission.VIEW_SAMPLES.role_names == "technicians, doctors and admins"
