"""Pages about training runs."""

from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from inference.cells import CLASSES
from inference.datasets.selectors import versions_to_train_on_for
from inference.models import TrainingRun
from inference.registry.selectors import active_model_version
from inference.training import selectors, services
from inference.training.curves import best_epoch, charts_of
from inference.training.forms import DataForm, TrainingForm, initial_of, settings_in_words
from inference.training.options import Options, default_options
from inference.training.plan import plan_of

RUNS_PER_PAGE = 20


@requires(Permission.TRAIN_MODELS)
@require_GET
def trainings(request: AuthenticatedRequest) -> HttpResponse:
    """All runs, the newest first."""
    page = Paginator(selectors.runs_for(request.user), RUNS_PER_PAGE)
    return render(
        request, "inference/trainings.html", {"page": page.get_page(request.GET.get("page"))}
    )


@requires(Permission.TRAIN_MODELS)
@require_http_methods(["GET", "POST"])
def training_new(request: AuthenticatedRequest) -> HttpResponse:
    """First what to train on, then how; what that would take is told before it is started."""
    again = _run_to_repeat(request)
    ready = versions_to_train_on_for(request.user).order_by("dataset__name", "-number")
    chosen = request.POST if request.method == "POST" else request.GET
    data = DataForm(chosen if "versions" in chosen else None, versions=ready)
    if not data.is_valid():
        return render(request, "inference/training_data.html", {"form": data})
    versions = list(data.cleaned_data["versions"])
    model = active_model_version()
    initial = initial_of(again) if again else default_options(model).to_json()
    form = TrainingForm(
        request.POST or None,
        initial=initial,
        labels=selectors.labels_of(versions),
        model=model,
    )
    plan = None
    if form.is_valid():
        order = form.order(versions)
        if request.POST.get("act") == "start":
            try:
                run = services.training_start(order=order, by=request.user)
            except ValidationError as error:
                form.add_error(None, error)
            else:
                return redirect("inference:training", pk=run.pk)
        else:
            plan = plan_of(order)
    context = {
        "form": form,
        "versions": versions,
        "plan": plan,
        "again": again,
        "known_classes": list(dict.fromkeys([*(model.classes if model else ()), *CLASSES])),
    }
    return render(
        request, "inference/training_new.html", context, status=422 if form.errors else 200
    )


def _run_to_repeat(request: AuthenticatedRequest) -> TrainingRun | None:
    pk = request.GET.get("again", "")
    if not (pk.isascii() and pk.isdecimal()):
        return None
    return get_object_or_404(selectors.runs_for(request.user), pk=pk)


@requires(Permission.TRAIN_MODELS)
@require_GET
def training(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """A run: how far it is, its curves as they grow, and what came of it."""
    run = get_object_or_404(selectors.runs_for(request.user), pk=pk)
    context = {**_curves(run), "settings": settings_in_words(Options.from_json(run.settings))}
    return render(request, "inference/training.html", context)


@requires(Permission.TRAIN_MODELS, poll=True)
@require_GET
def training_curves(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """The curves; 204 while no epoch has ended since."""
    run = get_object_or_404(selectors.runs_for(request.user), pk=pk)
    if request.GET.get("epochs") == str(len(run.history)):
        return HttpResponse(status=204)
    return render(request, "inference/includes/training_curves.html", _curves(run))


def _curves(run: TrainingRun) -> dict[str, object]:
    epochs, best = Options.from_json(run.settings).epochs, best_epoch(run.history)
    return {
        "run": run,
        "charts": charts_of(run.history, epochs=epochs),
        "epoch": len(run.history) - 1,
        "epochs": epochs,
        "best": best,
        "best_record": {} if best is None else run.history[best],
    }
