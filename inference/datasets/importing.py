"""The job that makes a version of a dataset ready.

Pictures lie in a staging folder, and what was read in a journal, until all of it is known: an
import that fails or is cancelled leaves nothing, one whose process was killed goes on.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from hematovision.files import store
from inference.datasets.concluding import conclude
from inference.datasets.finding import find
from inference.datasets.traces import leave_no_trace, workshop
from inference.datasets.uploads import files_remove
from inference.jobs import queue
from inference.jobs.kinds import JobError
from inference.ml.datasets.contents import ArchiveError
from inference.ml.datasets.layout import LayoutError
from inference.ml.datasets.tables import TableError
from inference.models import DatasetVersion

if TYPE_CHECKING:
    from inference.jobs.child import Running


def run(running: Running) -> None:
    """Make the job's version ready.

    Raises:
        JobError: it cannot be; nothing of it is left then.
        Cancelled: a person has asked for the end; likewise.
    """
    version = DatasetVersion.objects.select_related("dataset", "parent").get(job=running.job)
    staging, journal = workshop(running.job)
    try:
        found = find(running, version, staging, journal)
        conclude(running, version, found, staging)
    except BaseException as error:
        if queue.held(running.job.pk, running.job.claim).exists():  # else another attempt's
            leave_no_trace(version)
        if isinstance(error, ArchiveError | LayoutError | TableError | store.StoreError):
            raise JobError(str(error)) from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JobError(
                "The disk is full. Nothing of this import was kept: make room, then try again."
            ) from error
        raise
    if upload := getattr(version, "upload", None):
        files_remove(upload)
