"""The page that shows how the models in use fare."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from analyses import alerts, watching

ANSWERED_SHOWN = 10


@requires(Permission.WATCH_MODELS)
@require_GET
def watch(request: AuthenticatedRequest) -> HttpResponse:
    """Week by week, what people changed, how sure the model is, and what is unfamiliar to it."""
    watched = watching.watch(watching.sites_watched_by(request.user))
    alerts.alerts_raise(watched)
    answered = watching.alerts_for(request.user).filter(acknowledged_at__isnull=False)
    context = {
        "watched": watched,
        "open": watching.open_alerts_for(request.user),
        "answered": answered.order_by("-acknowledged_at")[:ANSWERED_SHOWN],
        "fewest": watching.FEWEST,
        "reference": watching.REFERENCE,
    }
    return render(request, "analyses/watch.html", context)


@requires(Permission.WATCH_MODELS)
@require_POST
def acknowledge(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    alert = get_object_or_404(watching.alerts_for(request.user), pk=pk)
    try:
        note = request.POST.get("note", "")[:500]
        alerts.alert_acknowledge(alert=alert, note=note, by=request.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("analyses:watch")
