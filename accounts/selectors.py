"""Reads of people, sites and events, scoped to the person who asks."""

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.audit import Action
from accounts.models import AuditEvent, Site, User
from accounts.permissions import Permission, Role, has_permission


def sites_for(person: User) -> QuerySet[Site]:
    """The sites whose samples a person may see: their own; every one for an admin."""
    if person.role == Role.ADMIN:
        return Site.objects.all()
    return person.sites.all()


def has_several_sites() -> bool:
    """The default site stays invisible until there is a second one."""
    return Site.objects.count() > 1


def people_for(person: User) -> QuerySet[User]:
    if not has_permission(person, Permission.MANAGE_PEOPLE):
        return User.objects.none()
    return User.objects.prefetch_related("sites")


def colleagues_of(person: User) -> QuerySet[User]:
    """People who share a site with this person: whom a list may be filtered by."""
    if person.role == Role.ADMIN:
        return User.objects.all()
    return User.objects.filter(sites__in=person.sites.all()).distinct()


def audit_events_for(person: User) -> QuerySet[AuditEvent]:
    if not has_permission(person, Permission.VIEW_AUDIT):
        return AuditEvent.objects.none()
    return AuditEvent.objects.select_related("actor")


def person_of_login(login: str) -> User | None:
    """Whom a user name or e-mail address belongs to."""
    return User.objects.filter(Q(username__iexact=login) | Q(email__iexact=login)).first()


def login_failures(login: str, address: str | None) -> tuple[int, int]:
    """Failed log-ins of the last hour, in every process: at this account, from this address.

    Those at the account count under both of its names, since its last new password.
    """
    recent = AuditEvent.objects.filter(at__gt=timezone.now() - timedelta(hours=1))
    failures = recent.filter(action=Action.LOGIN_FAILED)
    from_address = failures.filter(address=address).count() if address else 0
    person = person_of_login(login)
    if person is None:
        return failures.filter(object_label=login.lower()[:200]).count(), from_address
    at_account = failures.filter(object_type=person._meta.label_lower, object_id=str(person.pk))
    changes = recent.filter(action=Action.PASSWORD_CHANGED, object_id=str(person.pk))
    if newest := changes.order_by("-at").first():
        at_account = at_account.filter(at__gt=newest.at)
    return at_account.count(), from_address
