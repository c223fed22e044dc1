"""The page that shows how the models in use fare."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from analyses import alerts, watching
from analyses.forms import AcknowledgementForm

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
    form = AcknowledgementForm(request.POST)
    if not form.is_valid():
        messages.error(request, str(form.errors["note"][0]))
        return redirect("analyses:watch")
    try:
        alerts.alert_acknowledge(alert=alert, note=form.cleaned_data["note"], by=request.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("analyses:watch")
