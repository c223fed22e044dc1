"""What people say: of a cell, and whether a sample's pictures may be used for training."""

from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from analyses import selectors, services
from analyses.views import answer_options, sample_for, summary_context


@requires(Permission.REVIEW_CELLS)
@require_POST
def review(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """A person's answer to one cell: with htmx its card anew, else back to the sample's page."""
    cell = get_object_or_404(selectors.cells_for(request.user), pk=pk)
    sample = cell.sample_image.sample
    number = request.GET.get("page", "")
    try:
        services.cell_review(cell=cell, label=request.POST.get("label", ""), by=request.user)
    except ValidationError as error:
        if request.htmx:
            return HttpResponse(error.messages[0], status=422, content_type="text/plain")
        messages.error(request, error.messages[0])
    if not request.htmx:
        base = reverse("analyses:sample", args=[sample.pk])
        return redirect(f"{base}?{urlencode({'page': number})}#cell-{cell.pk}")
    context = {
        "cell": selectors.cell_with_answers(cell),
        "page": {"number": number},
        "answer_options": answer_options(sample),
        **summary_context(sample, selectors.progress_of(sample)),
    }
    return render(request, "analyses/_reviewed.html", context)


@requires(Permission.UPLOAD_IMAGES)
@require_POST
def consent(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Whether pictures of the sample may be used to train and test models."""
    sample = sample_for(request, pk)
    services.consent_set(sample=sample, given=request.POST.get("given") == "yes", by=request.user)
    return redirect("analyses:sample", pk=sample.pk)
