"""The gate before a model is put in use: a passed comparison with the model in use there."""

from dataclasses import dataclass

from django.core.exceptions import ValidationError

from inference.models import Comparison, ModelVersion


class GateError(ValidationError):
    """The gate was not passed, and no second reason was given."""


@dataclass(frozen=True)
class Gate:
    """Whether a candidate may be put in use somewhere without a second reason.

    Attributes:
        baseline: the model in use there; None where none is.
        comparison: the newest of the two that came to an end, if any.
        objection: why not, in a sentence; empty if nothing speaks against it.
    """

    baseline: ModelVersion | None
    comparison: Comparison | None = None
    objection: str = ""


def gate_of(candidate: ModelVersion, baseline: ModelVersion | None) -> Gate:
    """What the gate says of a candidate where the baseline is in use.

    The first model of an installation has nothing to be compared with, and a site may fix what it
    uses already.
    """
    if baseline is None or baseline == candidate:
        return Gate(baseline)
    told = (
        Comparison.objects.filter(candidate=candidate, baseline=baseline, passed__isnull=False)
        .select_related("job")
        .first()
    )
    if told is None:
        return Gate(
            baseline,
            None,
            f"{candidate} has not been compared with {baseline}, which is in use here.",
        )
    if told.passed:
        return Gate(baseline, told)
    failed = ", ".join(check["name"] for check in told.result["checks"] if not check["passed"])
    return Gate(baseline, told, f"{candidate} did not pass beside {baseline} ({failed}).")
