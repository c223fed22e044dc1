"""Writes of people and sites: one transaction each, its audit event inside it."""

import secrets
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts import audit
from accounts.models import Site, User
from accounts.permissions import Role

DEFAULT_SITE_NAME = "Main laboratory"


def generate_password() -> str:
    """A random password of some 95 bits that can be read aloud and typed."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"  # no l, o, i, 0, 1
    return "-".join("".join(secrets.choice(alphabet) for _ in range(5)) for _ in range(4))


@transaction.atomic
def person_create(
    *,
    username: str,
    email: str,
    full_name: str,
    role: str,
    sites: Iterable[Site],
    by: User | None,
) -> tuple[User, str]:
    """Add a person and return them with their first password, which is kept nowhere."""
    person = User(username=username, email=email.lower(), full_name=full_name, role=role)
    password = generate_password()
    person.set_password(password)
    person.full_clean()
    person.save()
    person.sites.set(sites)
    audit.record(audit.Action.PERSON_CREATED, actor=by, subject=person, after=_as_json(person))
    return person, password


@transaction.atomic
def person_update(
    *,
    person: User,
    username: str,
    email: str,
    full_name: str,
    role: str,
    sites: Iterable[Site],
    is_active: bool,
    by: User,
) -> User:
    """Change a person. The last active admin can be neither demoted nor deactivated."""
    before_person = User.objects.select_for_update().get(pk=person.pk)
    before = _as_json(before_person)
    loses_admin = before_person.role == Role.ADMIN and (role != Role.ADMIN or not is_active)
    if loses_admin and not _other_active_admins(person):
        raise ValidationError("This is the last active admin. Give another person that role first.")
    person.username, person.email, person.full_name = username, email.lower(), full_name
    person.role, person.is_active = role, is_active
    person.full_clean()
    person.save()
    person.sites.set(sites)
    audit.record(
        audit.Action.PERSON_CHANGED,
        actor=by,
        subject=person,
        before=before,
        after=_as_json(person),
    )
    return person


@transaction.atomic
def password_reset_by_admin(*, person: User, by: User) -> str:
    """Give a person a new random password and return it; their sessions end."""
    password = generate_password()
    person.set_password(password)
    person.save(update_fields=["password"])
    audit.record(audit.Action.PASSWORD_CHANGED, actor=by, subject=person, reset_by_admin=True)
    return password


@transaction.atomic
def password_change(*, person: User, password: str) -> None:
    """The person's own new password, validated by the form before."""
    person.set_password(password)
    person.save(update_fields=["password"])
    audit.record(audit.Action.PASSWORD_CHANGED, actor=person, subject=person)


@transaction.atomic
def site_create(*, name: str, by: User | None) -> Site:
    site = Site(name=name)
    site.full_clean()
    site.save()
    audit.record(audit.Action.SITE_CREATED, actor=by, subject=site)
    return site


@transaction.atomic
def site_update(*, site: Site, name: str, by: User) -> Site:
    before = Site.objects.get(pk=site.pk).name
    site.name = name
    site.full_clean()
    site.save()
    audit.record(audit.Action.SITE_CHANGED, actor=by, subject=site, before=before, after=name)
    return site


@transaction.atomic
def first_people_create() -> list[tuple[User, str]]:
    """One admin, one technician and one doctor at the default site, with their first passwords.

    Does nothing once there is anybody: the passwords are returned once and kept nowhere.
    """
    if User.objects.exists():
        return []
    site = Site.objects.first() or site_create(name=DEFAULT_SITE_NAME, by=None)
    return [
        person_create(
            username=role.value,
            email=f"{role.value}@hematovision.example",
            full_name=f"First {role.label}",
            role=role,
            sites=[site],
            by=None,
        )
        for role in (Role.ADMIN, Role.TECHNICIAN, Role.DOCTOR)
    ]


def _other_active_admins(person: User) -> bool:
    admins = User.objects.select_for_update().filter(role=Role.ADMIN, is_active=True)
    return any(admin.pk != person.pk for admin in admins)


def _as_json(person: User) -> dict[str, object]:
    return {
        "username": person.username,
        "email": person.email,
        "full_name": person.full_name,
        "role": person.role,
        "active": person.is_active,
        "sites": sorted(site.name for site in person.sites.all()),
    }
