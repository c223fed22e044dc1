"""The admin's page about models."""

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from inference.registry import selectors


@requires(Permission.VIEW_MODELS)
@require_GET
def models(request: AuthenticatedRequest) -> HttpResponse:
    context = {"active": selectors.active_model_version(), "versions": selectors.model_versions()}
    return render(request, "inference/models.html", context)
