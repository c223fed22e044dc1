"""Pages about samples and their images; thin: reads by selectors, writes by services."""

from collections.abc import Callable
from uuid import uuid4

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.views.decorators.http import (
    conditional_page,
    require_GET,
    require_http_methods,
    require_POST,
)

from accounts import audit
from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from accounts.selectors import sites_for
from analyses import pictures, selectors, services, viewing
from analyses.examples import example_sample_create
from analyses.forms import SampleFilterForm, UploadForm
from analyses.history import earlier_readings
from analyses.models import Sample
from hematovision.files.store import StoreError
from hematovision.files.store import read as read_stored
from inference.cells import UNFAMILIAR, answers_for
from inference.ml.bundle import BundleError
from inference.registry.selectors import active_model_version

SAMPLES_PER_PAGE = 20
IMAGES_PER_PAGE = 20
NO_SITE = "You belong to no site yet, so there is no place for your samples: ask an admin."


# --- Upload ----------------------------------------------------------------------------------
@requires(Permission.UPLOAD_IMAGES)
@require_http_methods(["GET", "POST"])
def upload(request: AuthenticatedRequest) -> HttpResponse:
    """The page that takes images. With ``Accept: application/json`` it answers for its script."""
    wants_json = request.headers.get("Accept", "").startswith("application/json")
    if request.method == "GET":
        return _upload_page(request, _new_form(request))
    form = UploadForm(request.POST, person=request.user, samples=_open_samples(request))
    files = request.FILES.getlist("images")
    if not form.is_valid():
        return _upload_refused(request, form, wants_json)
    if not files:
        form.add_error(None, "Choose one or more images first.")
        return _upload_refused(request, form, wants_json)
    target = form.cleaned_data["sample"] or services.NewSample(
        site=form.cleaned_data["site"],
        accession_number=form.cleaned_data["accession_number"],
        patient_identifier=form.cleaned_data["patient_identifier"],
        batch=form.cleaned_data["batch"],
        training_consent=form.cleaned_data["training_consent"],
    )
    try:
        sample, outcomes = services.images_upload(
            target=target, files=((str(file.name), file.read()) for file in files), by=request.user
        )
    except ValidationError as error:
        form.add_error("accession_number", error.messages[0])
        return _upload_refused(request, form, wants_json)
    if wants_json:
        return JsonResponse(_upload_json(sample, outcomes))
    return _upload_page(request, _new_form(request), sample=sample, outcomes=outcomes)


def _new_form(request: AuthenticatedRequest) -> UploadForm:
    initial: dict[str, object] = {"batch": uuid4()}
    if pk := request.GET.get("sample", ""):
        pk = pk if pk.isascii() and pk.isdecimal() else "0"
        initial["sample"] = existing = get_object_or_404(_open_samples(request), pk=pk)
        viewing.record_part(request, existing, of_list=True)
    return UploadForm(initial=initial, person=request.user, samples=_open_samples(request))


def _open_samples(request: AuthenticatedRequest) -> QuerySet[Sample]:
    """Samples that images can be added to: a synthetic example takes no real ones."""
    return selectors.samples_for(request.user).filter(is_synthetic=False)


def _upload_page(
    request: AuthenticatedRequest,
    form: UploadForm,
    *,
    status: int = 200,
    sample: Sample | None = None,
    outcomes: list[services.FileOutcome] | None = None,
) -> HttpResponse:
    known = form.cleaned_data if form.is_bound else form.initial
    context = {
        "form": form,
        "existing": known.get("sample"),
        "sample": sample,
        "outcomes": outcomes,
        "max_mb": settings.UPLOAD_MAX_BYTES // 2**20,
        "max_megapixels": settings.UPLOAD_MAX_PIXELS // 1_000_000,
        "max_files": settings.UPLOAD_MAX_FILES,
        "model": active_model_version(),
        "no_site": "" if sites_for(request.user).exists() else NO_SITE,
    }
    return render(request, "analyses/upload.html", context, status=status)


def _upload_refused(
    request: AuthenticatedRequest, form: UploadForm, wants_json: bool
) -> HttpResponse:
    if wants_json:
        sentences = [str(text) for errors in form.errors.values() for text in errors]
        return JsonResponse({"error": " ".join(sentences)}, status=422)
    return _upload_page(request, form, status=422)


def _upload_json(sample: Sample | None, outcomes: list[services.FileOutcome]) -> dict[str, object]:
    return {
        "sample": sample
        and {
            "id": sample.pk,
            "accession_number": sample.accession_number,
            "url": reverse("analyses:sample", args=[sample.pk]),
            "results_url": reverse("analyses:results", args=[sample.pk]),
        },
        "files": [
            {
                "name": outcome.name,
                "outcome": outcome.outcome,
                "sentence": outcome.sentence,
                "warning": outcome.warning,
            }
            for outcome in outcomes
        ],
    }


@requires(Permission.UPLOAD_IMAGES)
@require_POST
def example(request: AuthenticatedRequest) -> HttpResponse:
    """A synthetic smear, marked as such, goes the way of every upload."""
    site = sites_for(request.user).first()
    if site is None:
        messages.error(request, NO_SITE)
        return redirect("analyses:upload")
    sample = example_sample_create(site=site, by=request.user)
    return redirect("analyses:sample", pk=sample.pk)


# --- Samples ---------------------------------------------------------------------------------
@requires(Permission.VIEW_SAMPLES)
@require_GET
def samples(request: AuthenticatedRequest) -> HttpResponse:
    """The history: what this person's role and sites allow."""
    form = SampleFilterForm(request.GET, person=request.user)
    found = selectors.with_state(selectors.samples_for(request.user))
    found = _filtered(found, form) if form.is_valid() else found.none()
    samples = found.select_related("site", "created_by", "patient")
    page = Paginator(samples, SAMPLES_PER_PAGE).get_page(request.GET.get("page"))
    shown = list(page.object_list)
    viewing.record_list(request, shown, query=request.GET.dict())
    context = {
        "page": page,
        "rows": selectors.with_counts(shown),
        "unvalidated": selectors.unvalidated_of(shown),
        "form": form,
        "filtered": any(request.GET.dict().values()),
    }
    return render(request, "analyses/samples.html", context)


def _filtered(found: QuerySet[Sample], form: SampleFilterForm) -> QuerySet[Sample]:
    """Apply the filters that are filled in, each by its own selector or plain lookup."""
    wanted = form.cleaned_data
    if wanted["q"]:
        found = selectors.samples_matching(found, wanted["q"].strip())
    if wanted["label"]:
        found = selectors.samples_with_class(found, wanted["label"])
    if wanted["person"]:
        found = selectors.samples_uploaded_by(found, wanted["person"])
    lookups = {
        "state": wanted["state"],
        "created_at__date__gte": wanted["since"],
        "created_at__date__lte": wanted["until"],
    }
    found = found.filter(**{name: value for name, value in lookups.items() if value})
    return found.order_by(wanted["sort"] or "-created_at", "-pk")


@requires(Permission.VIEW_SAMPLES)
@require_GET
def sample(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """One sample: every image with its cells, and what the model says of each."""
    sample = sample_for(request, pk)
    viewing.record_view(request, sample)
    context = _results_context(request, sample, selectors.progress_of(sample))
    return render(request, "analyses/sample.html", context)


@requires(Permission.VIEW_SAMPLES, poll=True)
@require_GET
def results(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """The part of the sample's page that grows while the worker runs; 204 while it has not.

    A poll leaves no event of its own: the page that polls has left one, or the first poll does.
    """
    sample = sample_for(request, pk)
    viewing.record_part(request, sample)
    progress = selectors.progress_of(sample)
    if request.GET.get("token") == progress.token:
        return HttpResponse(status=204)
    context = _results_context(request, sample, progress)
    return render(request, "analyses/_results.html", context)


def sample_for(request: AuthenticatedRequest, pk: int) -> Sample:
    """The sample of a page, or 404 where it is not this person's to see."""
    visible = selectors.samples_for(request.user)
    return get_object_or_404(
        visible.select_related("site", "patient", "created_by", "model_version"), pk=pk
    )


def _results_context(
    request: AuthenticatedRequest, sample: Sample, progress: selectors.Progress
) -> dict[str, object]:
    images = Paginator(selectors.images_with_cells(sample), IMAGES_PER_PAGE)
    page = images.get_page(request.GET.get("page"))
    return {
        "page": page,
        "warning": selectors.same_picture_warning(sample, person=request.user),
        "answer_options": answer_options(sample),
        "site_model": active_model_version(sample.site),
        "earlier_readings": earlier_readings(sample),
        **summary_context(sample, progress),
    }


def summary_context(sample: Sample, progress: selectors.Progress) -> dict[str, object]:
    """What the counts of a sample are drawn from."""
    counts = selectors.class_counts([sample])[sample.pk]
    return {
        "sample": sample,
        "progress": progress,
        "white_counts": [count for count in counts if count.is_white],
        "other_counts": [count for count in counts if not count.is_white],
        "white_total": sum(count.count for count in counts if count.is_white),
        "cell_total": sum(count.count for count in counts),
        "reviewed_total": sum(count.reviewed for count in counts),
        "unfamiliar_total": sum(c.count for c in counts if c.label == UNFAMILIAR),
        "poor_images": selectors.poor_image_count(sample),
        "uncertain_total": sum(count.uncertain for count in counts),
        "unvalidated": selectors.unvalidated_of([sample]),
    }


def answer_options(sample: Sample) -> str:
    """The options of every cell's list, written once for the page."""
    classes = sample.model_version.classes if sample.model_version else []
    return render_to_string("analyses/_answer_options.html", {"answers": answers_for(classes)})


@requires(Permission.RETRY_ANALYSES)
@require_POST
def retry(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    analysis = get_object_or_404(selectors.analyses_for(request.user), pk=pk)
    try:
        services.analysis_retry(analysis=analysis, by=request.user)
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    return redirect("analyses:sample", pk=analysis.sample_image.sample_id)


@requires(Permission.REANALYSE)
@require_POST
def reanalyse(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Have all images of a sample read by its site's model of today."""
    sample = sample_for(request, pk)
    try:
        services.sample_reanalyse(sample=sample, by=request.user)
    except ValidationError as error:
        messages.warning(request, error.messages[0])
    return redirect("analyses:sample", pk=sample.pk)


# --- Files -----------------------------------------------------------------------------------
@requires(Permission.VIEW_SAMPLES)
@require_GET
@conditional_page
def thumbnail(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    image = get_object_or_404(selectors.sample_images_for(request.user), pk=pk)
    viewing.record_part(request, image.sample, of_list=True)
    return _picture(lambda: pictures.thumbnail(image))


@requires(Permission.VIEW_SAMPLES)
@require_GET
@conditional_page
def view(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    image = get_object_or_404(selectors.sample_images_for(request.user), pk=pk)
    viewing.record_part(request, image.sample)
    return _picture(lambda: pictures.view(image))


@requires(Permission.VIEW_SAMPLES)
@require_GET
def original(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """The bytes as they came, as a download under the name that the person gave."""
    image = get_object_or_404(selectors.sample_images_for(request.user), pk=pk)
    try:
        data = read_stored(image.stored_image.sha256)
    except StoreError as error:
        return _unavailable(error)
    audit.record(audit.Action.IMAGE_DOWNLOADED, actor=request.user, subject=image)
    return HttpResponse(
        data,
        content_type=image.stored_image.media_type,
        headers={
            "Content-Disposition": content_disposition_header(True, image.file_name)
            or "attachment",
            "X-Content-Type-Options": "nosniff",
        },
    )


@requires(Permission.VIEW_SAMPLES)
@require_GET
@conditional_page
def crop(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    cell = get_object_or_404(selectors.cells_for(request.user), pk=pk)
    viewing.record_part(request, cell.sample_image.sample)
    return _picture(lambda: pictures.crop(cell))


@requires(Permission.VIEW_SAMPLES)
@require_GET
@conditional_page
def heat_map(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    cell = get_object_or_404(selectors.cells_for(request.user), pk=pk)
    viewing.record_part(request, cell.sample_image.sample)
    return _picture(lambda: pictures.heat_map(cell))


def _picture(make: Callable[[], bytes]) -> HttpResponse:
    """A JPEG that the browser keeps but asks for each time (the permission is checked, the answer
    mostly 304), or a sentence why there is none."""
    try:
        data = make()
    except LookupError as error:
        raise Http404(str(error)) from error
    except (StoreError, BundleError) as error:
        return _unavailable(error)
    response = HttpResponse(data, content_type="image/jpeg")
    response["Cache-Control"] = "private, no-cache"
    return response


def _unavailable(error: Exception) -> HttpResponse:
    return HttpResponse(str(error), status=503, content_type="text/plain; charset=utf-8")
