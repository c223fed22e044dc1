"""A site's first day: its cells, the model measured on them, a verdict, adaptation, acceptance."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import AuthenticatedRequest, requires
from accounts.models import Site
from accounts.permissions import Permission
from inference.models import SiteValidation
from inference.sites import selectors, services
from inference.sites.drawing import curve_of
from inference.sites.forms import AcceptanceForm, ValidationForm
from inference.sites.verdict import CELLS_OF_CLASS, FEWEST_CELLS


@requires(Permission.VALIDATE_MODELS)
@require_GET
def sites(request: AuthenticatedRequest) -> HttpResponse:
    """Which model serves each site, and whether it has been validated there."""
    mine = selectors.sites_to_validate(request.user)
    return render(request, "inference/sites.html", {"standings": selectors.standings_of(mine)})


@requires(Permission.VALIDATE_MODELS)
@require_http_methods(["GET", "POST"])
def site(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Choose cells and model, and have it measured."""
    site = get_object_or_404(selectors.sites_to_validate(request.user), pk=pk)
    form = ValidationForm(request.POST or None, site=site)
    if request.method == "POST" and form.is_valid():
        try:
            validation = services.validation_start(site=site, by=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("inference:validation", pk=validation.pk)
    return _site_page(request, site, form)


def _site_page(request: AuthenticatedRequest, site: Site, form: ValidationForm) -> HttpResponse:
    validations = selectors.validations_for(request.user).filter(site=site)
    context = {
        "site": site,
        "form": form,
        "standing": selectors.standing_of(site),
        "has_cells": selectors.cells_of(site).exists(),
        "validations": validations,
        "fewest": FEWEST_CELLS,
    }
    return render(request, "inference/site.html", context, status=422 if form.errors else 200)


@requires(Permission.VALIDATE_MODELS)
@require_GET
def validation(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """What was measured, the verdict in plain words, and what can be done now."""
    validation = _validation(request, pk)
    return _validation_page(request, validation, AcceptanceForm(validation=validation))


@requires(Permission.VALIDATE_MODELS)
@require_POST
def adapt(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    validation = _validation(request, pk)
    try:
        services.adaptation_start(validation=validation, by=request.user)
    except ValidationError as error:
        messages.error(request, error.messages[0])
    return redirect("inference:validation", pk=validation.pk)


@requires(Permission.VALIDATE_MODELS)
@require_POST
def accept(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    validation = _validation(request, pk)
    form = AcceptanceForm(request.POST, validation=validation)
    if form.is_valid():
        try:
            services.validation_accept(validation=validation, by=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(
                request, f"{validation.model_version} is validated at {validation.site}."
            )
            return redirect("inference:validation", pk=validation.pk)
    return _validation_page(request, validation, form)


def _validation(request: AuthenticatedRequest, pk: int) -> SiteValidation:
    return get_object_or_404(selectors.validations_for(request.user), pk=pk)


def _validation_page(
    request: AuthenticatedRequest, validation: SiteValidation, form: AcceptanceForm
) -> HttpResponse:
    known = validation.figures.get("known")
    context = {
        "validation": validation,
        "form": form,
        "known": known,
        "confusion": confusion_rows(known) if known else [],
        "curve": curve_of(validation.curve) if validation.curve else None,
        "cells_of_class": CELLS_OF_CLASS,
        "measured_again": selectors.validations_for(request.user)
        .filter(
            site=validation.site,
            model_version=validation.adapted,
            dataset_version=validation.dataset_version,
        )
        .first()
        if validation.adapted
        else None,
    }
    status = 422 if form.errors else 200
    return render(request, "inference/validation.html", context, status=status)


def confusion_rows(known: dict[str, list[list[int]]]) -> list[tuple[str, list[tuple[int, bool]]]]:
    """A row for each class that occurs: its label, and how many cells got each answer (and whether
    that is the right one)."""
    names = [str(name) for name in known["names"]]
    return [
        (name, [(count, column == row) for column, count in enumerate(counts)])
        for row, (name, counts) in enumerate(zip(names, known["confusion"], strict=True))
        if sum(counts)
    ]
