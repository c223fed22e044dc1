"""Open a ``.keras`` or ``.h5`` file of a stranger's: bounded, and as data only.

Runs in the process that `child` makes. h5py reads groups and arrays; nothing here asks Keras.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from inference.ml.keras_import import KerasFileError
from inference.ml.keras_import.graph import INPUT, MODELS, Config, Node, snake_case, told

MOST_ARRAYS = 600_000_000
"""Bytes of all arrays that are read: VGG16 with its own three dense layers has 553 MB."""

MOST_CONFIG = 8_000_000
"""Bytes of what a file says of its layers: the largest known network takes half of one."""

MOST_OBJECTS = 20_000
DEEPEST = 20

_MEMBERS = {
    "metadata.json": 100_000,
    "config.json": MOST_CONFIG,
    "model.weights.h5": 2_000_000_000,  # with the optimizer's own arrays
}
_RATIO = 100
_BLOCK = 1 << 20
_FILTERS = frozenset({h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32})
_ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""Under which Keras 3, and Keras 2.12 to 2.15, keep a model's layers in a ``.keras`` file."""


class Container:
    """An opened file.

    Attributes
    ----------
    kind : str
        ``keras`` or ``h5``.
    version : str
        Of the Keras that wrote it, as it says.
    config : object
        Of JSON: what it says of its layers.
    """

    def __init__(self, file: h5py.File, *, kind: str, version: str, config: Any) -> None:
        self._file = file
        self.kind = kind
        self.version = version
        self.config = config
        self._read = 0

    @cached_property
    def _groups(self) -> dict[tuple[str, ...], h5py.Group]:
        return _groups_of_archive(self._file, self.config)

    @cached_property
    def _datasets(self) -> dict[tuple[str, str, str], list[h5py.Dataset]]:
        return _datasets_of_legacy(self._file["model_weights"])

    def arrays(self, node: Node) -> dict[str, NDArray[np.float32]]:
        """The arrays of a layer, by variable; the configuration has been read as a graph.

        Raises
        ------
        KerasFileError
            If one is missing, too large, of another type or holds something else than numbers.
        """
        found = {}
        for position, name in enumerate(node.variables):
            dataset = (
                self._of_archive(node, position)
                if self.kind == "keras"
                else self._of_legacy(node, name)
            )
            found[name] = self._numbers(dataset, node)
        return found

    def _of_archive(self, node: Node, position: int) -> Any:
        group = self._groups.get(node.path)
        variables = None if group is None else group.get("vars")
        if not isinstance(variables, h5py.Group):
            raise _lacking(node)
        return variables.get(str(position))

    def _of_legacy(self, node: Node, name: str) -> Any:
        layer = node.name if len(node.path) > 1 else ""
        names = [name]
        if node.kind == "DepthwiseConv2D" and name == "kernel":
            names.append("depthwise_kernel")  # as Keras 2 called it
        found = [
            one for each in names for one in self._datasets.get((node.path[0], layer, each), [])
        ]
        if len(found) > 1:
            raise KerasFileError(f"The file has the numbers of {told(node.name)} several times.")
        return found[0] if found else None

    def _numbers(self, dataset: Any, node: Node) -> NDArray[np.float32]:
        if not isinstance(dataset, h5py.Dataset):
            raise _lacking(node)
        if dataset.dtype.kind != "f" or dataset.dtype.itemsize not in (2, 4, 8):
            raise KerasFileError(
                f"The numbers of {told(node.name)} are of another type than float."
            )
        self._read += int(np.prod(dataset.shape, dtype=np.int64)) * max(dataset.dtype.itemsize, 4)
        if self._read > MOST_ARRAYS:
            raise KerasFileError(
                f"The network has more than {MOST_ARRAYS / 1e6:.0f} MB of numbers: too large."
            )
        with np.errstate(over="ignore"):
            numbers = dataset[()].astype(np.float32)
        if not np.isfinite(numbers).all():
            raise KerasFileError(
                f"The layer {told(node.name)} holds numbers that are infinite or none: its "
                "training failed or the file is damaged."
            )
        return numbers


@contextmanager
def opened(path: Path, scratch: Path) -> Iterator[Container]:
    """Open a file of either kind.

    Parameters
    ----------
    path : Path
    scratch : Path
        An empty folder, for what is unpacked.

    Raises
    ------
    KerasFileError
        If it is neither, damaged, too large, or points to other files.
    """
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        texts = _unpacked(path, scratch)
        with _hdf5(scratch / "model.weights.h5") as arrays:
            metadata = _json(texts["metadata.json"])
            version = metadata.get("keras_version") if isinstance(metadata, dict) else None
            yield Container(
                arrays, kind="keras", version=_word(version), config=_json(texts["config.json"])
            )
    elif start == b"\x89HDF\r\n\x1a\n":
        with _hdf5(path) as arrays:
            if not isinstance(arrays.get("model_weights"), h5py.Group):
                raise KerasFileError(
                    "The file holds weights without the model that they are of. Save the whole "
                    "model with model.save(…)."
                )
            yield Container(
                arrays,
                kind="h5",
                version=_word(_attribute(arrays, "keras_version", 100)),
                config=_json(_attribute(arrays, "model_config", MOST_CONFIG)),
            )
    else:
        raise KerasFileError(
            "The file is neither a .keras nor an .h5 file. Save the whole model with model.save(…)."
        )


def _unpacked(path: Path, scratch: Path) -> dict[str, bytes]:
    """The two JSON texts; the arrays go to a file."""
    texts = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if set(members) != set(_MEMBERS) or len(archive.infolist()) != len(_MEMBERS):
                names = ", ".join(told(name) for name in sorted(members)[:5])
                raise KerasFileError(
                    f"The .keras file holds {names} instead of {', '.join(sorted(_MEMBERS))}."
                )
            for name, most in _MEMBERS.items():
                member = members[name]
                large = member.file_size > most
                dense = member.file_size > _BLOCK + _RATIO * max(member.compress_size, 1)
                if large or dense or member.flag_bits & 1:
                    raise KerasFileError(
                        f"{name} of the .keras file is too large, packed too densely or encrypted."
                    )
                with archive.open(member) as packed:
                    if name.endswith(".json"):
                        texts[name] = packed.read(most + 1)
                        continue
                    with (scratch / name).open("wb") as target:
                        shutil.copyfileobj(packed, target, _BLOCK)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError) as error:
        raise KerasFileError(f"The .keras file is damaged or cut off ({error}).") from error
    return texts


@contextmanager
def _hdf5(path: Path) -> Iterator[h5py.File]:
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise KerasFileError("The file is damaged or cut off: HDF5 cannot read it.") from error
    with file:
        try:
            _refuse_pointers(file)
            yield file
        except (OSError, RuntimeError) as error:
            raise KerasFileError("The file is damaged or cut off: HDF5 cannot read it.") from error


def _refuse_pointers(file: h5py.File) -> None:
    """Refuse whatever reads other files or makes objects: links, storage elsewhere, pickles."""
    waiting: list[tuple[h5py.Group, int]] = [(file, 0)]
    seen = 0
    while waiting:
        group, depth = waiting.pop()
        if depth > DEEPEST:
            raise KerasFileError("The file's groups are nested too deeply.")
        for name in group:
            seen += 1
            if seen > MOST_OBJECTS:
                raise KerasFileError("The file holds too many objects.")
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise KerasFileError(f"{told(name)} in the file is a link elsewhere.")
            one = group[name]
            if isinstance(one, h5py.Group):
                waiting.append((one, depth + 1))
            elif isinstance(one, h5py.Dataset):
                _refuse_storage(one, name)
            else:
                raise KerasFileError(f"{told(name)} in the file is no array of numbers.")


def _refuse_storage(dataset: h5py.Dataset, name: str) -> None:
    plan = dataset.id.get_create_plist()
    if dataset.external or plan.get_external_count() or dataset.is_virtual:
        raise KerasFileError(f"The numbers of {told(name)} lie in another file.")
    if dataset.dtype.kind not in "fiub" or dataset.dtype.hasobject:
        raise KerasFileError(f"{told(name)} in the file holds objects instead of numbers.")
    filters = {plan.get_filter(at)[0] for at in range(plan.get_nfilters())}
    if not filters <= _FILTERS:
        raise KerasFileError(f"{told(name)} in the file is packed in a way that is not known here.")


def _attribute(file: h5py.File, name: str, most: int) -> bytes:
    if name not in file.attrs:
        raise KerasFileError(f"The file says no {name}: it is not as Keras writes it.")
    kind = file.attrs.get_id(name).dtype
    if h5py.check_string_dtype(kind) is None or file.attrs.get_id(name).shape != ():
        raise KerasFileError(f"{name} in the file is no text.")
    value = file.attrs[name]
    raw = value.encode() if isinstance(value, str) else bytes(value)
    if len(raw) > most:
        raise KerasFileError(f"{name} in the file is too long.")
    return raw


def _json(text: bytes) -> Any:
    if len(text) > MOST_CONFIG:
        raise KerasFileError("What the file says of its layers is too long.")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise KerasFileError("What the file says of its layers is nested too deeply.") from error
    except ValueError as error:
        raise KerasFileError("What the file says of its layers is no JSON.") from error


def _word(value: object) -> str:
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return re.sub(r"[^\w.+-]", "", text)[:40]


def _lacking(node: Node) -> KerasFileError:
    return KerasFileError(f"The file lacks numbers of the layer {told(node.name)}.")


def _groups_of_archive(file: h5py.File, config: Config) -> dict[tuple[str, ...], h5py.Group]:
    """Of each layer the group with its arrays: named by class, and numbered in their order."""
    found: dict[tuple[str, ...], h5py.Group] = {}

    def look(model: Config, group: h5py.Group, within: tuple[str, ...]) -> None:
        root = next((group[name] for name in _ROOTS if name in group), None)
        if not isinstance(root, h5py.Group):
            raise KerasFileError("The file keeps its layers in a way that is not known here.")
        used: Counter[str] = Counter()
        for layer in model["config"]["layers"]:
            kind, name = layer["class_name"], str(layer["config"]["name"])
            plain = snake_case(kind)
            number, used[plain] = used[plain], used[plain] + 1
            one = root.get(f"{plain}_{number}" if number else plain)
            if not isinstance(one, h5py.Group):
                continue  # one without arrays; whoever needs some finds that they are lacking
            variables = one.get("vars")
            label = None if variables is None else variables.attrs.get("name")
            if kind != INPUT and isinstance(label, str) and label != name:
                raise KerasFileError(
                    f"The file keeps numbers of {told(label)} where {told(name)} should be."
                )
            found[(*within, name)] = one
            if kind in MODELS:
                look(layer, one, (*within, name))

    look(config, file, ())
    return found


def _datasets_of_legacy(
    weights: h5py.Group,
) -> dict[tuple[str, str, str], list[h5py.Dataset]]:
    """``<layer>/…/<layer within it>/<variable>[:0]``: a nested model is a layer of the file.

    Each stands under its layer and variable, both with the layer within and with "".
    """
    found: dict[tuple[str, str, str], list[h5py.Dataset]] = {}

    def look(path: str, one: object) -> None:
        parts = path.split("/")
        if isinstance(one, h5py.Dataset) and len(parts) > 1:
            top, *above, last = parts
            variable = last.removesuffix(":0")
            for layer in {"", above[-1] if above else ""}:
                found.setdefault((top, layer, variable), []).append(one)

    weights.visititems(look)
    return found
