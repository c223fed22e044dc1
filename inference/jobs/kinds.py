"""What does the work of each kind of job: imported by the child process only."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from inference.models import Job

if TYPE_CHECKING:
    from inference.jobs.child import Running

RUNNERS: dict[str, str] = {
    Job.Kind.DATASET_IMPORT: "inference.datasets.importing:run",
    Job.Kind.TRAINING: "inference.training.runner:run",
    Job.Kind.COMPARISON: "inference.registry.comparing:compare",
    Job.Kind.SITE_VALIDATION: "inference.sites.runners:validate",
    Job.Kind.ADAPTATION: "inference.sites.runners:adapt",
    Job.Kind.EDGE_EXPORT: "inference.exchange.runners:edge",
    Job.Kind.KERAS_IMPORT: "inference.exchange.runners:keras",
}
"""From a kind to ``module:function``; the function takes the `Running` job and returns when done.

It raises `JobError` with a sentence for a person, `Cancelled` when `Running.stop` said so.
"""


class JobError(Exception):
    """The work cannot be done; the message says why and what to do."""


class Cancelled(Exception):  # noqa: N818  (it is no error)
    """A person has asked for the end of the job."""


def runner(kind: Job.Kind | str) -> Callable[["Running"], None]:
    module, _, name = RUNNERS[Job.Kind(kind)].partition(":")
    function: Callable[[Running], None] = getattr(import_module(module), name)
    return function
