"""The way of an archive to the server: announced, sent piece by piece, finished with its form.

The page's script drives this; without it the form sends a small archive in one go.
"""

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from inference.datasets import selectors, uploads
from inference.datasets.forms import AnnouncementForm, ArchiveForm
from inference.models import DatasetUpload


@requires(Permission.MANAGE_DATASETS)
@require_http_methods(["GET", "POST"])
def dataset_new(request: AuthenticatedRequest) -> HttpResponse:
    """The page that takes an archive; a POST is one whole archive, from a page without script."""
    if request.method == "GET":
        asked = {name: request.GET.get(name) for name in ("dataset", "site")}
        form = ArchiveForm(initial=asked, person=request.user)
        return _page(request, form)
    form = ArchiveForm(request.POST, request.FILES, person=request.user)
    archive = request.FILES.get("archive")
    if not form.is_valid():
        return _page(request, form, status=422)
    if archive is None or not archive.size:
        form.add_error(None, "Choose a ZIP archive first.")
        return _page(request, form, status=422)
    if archive.size > settings.UPLOAD_MAX_BYTES:
        form.add_error(
            None,
            "Without its script this page takes archives of up to "
            f"{settings.UPLOAD_MAX_BYTES // 2**20} MB. Allow scripts in your browser, or have the "
            "archive imported on the server with manage.py import_dataset.",
        )
        return _page(request, form, status=422)
    try:
        version = uploads.archive_upload(
            file_name=str(archive.name),
            size=archive.size,
            chunks=archive.chunks(),
            target=form.target,
            table=form.sent_table,
            by=request.user,
        )
    except ValidationError as error:
        form.add_error(None, error)
        return _page(request, form, status=422)
    return redirect("inference:dataset_version", pk=version.pk)


def _page(request: AuthenticatedRequest, form: ArchiveForm, *, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "max_bytes": settings.DATASET_MAX_BYTES,
        "piece_bytes": uploads.PIECE_BYTES,
    }
    return render(request, "inference/dataset_new.html", context, status=status)


@requires(Permission.MANAGE_DATASETS)
@require_POST
def dataset_upload(request: AuthenticatedRequest) -> JsonResponse:
    """Announce a file, with the whole form, so that its faults are told before a byte is sent."""
    form = ArchiveForm(request.POST, request.FILES, person=request.user)
    file = AnnouncementForm(request.POST)
    if not form.is_valid() or not file.is_valid():
        return _refused(form if not form.is_valid() else file)
    try:
        upload = uploads.upload_begin(by=request.user, **file.cleaned_data)
    except ValidationError as error:
        return _error(error)
    return JsonResponse(
        {
            "received": upload.received,
            "piece_url": reverse("inference:dataset_piece", args=[upload.pk]),
            "finish_url": reverse("inference:dataset_finish", args=[upload.pk]),
            "discard_url": reverse("inference:dataset_discard", args=[upload.pk]),
        }
    )


@requires(Permission.MANAGE_DATASETS)
@require_POST
def dataset_piece(request: AuthenticatedRequest, pk: int) -> JsonResponse:
    """Take a piece: raw bytes, and in Upload-Offset where in the file they begin.

    409, with where to go on, if that is not where the file ends.
    """
    upload = _upload(request, pk)
    offset = request.headers.get("Upload-Offset", "")
    length = request.headers.get("Content-Length", "")
    if not (_is_number(offset) and _is_number(length)):
        return JsonResponse({"error": "Upload-Offset or Content-Length is missing."}, status=422)
    try:
        received = uploads.piece_append(
            upload=upload, offset=int(offset), piece=request, length=int(length)
        )
    except uploads.OffsetError as error:
        return JsonResponse({"received": error.received}, status=409)
    except ValidationError as error:
        return _error(error)
    return JsonResponse({"received": received})


@requires(Permission.MANAGE_DATASETS)
@require_POST
def dataset_finish(request: AuthenticatedRequest, pk: int) -> JsonResponse:
    """All pieces are there: make the version, and queue its import."""
    upload = _upload(request, pk)
    if upload.version_id is None:
        form = ArchiveForm(request.POST, request.FILES, person=request.user)
        if not form.is_valid():
            return _refused(form)
        try:
            uploads.upload_finish(
                upload=upload, target=form.target, table=form.sent_table, by=request.user
            )
        except ValidationError as error:
            return _error(error)
        upload.refresh_from_db()
    return JsonResponse({"url": reverse("inference:dataset_version", args=[upload.version_id])})


@requires(Permission.MANAGE_DATASETS)
@require_POST
def dataset_discard(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Throw away an upload that was begun."""
    uploads.upload_discard(upload=_upload(request, pk), by=request.user)
    messages.success(request, "The upload is thrown away.")
    return redirect("inference:datasets")


def _upload(request: AuthenticatedRequest, pk: int) -> DatasetUpload:
    return get_object_or_404(selectors.uploads_for(request.user), pk=pk)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _refused(form: ArchiveForm | AnnouncementForm) -> JsonResponse:
    sentences = [str(text) for errors in form.errors.values() for text in errors]
    return JsonResponse({"error": " ".join(sentences), "fields": list(form.errors)}, status=422)


def _error(error: ValidationError) -> JsonResponse:
    return JsonResponse({"error": " ".join(error.messages)}, status=422)
