"""Reads of people, sites and events, scoped to the person who asks."""

from datetime import timedelta

from django.db.models import QuerySet
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


def recent_login_failures(login: str) -> int:
    """Failed log-ins of the last hour under one user name or e-mail, in every process."""
    return AuditEvent.objects.filter(
        action=Action.LOGIN_FAILED,
        at__gt=timezone.now() - timedelta(hours=1),
        object_label=login.lower()[:200],
    ).count()
