"""The work of exports and imports, in the child process of the training worker."""

from __future__ import annotations

from shutil import rmtree
from typing import TYPE_CHECKING

from hematovision.files.gate import decode
from inference.datasets.selectors import listing_of
from inference.jobs.kinds import JobError
from inference.ml.bundle import CARD_NAME, BundleError, load_bundle
from inference.models import DatasetVersion, EdgeExport, KerasImport, ModelVersion
from inference.registry.selectors import (
    bundle_folder,
    bundle_problem,
    class_map_of,
    newest_dataset_versions,
)
from inference.registry.services import bundle_register

if TYPE_CHECKING:
    from inference.jobs.child import Running
    from inference.ml.data import Item


def edge(running: Running) -> None:
    """Make both classifiers of a version with the datasets that are there, and measure them."""
    from inference.ml.data import DataError
    from inference.ml.edge import export_edge
    from inference.ml.network import WeightsError
    from inference.ml.writing import ExportError

    export = EdgeExport.objects.select_related("model_version").get(job=running.job)
    version = export.model_version
    if problem := bundle_problem(version):
        raise JobError(str(problem))

    def report(done: int, total: int, message: str) -> None:
        running.check_stop()
        running.report("making the classifiers", done, total, message)

    draft = running.folder / "edge"
    try:
        figures = export_edge(
            load_bundle(bundle_folder(version)),
            _cells(version),
            draft,
            decode=decode,
            report=report,
            command=f"export {running.job.pk}",
        )
    except (BundleError, DataError, ExportError, WeightsError) as error:
        raise JobError(str(error)) from error
    export.folder.parent.mkdir(parents=True, exist_ok=True)
    with running.result():
        rmtree(export.folder, ignore_errors=True)
        draft.rename(export.folder)
        export.figures = figures
        export.save(update_fields=["figures"])
    for older in version.edge_exports.exclude(pk=export.pk):
        rmtree(older.folder, ignore_errors=True)  # its figures stay


def _cells(version: ModelVersion) -> list[Item]:
    """The cells of the versions that the model was trained with, and of every other dataset.

    Of a dataset that it was trained with no other version: what it was taught may have been
    corrected since, and a cell has one class: those with two are left out.
    """
    run = getattr(version, "training_run", None)
    taught = list(run.dataset_versions.filter(ready_at__isnull=False)) if run else []
    datasets = {one.dataset_id for one in taught}
    others = [one for one in newest_dataset_versions() if one.dataset_id not in datasets]
    versions: list[DatasetVersion] = [*taught, *others]
    if not versions:
        raise JobError(
            "There is no dataset. Upload the one that this model was trained on: the classifiers "
            "are made and measured with its pictures."
        )
    return listing_of(versions, class_map_of(version), disputed=set()).items


def keras(running: Running) -> None:
    """Read a Keras file; once a person has said what it cannot say, make a model of it."""
    from inference.ml.keras_import import KerasFileError
    from inference.ml.keras_import.sandbox import read_keras

    row = KerasImport.objects.get(job=running.job)
    if not row.path.is_file():
        raise JobError("The file is no longer there. Upload it again.")
    scratch = running.folder / "scratch"
    rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    running.report("reading the file", 0, 0, "A process of its own reads the file, within limits.")
    try:
        if row.options:
            _make(running, row)
        else:
            row.recognised = read_keras(row.path, scratch).summary()
            with running.result():
                row.save(update_fields=["recognised"])
    except KerasFileError as error:
        raise JobError(str(error)) from error
    finally:
        rmtree(scratch, ignore_errors=True)


def _make(running: Running, row: KerasImport) -> None:
    from inference.ml.keras_import.building import import_keras
    from inference.ml.keras_import.options import Options
    from inference.ml.writing import ExportError

    folder = running.folder / "bundle"
    running.report("making the model", 0, 0, "The network is built anew, with the file's numbers.")
    try:
        if not (folder / CARD_NAME).exists():  # else an earlier attempt ended after writing it
            import_keras(
                row.path, Options.from_dict(row.options), folder, scratch=running.folder / "scratch"
            )
        running.check_stop()
        row.model_version = bundle_register(folder=folder, by=running.job.requested_by)
    except (BundleError, ExportError) as error:
        raise JobError(str(error)) from error
    with running.result():
        row.save(update_fields=["model_version"])
    row.path.unlink(missing_ok=True)
