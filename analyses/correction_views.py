"""The page that makes dataset versions of people's answers."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from analyses.corrections import corrections_by_site, corrections_hand_over
from analyses.forms import CorrectionsForm


@requires(Permission.MANAGE_DATASETS)
@require_http_methods(["GET", "POST"])
def corrections(request: AuthenticatedRequest) -> HttpResponse:
    """How many cells of each class each site could give, and the button that gives them."""
    form = CorrectionsForm(request.POST, person=request.user) if request.method == "POST" else None
    if form and form.is_valid():
        try:
            version = corrections_hand_over(by=request.user, **form.cleaned_data)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            messages.success(request, f"{version} is being made.")
            return redirect("inference:dataset_version", pk=version.pk)
    rows = []
    for given in corrections_by_site(request.user):
        asked = form is not None and form.site_pk == str(given.site.pk)
        empty = CorrectionsForm(initial={"site": given.site.pk}, person=request.user)
        rows.append((given, form if asked else empty))
    status = 422 if form else 200
    return render(request, "analyses/corrections.html", {"rows": rows}, status=status)
