"""What a view asks of the person: declared on the view, checked in one place (the middleware).

A view without a declaration is refused to everybody, and a test fails for it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails

from accounts.models import User
from accounts.permissions import Permission

View = TypeVar("View", bound=Callable[..., Any])


class AuthenticatedRequest(HttpRequest):
    """The request of a view that is not public: the middleware has let a person through."""

    user: User
    htmx: HtmxDetails


@dataclass(frozen=True)
class Access:
    """``public`` for everybody, else signed in, and with ``permission`` where one is named.

    A ``poll`` is the page's own doing, not the person's: it does not keep a session alive.
    """

    public: bool = False
    permission: Permission | None = None
    poll: bool = False


def public(view: View) -> View:
    """Everybody may call this view."""
    return _declare(view, Access(public=True))


def signed_in(view: View) -> View:
    """Every active person with a role may call this view."""
    return _declare(view, Access())


def requires(permission: Permission, *, poll: bool = False) -> Callable[[View], View]:
    """Only people whose role holds ``permission`` may call this view."""
    return lambda view: _declare(view, Access(permission=permission, poll=poll))


def access_of(view: Callable[..., Any]) -> Access | None:
    return getattr(view, "access", None)


def _declare(view: View, access: Access) -> View:
    view.access = access  # type: ignore[attr-defined]
    return view
