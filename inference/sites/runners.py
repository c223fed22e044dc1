"""The work of a site's first day, in the child process of the training worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hematovision.files.gate import decode
from inference.datasets.selectors import listing_of
from inference.jobs.kinds import JobError
from inference.ml.bundle import CARD_NAME, Bundle, BundleError, load_bundle
from inference.models import ModelVersion, SiteValidation
from inference.registry.selectors import (
    bundle_folder,
    bundle_problem,
    class_map_of,
    readings_of,
)
from inference.registry.services import bundle_register
from inference.sites.services import validation_start
from inference.sites.verdict import judge

if TYPE_CHECKING:
    from inference.jobs.child import Running
    from inference.ml.data import Listing

CURVE_DRAWS = 3  # two to three minutes of one core with the features of a whole training

NEW_CLASS_CELLS = 10
"""A class that the model does not know is learned from so many cells on."""


def validate(running: Running) -> None:
    """Measure the model on the site's cells and judge."""
    from inference.ml.data import DataError
    from inference.ml.evaluation.local import measure

    validation = SiteValidation.objects.select_related("model_version", "dataset_version").get(
        job=running.job
    )

    def report(done: int, total: int) -> None:
        running.check_stop()
        running.report("measuring", done, total)

    try:
        bundle = _bundle(validation.model_version)
        readings = readings_of(validation.model_version)
        listing = listing_of([validation.dataset_version], readings)
        figures = measure(bundle, listing, report, decode=decode)
    except (BundleError, DataError) as error:
        raise JobError(str(error)) from error
    validation.figures = figures | judge(figures)
    with running.result():
        validation.save(update_fields=["figures"])


def adapt(running: Running) -> None:
    """Learning curve, then a candidate, which is measured on the cells that it did not learn from.

    What is done is kept in the job's folder, so that another attempt goes on from there.
    """
    from inference.ml.adapt import Settings, adapt_to, read_site
    from inference.ml.data import DataError
    from inference.ml.learning_curve import learning_curve
    from inference.ml.writing import ExportError

    validation = SiteValidation.objects.select_related(
        "site", "model_version__parent", "dataset_version__dataset"
    ).get(adaptation=running.job)

    def report(stage: str) -> Any:
        def told(done: int, total: int) -> None:
            running.check_stop()
            running.report(stage, done, total)

        return told

    curve_path, folder = running.folder / "curve.json", running.folder / "bundle"
    try:
        bundle = _bundle(validation.model_version)
        listing = _to_learn(validation, bundle, running)
        site = read_site(bundle, listing, report("reading the cells"), decode=decode)
        if not curve_path.exists():
            rows = learning_curve(
                bundle,
                site.cells,
                classes=len(site.classes),
                draws=CURVE_DRAWS,
                report=report("drawing the learning curve"),
            )
            _write(curve_path, json.dumps(_without_nan(rows)))
            running.got_further()
        if not (folder / CARD_NAME).exists():
            running.report("adapting", 0, 0, "The last layer is fitted to all of the cells.")
            told = f"adaptation to {validation.site} with {validation.dataset_version}"
            adapt_to(Settings(bundle.path, folder, command=told), bundle, site)
            running.got_further()
        running.check_stop()
        validation.adapted = bundle_register(
            folder=folder,
            by=running.job.requested_by,
            origin=ModelVersion.Origin.ADAPTED,
            parent=validation.model_version,
        )
    except (BundleError, DataError, ExportError) as error:
        raise JobError(str(error)) from error
    with running.result():
        validation.curve = json.loads(curve_path.read_text())
        validation.save(update_fields=["adapted", "curve"])
        validation_start(
            site=validation.site,
            model_version=validation.adapted,
            dataset_version=validation.dataset_version,
            by=running.job.requested_by,
        )


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    draft = path.with_suffix(".part")
    draft.write_text(text)
    draft.replace(path)


def _bundle(model_version: ModelVersion) -> Bundle:
    if problem := bundle_problem(model_version):
        raise problem
    return load_bundle(bundle_folder(model_version))


def _to_learn(validation: SiteValidation, bundle: Bundle, running: Running) -> Listing:
    """The site's cells without classes that are new to the model and of which there are few."""
    from inference.ml.data import Listing

    class_map = class_map_of(validation.model_version)
    listing = listing_of([validation.dataset_version], class_map)
    counts = {label: 0 for label in listing.classes if label not in bundle.classes}
    for item in listing.items:
        if item.label in counts:
            counts[item.label] += 1
    few = sorted(label for label, count in counts.items() if count < NEW_CLASS_CELLS)
    if not few:
        return listing
    running.report(
        "reading the cells",
        0,
        0,
        f"Left out, as the model does not know them and there are fewer than {NEW_CLASS_CELLS} "
        f"cells: {', '.join(few)}.",
    )
    kept = [item for item in listing.items if item.label not in few]
    return Listing(kept, listing.groups_unknown)


def _without_nan(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The database's JSON knows no NaN: the spread of a single draw is None."""
    return [
        row
        | {
            name: {key: None if value != value else value for key, value in row[name].items()}  # noqa: PLR0124
            for name in ("site", "home")
        }
        for row in rows
    ]
