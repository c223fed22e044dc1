"""The admin's page about models."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.access import requires
from accounts.permissions import Permission
from inference import selectors


@requires(Permission.VIEW_MODELS)
@require_GET
def models(request: HttpRequest) -> HttpResponse:
    context = {"active": selectors.active_model_version(), "versions": selectors.model_versions()}
    return render(request, "inference/models.html", context)
