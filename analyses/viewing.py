"""One audit event for a page that shows a sample, none for its pictures and polls.

The session remembers which samples it was shown, and which it was shown in lists only. A picture
that is asked for without its page leaves the event that the page would have left.
"""

from collections.abc import Sequence

from accounts import audit
from accounts.access import AuthenticatedRequest
from analyses.models import Sample

VIEWED, LISTED = "viewed_samples", "listed_samples"
KEPT = {VIEWED: 50, LISTED: 200}


def record_view(request: AuthenticatedRequest, sample: Sample) -> None:
    """The page of a sample is shown."""
    audit.record(audit.Action.SAMPLE_VIEWED, actor=request.user, subject=sample)
    _remember(request, VIEWED, [sample.pk])


def record_list(
    request: AuthenticatedRequest, samples: Sequence[Sample], *, query: dict[str, str] | None = None
) -> None:
    """A list of samples is shown, those that ``query`` asked for."""
    pks = [sample.pk for sample in samples]
    audit.record(audit.Action.SAMPLES_LISTED, actor=request.user, samples=pks, query=query or {})
    _remember(request, LISTED, pks)


def record_part(request: AuthenticatedRequest, sample: Sample, *, of_list: bool = False) -> None:
    """A part of a page is asked for: an event only where no page of this session has left one."""
    shown = set(request.session.get(VIEWED, []))
    if of_list:
        shown |= set(request.session.get(LISTED, []))
    if sample.pk not in shown:
        record_view(request, sample)


def _remember(request: AuthenticatedRequest, kind: str, pks: list[int]) -> None:
    before = request.session.get(kind, [])
    if not set(pks) <= set(before):
        request.session[kind] = [*(pk for pk in before if pk not in pks), *pks][-KEPT[kind] :]
