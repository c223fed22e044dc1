"""The one permission check that every page, file and partial passes."""

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django_htmx.http import HttpResponseClientRedirect

from accounts import audit
from accounts.access import access_of
from accounts.models import User
from accounts.permissions import Permission, has_permission

SESSION_TOUCH_SECONDS = 60


class AccessMiddleware:
    """Lets a request through to a view only as far as the view's declaration allows."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with audit.during(request):
            response = self.get_response(request)
        if getattr(request, "behind_log_in", False) and "Cache-Control" not in response:
            # Nothing of a patient stays in the browser for whoever sits down after the log-out.
            response["Cache-Control"] = "no-store"
        return response

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        access = access_of(view)
        if access is not None and access.public:
            return None
        request.behind_log_in = True  # type: ignore[attr-defined]
        person = request.user
        if not person.is_authenticated:
            return _ask_to_log_in(request)
        if access is not None and person.role and _holds(person, access.permission):
            if not access.poll:
                _keep_session(request)
            return None
        audit.record(
            audit.Action.ACCESS_DENIED, actor=person, label=request.path, method=request.method
        )
        permission = access.permission if access else None
        if permission is None:
            raise PermissionDenied("Your account has no role yet: ask an admin to give it one.")
        raise PermissionDenied(
            f"Only {permission.role_names} may {permission.act}, "
            f"and your role is {person.get_role_display().lower() or 'none yet'}."
        )


def _holds(person: User, permission: Permission | None) -> bool:
    return permission is None or has_permission(person, permission)


def _keep_session(request: HttpRequest) -> None:
    """Push the idle limit on, with one write a minute and not one for every picture of a page."""
    now = int(time.time())
    if now - request.session.get("seen", 0) >= SESSION_TOUCH_SECONDS:
        request.session["seen"] = now


def _ask_to_log_in(request: HttpRequest) -> HttpResponse:
    if request.headers.get("Accept", "").startswith("application/json"):
        return JsonResponse(
            {"error": "Your session has ended. Log in again, then send the files once more."},
            status=401,
        )
    if request.headers.get("HX-Request"):
        # A partial cannot show a log-in form: the whole page goes there and comes back.
        return HttpResponseClientRedirect(
            redirect_to_login(request.headers.get("HX-Current-URL", "/")).url
        )
    # Back to the page afterwards; a form that was sent is gone, and its address may have no page.
    is_page = request.method in ("GET", "HEAD")
    return redirect_to_login(request.get_full_path() if is_page else reverse("home"))
