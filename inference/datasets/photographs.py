"""Source photographs that nobody has told, but that the training of a registered model knew."""

from collections import Counter
from collections.abc import Iterable

from inference.ml.bundle import MANIFEST_NAME, BundleError
from inference.ml.sidecar import ManifestRow, read_manifest
from inference.models import ModelVersion
from inference.registry.selectors import bundle_folder


def known_photographs(files: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """What the registered models know of files.

    Args:
        files: SHA-256 of each.

    Returns:
        From a file to its photograph, and a sentence for each model that knew some.
    """
    wanted = set(files)
    photograph_of: dict[str, str] = {}
    known_from: Counter[str] = Counter()
    for model_version in ModelVersion.objects.order_by("registered_at"):
        for row in _rows_of(model_version):
            if row.sha256 in wanted and row.sha256 not in photograph_of:
                photograph_of[row.sha256] = row.group
                known_from[model_version.version] += 1
    sentences = [
        f"Source photographs of {count:,} files are known from the model {version}."
        for version, count in known_from.items()
    ]
    return photograph_of, sentences


def _rows_of(model_version: ModelVersion) -> list[ManifestRow]:
    """The files that a model was made with, where their photographs were known."""
    try:
        rows = read_manifest(bundle_folder(model_version) / MANIFEST_NAME)
    except BundleError:  # a bundle that came without one
        return []
    unknown = set(model_version.card["dataset"].get("groups_unknown", []))
    return [row for row in rows if row.dataset not in unknown]
