"""Pages about datasets; the way of an archive to the server is in upload_views.py."""

import csv
from collections.abc import Iterator

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import (
    FileResponse,
    Http404,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import content_disposition_header
from django.views.decorators.http import (
    conditional_page,
    require_GET,
    require_http_methods,
    require_POST,
)

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from hematovision.files.store import StoreError
from inference.cells import CLASSES
from inference.datasets import looking, pictures, selectors, services, viewing
from inference.datasets.forms import DatasetForm, EditForm
from inference.models import DatasetVersion

LEFT_OUT_PER_PAGE = 50


@requires(Permission.MANAGE_DATASETS)
@require_GET
def datasets(request: AuthenticatedRequest) -> HttpResponse:
    """Every dataset with its versions, the newest first; the retired ones apart."""
    all_of_them = selectors.datasets_with_versions_for(request.user)
    context = {
        "datasets": [dataset for dataset in all_of_them if dataset.retired_at is None],
        "retired": [dataset for dataset in all_of_them if dataset.retired_at is not None],
        "uploads": selectors.open_uploads_for(request.user),
    }
    return render(request, "inference/datasets.html", context)


@requires(Permission.MANAGE_DATASETS)
@require_http_methods(["GET", "POST"])
def dataset_change(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    dataset = get_object_or_404(selectors.datasets_for(request.user), pk=pk)
    form = DatasetForm(request.POST or None, instance=dataset)
    if request.method == "POST" and form.is_valid():
        services.dataset_update(dataset=dataset, by=request.user, **form.cleaned_data)
        messages.success(request, f"{dataset} is changed.")
        return redirect("inference:datasets")
    context = {"form": form, "dataset": dataset}
    status = 422 if form.errors else 200
    return render(request, "inference/dataset_form.html", context, status=status)


@requires(Permission.MANAGE_DATASETS)
@require_POST
def dataset_retire(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Retire a dataset, or bring a retired one back (``act``)."""
    dataset = get_object_or_404(selectors.datasets_for(request.user), pk=pk)
    match request.POST.get("act"):
        case "retire":
            services.dataset_retire(dataset=dataset, by=request.user)
            messages.success(request, f"{dataset} is retired.")
        case "restore":
            services.dataset_restore(dataset=dataset, by=request.user)
            messages.success(request, f"{dataset} is in use again.")
    return redirect("inference:datasets")


# --- A version -------------------------------------------------------------------------------
@requires(Permission.MANAGE_DATASETS)
@require_GET
def dataset_version(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Look at the data; while the import runs, at how far it is."""
    version = _version(request, pk)
    viewing.record_view(request, version)
    left_out = Paginator(version.left_out.all(), LEFT_OUT_PER_PAGE)
    context = {
        "version": version,
        "look": looking.look_at(version) if version.ready_at else None,
        "page": left_out.get_page(request.GET.get("page")),
        "known_classes": CLASSES,
    }
    return render(request, "inference/dataset_version.html", context)


@requires(Permission.MANAGE_DATASETS)
@require_http_methods(["GET", "POST"])
def dataset_edit(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Make a new version with other class names, or without classes or single pictures."""
    version = get_object_or_404(selectors.ready_versions_for(request.user), pk=pk)
    form = EditForm(request.POST or None, version=version)
    ticked = _numbers(request.POST.getlist("left_out"))
    if request.method == "POST" and form.is_valid():
        try:
            made = services.dataset_version_edit(
                parent=version,
                labels=form.changes if "label_0" in request.POST else {},
                left_out=[*ticked, *form.left_out],
                by=request.user,
            )
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return redirect("inference:dataset_version", pk=made.pk)
    context = {
        "form": form,
        "version": version,
        "left_out": ticked,
        "known_classes": CLASSES,
    }
    status = 422 if form.errors else 200
    return render(request, "inference/dataset_edit.html", context, status=status)


def _numbers(texts: list[str]) -> list[int]:
    return [int(text) for text in texts if text.isascii() and text.isdecimal() and len(text) < 19]


# --- Files -----------------------------------------------------------------------------------
@requires(Permission.MANAGE_DATASETS)
@require_GET
@conditional_page
def dataset_picture(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """A picture of a version, small; around its cell where the label is that of a cell."""
    row = get_object_or_404(selectors.images_for(request.user), pk=pk)
    viewing.record_part(request, row.version)
    try:
        data = pictures.small(row)
    except StoreError as error:
        return HttpResponse(str(error), status=503, content_type="text/plain; charset=utf-8")
    response = HttpResponse(data, content_type="image/jpeg")
    response["Cache-Control"] = "private, no-cache"
    return response


@requires(Permission.MANAGE_DATASETS)
@require_GET
def dataset_report(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """The saved report: one page that needs nothing else."""
    return _download(request, pk, looking.REPORT_NAME, "report.html", "text/html")


@requires(Permission.MANAGE_DATASETS)
@require_GET
def dataset_manifest(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """The pictures of a version, one line each, whose SHA-256 the version's row holds."""
    return _download(request, pk, looking.MANIFEST_NAME, "manifest.jsonl", "application/jsonl")


def _download(
    request: AuthenticatedRequest, pk: int, name: str, shown: str, media_type: str
) -> HttpResponseBase:
    version = get_object_or_404(selectors.ready_versions_for(request.user), pk=pk)
    try:
        file = (version.folder / name).open("rb")
    except OSError as error:
        raise Http404("This file is no longer on the server: restore it from a backup.") from error
    viewing.record_download(request, version, what=shown)
    return FileResponse(
        file,
        as_attachment=True,
        filename=f"{version.dataset.name} v{version.number} {shown}",
        content_type=media_type,
        headers={"X-Content-Type-Options": "nosniff"},
    )


@requires(Permission.MANAGE_DATASETS)
@require_GET
def dataset_left_out(request: AuthenticatedRequest, pk: int) -> StreamingHttpResponse:
    """The files that are not in a version, and why, as CSV."""
    version = _version(request, pk)
    viewing.record_download(request, version, what="left out.csv")
    response = StreamingHttpResponse(_left_out_lines(version), content_type="text/csv")
    name = f"{version.dataset.name} v{version.number} left out.csv"
    response["Content-Disposition"] = content_disposition_header(True, name) or "attachment"
    return response


def _left_out_lines(version: DatasetVersion) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(["file", "reason"])
    rows = version.left_out.values_list("file_name", "reason")
    for row in rows.iterator(chunk_size=2000):
        yield writer.writerow([_no_formula(text) for text in row])


class _Echo:
    """What csv writes to: it hands each line back."""

    def write(self, line: str) -> str:
        return line


def _no_formula(text: str) -> str:
    """A spreadsheet must not run what a file of a stranger is called."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _version(request: AuthenticatedRequest, pk: int) -> DatasetVersion:
    return get_object_or_404(selectors.versions_for(request.user), pk=pk)
