"""The audit trail: the one way to write an event.

Call :func:`record` inside the transaction of the act itself, so that neither exists without the
other.
"""

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

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
    with transaction.atomic():
        return AuditEvent.objects.create(
            action=action,
            actor=actor,
            actor_role=actor.role if actor else "",
            object_type=subject._meta.label_lower if subject else "",
            object_id=str(subject.pk) if subject else "",
            object_label=(label or (str(subject) if subject else ""))[:200],
            details=details,
            address=request.META.get("REMOTE_ADDR") or None if request else None,
            user_agent=request.headers.get("User-Agent", "")[:300] if request else "",
        )
