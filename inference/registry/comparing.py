"""The job of a comparison: the gate's checks and figures, and the candidate's whole report.

Only the training worker's child process imports this.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hematovision.files.gate import decode
from inference.datasets.selectors import listing_of
from inference.jobs.kinds import JobError
from inference.ml.bundle import Bundle, BundleError, load_bundle
from inference.ml.data import DataError, Listing
from inference.ml.sidecar import training_rows
from inference.models import Comparison, DatasetVersion, ModelVersion
from inference.registry.selectors import (
    bundle_folder,
    bundle_problem,
    newest_dataset_versions,
    readings_of,
    report_folder,
)

if TYPE_CHECKING:
    from inference.jobs.child import Running
    from inference.ml.finder import Box

SEED = 0
EXPLAINED = 24  # cells whose heat maps are measured for the report


def compare(running: Running) -> None:
    """Compare the two models of a job on all datasets of today, and tell the verdict."""
    from inference.ml.evaluation.gate import compare_bundles
    from inference.ml.evaluation.leakage import unseen

    comparison = running.job.comparison
    for version in (comparison.candidate, comparison.baseline):
        if problem := bundle_problem(version):
            raise JobError(str(problem))
    try:
        candidate, baseline = (
            load_bundle(bundle_folder(version))
            for version in (comparison.candidate, comparison.baseline)
        )
        versions = newest_dataset_versions()
        disputed: set[tuple[str, Box | None]] = set()
        listing = _listing(versions, comparison, disputed)
        told = compare_bundles(
            candidate,
            baseline,
            listing,
            decode=decode,
            report=_reporter(running, "comparing"),
            seed=SEED,
        )
        if told["data"]:
            told["data"]["left_out"]["labelled with two classes"] = len(disputed)
        left = unseen(listing, training_rows(candidate))
        if left.items and candidate.training_known:  # else it would measure memory
            _write_report(running, comparison.candidate, candidate, left)
    except (BundleError, DataError) as error:
        raise JobError(str(error)) from error
    used = {item.dataset for item in left.items}
    with running.result():
        Comparison.objects.filter(pk=comparison.pk).update(passed=told["passed"], result=told)
        comparison.dataset_versions.set([v for v in versions if v.dataset.name in used])


def _listing(
    versions: Sequence[DatasetVersion],
    comparison: Comparison,
    disputed: set[tuple[str, Box | None]],
) -> Listing:
    """The cells of all datasets, under the names that the two models were taught.

    Where these differ, the baseline's count: a candidate does not decide what is right. A dataset
    that contradicts another, or itself, must not hold up every comparison: its cells of two
    classes are left out.
    """
    if not versions:
        return Listing([], ())
    readings = readings_of(comparison.candidate) | readings_of(comparison.baseline)
    return listing_of(versions, readings, disputed=disputed)


def _write_report(
    running: Running, version: ModelVersion, bundle: Bundle, listing: Listing
) -> None:
    """Evaluate the candidate on what it has not seen; replace the report of before, if any."""
    from inference.ml.evaluation.run import Settings, run

    draft = running.folder / "report"
    settings = Settings(
        bundle=bundle.path,
        out=draft,
        explain=EXPLAINED,
        workers=os.cpu_count() or 1,
        seed=SEED,
        command=f"comparison {running.job.pk}",
    )
    run(listing, settings, _reporter(running, "evaluating"), decode=decode)
    folder = report_folder(version)
    folder.mkdir(parents=True, exist_ok=True)
    for path in draft.iterdir():
        path.replace(folder / path.name)


def _reporter(running: Running, stage: str) -> Callable[[int, int, str], None]:
    def report(done: int, total: int, message: str) -> None:
        running.check_stop()
        running.report(stage, done, total, message)

    return report
