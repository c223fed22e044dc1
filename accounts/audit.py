"""The audit trail: the one way to write an event.

Call :func:`record` inside the transaction of the act itself, so that neither exists without the
other.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import models, transaction

from accounts.models import Action, AuditEvent, User

__all__ = ["Action", "during", "record"]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest


_request: ContextVar["HttpRequest | None"] = ContextVar("audited_request", default=None)


@contextmanager
def during(request: "HttpRequest") -> "Iterator[None]":
    """Events recorded inside carry the address and user agent of this request."""
    token = _request.set(request)
    try:
        yield
    finally:
        _request.reset(token)


def record(
    action: Action,
    *,
    actor: User | None,
    subject: models.Model | None = None,
    label: str = "",
    **details: Any,
) -> AuditEvent:
    """Append one event.

    ``subject`` is the row that the act was about (``label`` names it where there is no row);
    ``details`` is JSON and holds no secret.
    """
    request = _request.get()
    label = label or (str(subject) if subject else "")
    with transaction.atomic():
        return AuditEvent.objects.create(
            action=action,
            actor=actor,
            actor_role=actor.role if actor else "",
            object_type=subject._meta.label_lower if subject else "",
            object_id=str(subject.pk) if subject else "",
            object_label=_storable(label)[:200],
            details=_storable(details),
            address=address_of(request) if request else None,
            user_agent=request.headers.get("User-Agent", "")[:300] if request else "",
        )


def address_of(request: "HttpRequest") -> str | None:
    """The address that the request came from; behind our own proxy, the one that it has seen.

    Only the last entry of X-Forwarded-For is the proxy's: the rest is whatever the client says.
    """
    address = request.META.get("REMOTE_ADDR", "")
    if settings.BEHIND_PROXY:
        address = request.headers.get("X-Forwarded-For", address).rsplit(",", 1)[-1].strip()
    try:
        return str(ip_address(address))
    except ValueError:
        return None


def _storable(value: Any) -> Any:
    """Without NUL characters, which PostgreSQL refuses in text and JSON."""
    match value:
        case str():
            return value.replace("\0", "")
        case dict():
            return {_storable(name): _storable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_storable(inner) for inner in value]
        case _:
            return value
