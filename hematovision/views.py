"""The front page, the home page by role, the health check and the pages for errors."""

from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig, TooManyFilesSent
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET

from accounts.access import AuthenticatedRequest, public, signed_in
from accounts.permissions import Role
from accounts.selectors import people_for
from analyses import selectors as analyses
from analyses import viewing
from analyses.watching import open_alerts_for
from inference.cells import cell_class, in_order, not_recognised
from inference.registry.selectors import active_model_version

RECENT_SAMPLES = 6


@public
@require_GET
def front(request: HttpRequest) -> HttpResponse:
    """What HematoVision is, for everybody."""
    model = active_model_version()
    context = {
        "model": model,
        "classes": [cell_class(label).plural for label in in_order(model.classes)] if model else [],
        "not_recognised": not_recognised(model.classes if model else []),
    }
    return render(request, "front.html", context)


@signed_in
@require_GET
def home(request: AuthenticatedRequest) -> HttpResponse:
    """Where each role begins: technicians upload, doctors look through, admins oversee."""
    person = request.user
    if person.role == Role.TECHNICIAN:
        return redirect("analyses:upload")
    samples = analyses.with_state(analyses.samples_for(person))
    samples = samples.select_related("site", "created_by", "patient")
    attention = []
    if person.role == Role.DOCTOR:
        attention = list(analyses.samples_to_look_at(samples)[:RECENT_SAMPLES])
    recent = list(samples.exclude(pk__in=[s.pk for s in attention])[:RECENT_SAMPLES])
    viewing.record_list(request, [*attention, *recent])
    context: dict[str, Any] = {
        "attention": analyses.with_counts(attention),
        "recent": analyses.with_counts(recent),
        "unvalidated": analyses.unvalidated_of([*attention, *recent]),
        "alerts": open_alerts_for(person),
        "model": active_model_version(),
    }
    if person.role == Role.ADMIN:
        people = people_for(person)
        context |= {
            "queue": analyses.queue_state(),
            "people_count": people.filter(is_active=True).count(),
            "sample_count": analyses.samples_for(person).count(),
        }
    return render(request, "home.html", context)


@public
@require_GET
def healthz(request: HttpRequest) -> HttpResponse:
    """For load balancers: the process answers and reaches its database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return JsonResponse({"status": "ok"})


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    reason = ""
    if isinstance(exception, RequestDataTooBig):
        reason = str(exception)
    elif isinstance(exception, TooManyFilesSent):
        reason = f"Too many files: send at most {settings.UPLOAD_MAX_FILES} at once."
    return render(request, "errors/400.html", {"reason": reason}, status=400)


def denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    reason = str(exception) if isinstance(exception, PermissionDenied) else ""
    return render(request, "errors/403.html", {"reason": reason}, status=403)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return render(request, "errors/404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Without the request: what is broken may be the database that the page's frame reads."""
    return HttpResponse(render_to_string("errors/500.html"), status=500)


@public
def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if request.headers.get("Accept", "").startswith("application/json"):
        message = "This page is too old. Reload it, then send the files once more."
        return JsonResponse({"error": message}, status=403)
    return render(request, "errors/csrf.html", status=403)
