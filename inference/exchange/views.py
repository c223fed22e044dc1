"""The pages of exports and imports: classifiers for small devices, and plain Keras files."""

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import FileResponse, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import audit
from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from hematovision.files.upload_handlers import takes_files_up_to
from inference.exchange import selectors, services
from inference.exchange.forms import KerasFileForm, KerasOptionsForm
from inference.models import ModelVersion


@requires(Permission.PROMOTE_MODELS)
@require_POST
def edge_export(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Have classifiers for small devices made of a version."""
    version = get_object_or_404(ModelVersion, pk=pk)
    try:
        services.edge_export_start(model_version=version, by=request.user)
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    return redirect("inference:model", pk=pk)


@requires(Permission.VIEW_MODELS)
@require_GET
def edge_file(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """A file of an export."""
    export = get_object_or_404(selectors.edge_exports(), pk=pk)
    version, name = export.model_version, request.GET.get("name", "")
    if name not in selectors.edge_files(export):
        messages.warning(request, "This export has no such file.")
        return redirect("inference:model", pk=version.pk)
    try:
        content = (export.folder / name).open("rb")
    except OSError:
        messages.warning(request, "The file is missing on the server. Make the classifiers again.")
        return redirect("inference:model", pk=version.pk)
    audit.record(
        audit.Action.MODEL_EXPORTED, actor=request.user, subject=version, file=f"edge/{name}"
    )
    return FileResponse(
        content,
        as_attachment=True,
        filename=f"{version}-{name}",
        content_type="application/octet-stream",
    )


@takes_files_up_to("MODEL_UPLOAD_MAX_BYTES")
@requires(Permission.PROMOTE_MODELS)
@require_http_methods(["GET", "POST"])
def keras_upload(request: AuthenticatedRequest) -> HttpResponse:
    """The first step: the file."""
    form = KerasFileForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            row = services.keras_import_begin(
                file_name=file.name, chunks=file.chunks(), by=request.user
            )
        except ValidationError as error:
            form.add_error("file", error)
        except OSError as error:
            form.add_error("file", f"The server cannot keep it: {error.strerror or error}.")
        else:
            return redirect("inference:keras_import", pk=row.pk)
    context = {"form": form, "imports": selectors.keras_imports().filter(model_version=None)[:10]}
    status = 422 if request.method == "POST" else 200
    return render(request, "inference/keras_upload.html", context, status=status)


@requires(Permission.PROMOTE_MODELS)
@require_http_methods(["GET", "POST"])
def keras_import(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """The steps after: what was recognised, what a person says, and the model."""
    row = get_object_or_404(selectors.keras_imports(), pk=pk)
    if row.model_version:
        return redirect("inference:model", pk=row.model_version.pk)
    form = (
        KerasOptionsForm(request.POST or None, recognised=row.recognised)
        if row.recognised and row.job and row.job.is_over
        else None
    )
    if form is not None and request.method == "POST" and form.is_valid():
        try:
            services.keras_import_tell(keras_import=row, options=form.options, by=request.user)
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("inference:keras_import", pk=pk)
    status = 422 if form is not None and form.errors else 200
    return render(request, "inference/keras_import.html", {"row": row, "form": form}, status=status)
