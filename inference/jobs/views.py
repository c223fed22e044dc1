"""What every page shows of a job: how far it is, its log, and the buttons to end or repeat it.

A page includes ``inference/includes/job.html`` with ``job``. The part polls itself, tells the
page's other parts of news (the event ``job-news``), and has the page loaded again at the end.
"""

from django.http import FileResponse, Http404, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST
from django_htmx.http import (
    HttpResponseClientRedirect,
    HttpResponseClientRefresh,
    trigger_client_event,
)

from accounts.access import AuthenticatedRequest, requires
from accounts.permissions import Permission
from inference.jobs import queue, selectors
from inference.models import Job
from inference.templatetags.jobs import news_of


@requires(Permission.FOLLOW_JOBS, poll=True)
@require_GET
def job(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """How far it is; 204 while there is no news."""
    job = _job(request, pk)
    if job.is_over and request.htmx:
        return HttpResponseClientRefresh()
    if request.GET.get("news") == news_of(job):
        return HttpResponse(status=204)
    response = render(request, "inference/includes/job.html", {"job": job})
    return trigger_client_event(response, "job-news")


@requires(Permission.FOLLOW_JOBS)
@require_GET
def log(request: AuthenticatedRequest, pk: int) -> HttpResponseBase:
    """The whole log as text."""
    try:
        file = _job(request, pk).log_path.open("rb")
    except OSError as error:
        raise Http404("This work has no log any more.") from error
    return FileResponse(file, content_type="text/plain; charset=utf-8")


@requires(Permission.FOLLOW_JOBS)
@require_POST
def stop(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    """Finish with what there is, or cancel."""
    how = Job.Stop.FINISH if request.POST.get("how") == Job.Stop.FINISH else Job.Stop.CANCEL
    queue.job_stop(job=_job(request, pk), how=how, by=request.user)
    return _back(request)


@requires(Permission.FOLLOW_JOBS)
@require_POST
def retry(request: AuthenticatedRequest, pk: int) -> HttpResponse:
    queue.job_retry(job=_job(request, pk), by=request.user)
    return _back(request)


def _job(request: AuthenticatedRequest, pk: int) -> Job:
    return get_object_or_404(selectors.jobs_for(request.user), pk=pk)


def _back(request: AuthenticatedRequest) -> HttpResponse:
    """To the page that the button was on."""
    page = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(page, allowed_hosts={request.get_host()}):
        page = "/home/"
    return HttpResponseClientRedirect(page) if request.htmx else redirect(page)
