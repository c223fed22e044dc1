"""Files of models, out and in, and their reports."""

from django.contrib import messages
from django.http import FileResponse, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_GET, require_http_methods

from accounts import audit
from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from hematovision.files.upload_handlers import takes_files_up_to
from inference.ml.bundle import CARD_NAME, BundleError
from inference.registry import selectors, transfer
from inference.registry.forms import ImportForm

REPORT_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""A report has its styles and pictures inside: it may show itself, and nothing else."""


@requires(Permission.VIEW_MODELS)
@require_GET
def report(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """The whole evaluation of a version."""
    version = get_object_or_404(selectors.model_versions(), pk=pk)
    try:
        content = selectors.report_path(version).open("rb")
    except OSError:
        messages.warning(request, "This model has no report yet: a comparison writes one.")
        return redirect("inference:model", pk=pk)
    response = FileResponse(content, content_type="text/html; charset=utf-8")
    response["Content-Security-Policy"] = REPORT_POLICY
    return response


@requires(Permission.VIEW_MODELS)
@require_GET
def export(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """The whole bundle as one archive."""
    version = get_object_or_404(selectors.model_versions(), pk=pk)
    try:
        pieces = transfer.bundle_export(model_version=version, by=request.user)
    except BundleError as error:
        return _unavailable(error)
    return StreamingHttpResponse(
        pieces,
        content_type="application/zip",
        headers={
            "Content-Disposition": content_disposition_header(True, f"{version}.zip")
            or "attachment",
            "X-Content-Type-Options": "nosniff",
        },
    )


@requires(Permission.VIEW_MODELS)
@require_GET
def file(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """One file of a bundle, the card unless another is named."""
    version = get_object_or_404(selectors.model_versions(), pk=pk)
    name = request.GET.get("name", CARD_NAME)
    if name not in transfer.file_names(version):
        messages.warning(request, "This model has no such file.")
        return redirect("inference:model", pk=pk)
    if problem := selectors.bundle_problem(version):
        return _unavailable(problem)
    audit.record(audit.Action.MODEL_EXPORTED, actor=request.user, subject=version, file=name)
    return FileResponse(
        (selectors.bundle_folder(version) / name).open("rb"),
        as_attachment=True,
        filename=f"{version}-{name}",
        content_type="application/octet-stream",
    )


@takes_files_up_to("MODEL_UPLOAD_MAX_BYTES")
@requires(Permission.PROMOTE_MODELS)
@require_http_methods(["GET", "POST"])
def model_import(request: AuthenticatedRequest) -> HttpResponse:
    """Take a bundle of another installation as a candidate."""
    form = ImportForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            version = transfer.bundle_import(file=form.cleaned_data["bundle"], by=request.user)
        except BundleError as error:
            form.add_error("bundle", str(error))
        except OSError as error:
            form.add_error("bundle", f"The server cannot keep it: {error.strerror or error}.")
        else:
            messages.success(request, f"{version} is registered.")
            return redirect("inference:model", pk=version.pk)
    status = 422 if request.method == "POST" else 200
    return render(request, "inference/model_import.html", {"form": form}, status=status)


def _unavailable(error: Exception) -> HttpResponse:
    return HttpResponse(str(error), status=503, content_type="text/plain; charset=utf-8")
