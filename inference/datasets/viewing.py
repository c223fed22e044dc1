"""One audit event for a page that shows a dataset, none for its pictures."""

from accounts import audit
from accounts.access import AuthenticatedRequest
from inference.models import DatasetVersion

VIEWED = "viewed_dataset_versions"
KEPT = 50


def record_view(request: AuthenticatedRequest, version: DatasetVersion) -> None:
    """The page of a version is shown."""
    audit.record(audit.Action.DATASET_VIEWED, actor=request.user, subject=version)
    before = request.session.get(VIEWED, [])
    if version.pk not in before:
        request.session[VIEWED] = [*before, version.pk][-KEPT:]


def record_part(request: AuthenticatedRequest, version: DatasetVersion) -> None:
    """A picture is asked for: an event only where no page of this session has left one."""
    if version.pk not in request.session.get(VIEWED, []):
        record_view(request, version)


def record_download(request: AuthenticatedRequest, version: DatasetVersion, *, what: str) -> None:
    audit.record(audit.Action.DATASET_VIEWED, actor=request.user, subject=version, downloaded=what)
