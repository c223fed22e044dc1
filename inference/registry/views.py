"""The pages of the registry: versions, one of them, two side by side, and what serves where."""

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.access import AuthenticatedRequest, requires
from accounts.models import Site
from accounts.permissions import Permission
from accounts.selectors import sites_for
from inference.exchange.selectors import edge_of
from inference.ml.bundle import BundleError
from inference.models import Deployment, ModelVersion
from inference.registry import selectors, services
from inference.registry.forms import PromotionForm, ReasonForm
from inference.registry.gate import gate_of
from inference.sites.selectors import accepted_validations


@requires(Permission.VIEW_MODELS)
@require_GET
def models(request: AuthenticatedRequest) -> HttpResponse:
    """What serves where, and every version with its key figures."""
    scopes = selectors.scopes_for(request.user)
    versions = dict.fromkeys(scope.active for scope in scopes if scope.active)
    context = {
        "scopes": [scope for scope in scopes if scope.site is None or scope.own or scope.previous],
        "standings": selectors.standing_of(selectors.model_versions()),
        "problems": [problem for one in versions if (problem := selectors.bundle_problem(one))],
    }
    return render(request, "inference/models.html", context)


@requires(Permission.VIEW_MODELS)
@require_GET
def model(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """One version: where it serves, what the gate says, its card, lineage and history."""
    version = _version(pk)
    (standing,) = selectors.standing_of([version])
    comparisons = list(selectors.comparisons_of(version))
    scopes = selectors.scopes_for(request.user)
    gate_beside = {active: gate_of(version, active) for active in {one.active for one in scopes}}
    accepted = accepted_validations(version)
    context = {
        "version": version,
        "standing": standing,
        "problem": selectors.bundle_problem(version),
        "gates": [(scope, gate_beside[scope.active]) for scope in scopes],
        "accepted_at": {validation.site_id for validation in accepted},
        "fit_at": {one.site_id for one in accepted if not one.is_against_verdict},
        "comparisons": comparisons,
        "running": [one for one in comparisons if not one.job.is_over],
        "deployments": selectors.deployments_of(version),
        "lineage": selectors.lineage_of(version),
        "has_report": selectors.report_path(version).is_file(),
        "edge": edge_of(version),
    }
    return render(request, "inference/model.html", context)


@requires(Permission.VIEW_MODELS)
@require_GET
def beside(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Two versions side by side: both cards' figures, and the newest comparison of the two."""
    version = _version(pk)
    others = selectors.model_versions().exclude(pk=pk)
    other = None
    if chosen := request.GET.get("other", ""):
        other = get_object_or_404(others, pk=chosen if chosen.isdecimal() else 0)
    else:
        active = selectors.active_model_version()
        other = active if active != version else others.first()
    context = {
        "version": version,
        "other": other,
        "others": others,
        "cards": [one.card for one in (version, other) if one],
        "comparison": other and selectors.comparisons_of(version).filter(baseline=other).first(),
    }
    return render(request, "inference/model_beside.html", context)


@requires(Permission.PROMOTE_MODELS)
@require_POST
def compare(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Have a candidate compared with a model in use, and show the comparison."""
    version = _version(pk)
    baseline = _model_told(request, "baseline")
    if baseline is None:
        messages.warning(request, "There is no model in use to compare with.")
        return redirect("inference:model", pk=pk)
    try:
        services.comparison_start(candidate=version, baseline=baseline, by=request.user)
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    return redirect(f"{reverse('inference:model_beside', args=[pk])}?other={baseline.pk}")


@requires(Permission.PROMOTE_MODELS)
@require_http_methods(["GET", "POST"])
def promote(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Put a version in use somewhere: what the gate says, and the reason."""
    version, site = _version(pk), _site(request)
    active = selectors.active_model_version(site)
    expected = _model_told(request, "expected") if request.method == "POST" else active
    gate = gate_of(version, active)
    form = PromotionForm(request.POST or None, closed=bool(gate.objection))
    if request.method == "POST" and form.is_valid():
        try:
            services.model_promote(
                model_version=version,
                site=site,
                reason=form.cleaned_data["reason"],
                override_reason=form.cleaned_data.get("override_reason", ""),
                expected_active=expected,
                by=request.user,
            )
        except (ValidationError, BundleError) as error:
            form.add_error(None, _sentence(error))
        else:
            where = f"at {site}" if site else "for new samples"
            messages.success(request, f"{version} is in use {where}.")
            return redirect("inference:models")
    context = {
        "version": version,
        "site": site,
        "active": active,
        "gate": gate,
        "form": form,
        "problem": selectors.bundle_problem(version),
    }
    status = 422 if form.errors else 200
    return render(request, "inference/model_promote.html", context, status=status)


@requires(Permission.PROMOTE_MODELS)
@require_POST
def go_back(request: AuthenticatedRequest) -> HttpResponse:
    """Undo the last change of a scope, with one click."""
    site, expected = _site(request), _model_told(request, "expected")
    return _changed(
        request,
        lambda: services.model_go_back(site=site, expected_active=expected, by=request.user),
    )


@requires(Permission.PROMOTE_MODELS)
@require_POST
def return_to_default(request: AuthenticatedRequest) -> HttpResponse:
    """A site gives up the model of its own."""
    site, expected = _site(request), _model_told(request, "expected")
    form = ReasonForm(request.POST)
    if site is None or not form.is_valid():
        problem = "Choose a site." if site is None else str(form.errors["reason"][0])
        messages.warning(request, problem)
        return redirect("inference:models")
    reason = form.cleaned_data["reason"]
    return _changed(
        request,
        lambda: services.site_return_to_default(
            site=site, reason=reason, expected_active=expected, by=request.user
        ),
    )


def _changed(request: AuthenticatedRequest, act: Callable[[], Deployment]) -> HttpResponse:
    try:
        deployment = act()
    except (ValidationError, BundleError) as error:
        messages.error(request, _sentence(error))
    else:
        where = f"at {deployment.site}" if deployment.site else "for new samples"
        now = selectors.active_model_version(deployment.site)
        messages.success(request, f"{now} is in use {where}.")
    return redirect("inference:models")


def _sentence(error: ValidationError | BundleError) -> str:
    return str(error.messages[0]) if isinstance(error, ValidationError) else str(error)


def _version(pk: int) -> ModelVersion:
    return get_object_or_404(selectors.model_versions(), pk=pk)


def _site(request: AuthenticatedRequest) -> Site | None:
    """The site that a form or an address names; none stands for all."""
    told = _told(request, "site")
    if not told:
        return None
    return get_object_or_404(sites_for(request.user), pk=told if told.isdecimal() else 0)


def _model_told(request: AuthenticatedRequest, name: str) -> ModelVersion | None:
    """The version that a form names: ``expected`` is the one that its page showed as in use."""
    told = _told(request, name)
    return ModelVersion.objects.filter(pk=told if told.isdecimal() else 0).first()


def _told(request: HttpRequest, name: str) -> str:
    return str(request.POST.get(name, request.GET.get(name, "")))
