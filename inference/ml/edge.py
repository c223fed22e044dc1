"""Complete classifiers for small devices: crop in, class probabilities out, and what they cost.

Two files of one network: ``classifier-fp32.tflite``, and ``classifier-int8.tflite``, whose
weights and activations are 8-bit integers with ranges set on crops of training (post-training
quantisation). Both take float32 and give float32, so that a program can exchange one for the
other; the step to integers and back is the first and last of the int8 file.

They see a crop in one view and know nothing of unfamiliarity, so they are measured anew, on
the crops that training held back, beside the model that is served.

References
----------
Jacob et al.: Quantization and training of neural networks for efficient integer-arithmetic-
only inference. CVPR 2018.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from inference.ml import page
from inference.ml.bundle import KERAS_NAME, Bundle, sha256_of
from inference.ml.data import Decode, Item, cut_crops
from inference.ml.engine import Engine
from inference.ml.evaluation.figures import evaluate
from inference.ml.evaluation.intervals import Photographs
from inference.ml.evaluation.paired import compare
from inference.ml.evaluation.scores import calibration_figures
from inference.ml.faithfulness import spread_over
from inference.ml.preprocess import to_network
from inference.ml.sidecar import Head, ManifestRow, read_manifest
from inference.ml.writing import PARITY, ExportError, check_target, folder_draft

if TYPE_CHECKING:
    import keras

SCHEMA_VERSION = 1
SUMMARY_NAME = "edge.json"
LABELS_NAME = "labels.txt"
README_NAME = "README.txt"
FP32, INT8 = "fp32", "int8"
PRECISIONS = (FP32, INT8)

REPRESENTATIVE = 300
"""Crops of training that set the ranges of the integers; more change nothing."""

MEASURED = 400
"""Held-back crops of each data set that are measured with."""

_PARITY_CROPS = 32
_TIMED_RUNS, _FIRST_RUNS = 50, 5  # the first are slower
_FIGURES = ("accuracy", "balanced_accuracy", "by_photograph")

Report = Callable[[int, int, str], None]
"""Told how many of how many steps are done, and a line if there is news."""


def file_name(precision: str) -> str:
    return f"classifier-{precision}.tflite"


class EdgeClassifier:
    """One of the two files, on LiteRT.

    Parameters
    ----------
    content : bytes
    threads : int

    Raises
    ------
    ValueError
        If it does not go from one crop to class probabilities.
    """

    def __init__(self, content: bytes, *, threads: int = 1) -> None:
        self._interpreter = Interpreter(model_content=content, num_threads=threads)
        self._interpreter.allocate_tensors()
        (self._input,) = self._interpreter.get_input_details()
        (self._output,) = self._interpreter.get_output_details()
        if len(self._input["shape"]) != 4 or len(self._output["shape"]) != 2:
            raise ValueError("It does not go from a crop to class probabilities.")

    def probabilities(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of crops (N, S, S, 3) in -1 to 1: float32 (N, C)."""
        answers = []
        for crop in inputs:
            self._interpreter.set_tensor(self._input["index"], np.ascontiguousarray(crop[None]))
            self._interpreter.invoke()
            answers.append(self._interpreter.get_tensor(self._output["index"])[0])
        return np.array(answers, np.float32)

    def milliseconds(self, crop: NDArray[np.float32]) -> float:
        """Median time for one crop (S, S, 3)."""
        times = []
        for _ in range(_FIRST_RUNS + _TIMED_RUNS):
            start = time.perf_counter()
            self.probabilities(crop[None])
            times.append((time.perf_counter() - start) * 1e3)
        return float(np.median(times[_FIRST_RUNS:]))


def export_edge(
    bundle: Bundle,
    items: Sequence[Item],
    out: Path,
    *,
    decode: Decode,
    report: Report = lambda *_: None,
    measured: int = MEASURED,
    seed: int = 0,
    command: str = "",
) -> dict[str, Any]:
    """Make, measure and write both classifiers of a model.

    Parameters
    ----------
    bundle : Bundle
    items : sequence of Item
        Pictures that the model was made with, in any order. Their side, class and photograph
        are those of the bundle's manifest, found by SHA-256; others are left aside.
    out : Path
        Folder for the classifiers, ``labels.txt``, ``edge.json`` and ``README.txt``. It appears
        whole or not at all; one that is there already is replaced.
    decode : callable
        From a file's bytes to its pixels, as serving does it.
    report : callable
    measured : int
        Held-back crops of each data set at most, one of every photograph before a second of any.
    seed : int
        Of the drawing and of the intervals.
    command : str
        How the run was started.

    Returns
    -------
    dict
        What is in ``edge.json``.

    Raises
    ------
    BundleError, DataError, ExportError, WeightsError
        With a sentence that says what is wrong.
    """
    check_target(out, known_by=SUMMARY_NAME)
    if not bundle.training_known:
        raise ExportError(
            f"{bundle.version} was trained elsewhere, and nothing is known of the pictures that it "
            "was trained with: the integers' ranges cannot be set, nor the files measured. Choose "
            "a model that was trained here."
        )
    classifier = _classifier(bundle)
    training, test = _sides(bundle, items)
    representative = _spread(training, REPRESENTATIVE, seed)
    held_back = [one for of_set in _by_dataset(test) for one in _spread(of_set, measured, seed)]
    total, done = len(representative) + len(held_back) + len(PRECISIONS) + 1, 0

    def step(message: str = "") -> None:
        nonlocal done
        done += 1
        report(done, total, message)

    report(0, total, f"{len(representative)} crops to quantise on, {len(held_back)} to measure.")
    crops = {}
    for name, chosen in (("training", representative), ("test", held_back)):
        cut, kept = cut_crops(
            chosen, bundle.card.preprocessing, decode=decode, advance=step, workers=1
        )
        if not kept:
            raise ExportError(f"No cell was found in any of the {name} pictures. Give others.")
        crops[name] = cut
        if name == "test":
            held_back = [held_back[at] for at in kept]
    contents = _converted(bundle, classifier, crops["training"], step)
    figures = _measure(bundle, contents, crops["test"], held_back, seed)
    step("Measured.")
    result = {
        "schema": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "model": {"version": bundle.version, "card_sha256": bundle.sha256},
        "classes": list(bundle.classes),
        "preprocessing": asdict(bundle.card.preprocessing),
        "input": {
            "shape": [1, *crops["test"].shape[1:]],
            "dtype": "float32",
            "colours": "red, green, blue",
            "values": "pixel / 127.5 - 1",
        },
        "output": {
            "shape": [1, len(bundle.classes)],
            "dtype": "float32",
            "what": "calibrated probabilities in the order of labels.txt",
            "temperature": bundle.card.temperature,
        },
        "views": {"here": 1, "served": bundle.card.network["views"]},
        "representative": {
            "crops": len(crops["training"]),
            "photographs": len({item.group for item in representative}),
        },
        "measured": figures,
        "speed_on": f"{platform.machine()}, one thread",
        "libraries": {name: version(name) for name in ("ai-edge-litert", "keras", "tensorflow")},
        "seed": seed,
    }
    _write(out, result, contents)
    return result


def _classifier(bundle: Bundle) -> keras.Model:
    """The whole network with the last layer of ``head.npz``, temperature inside, and softmax."""
    import keras

    from inference.ml.network import build_classifier, feature_map
    from inference.ml.start import fill

    card = bundle.card
    if KERAS_NAME not in card.files:
        raise ExportError(
            f"The model {card.version} has no {KERAS_NAME}, from which other forms are made. "
            "Choose a model that was trained here."
        )
    network = feature_map(
        build_classifier(
            len(card.classes),
            card.preprocessing.size,
            weights=None,
            backbone=card.network["backbone"],
            width=card.network["width"],
        )
    )
    fill(network, bundle)
    head, temperature = Head.load(bundle.head_path), np.float32(bundle.card.temperature)
    pooled = keras.layers.GlobalAveragePooling2D()(network.output)
    last = keras.layers.Dense(len(bundle.classes), activation="softmax")
    classifier = keras.Model(network.input, last(pooled))
    last.set_weights([head.kernel / temperature, head.bias / temperature])
    return classifier


def _sides(bundle: Bundle, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """What the model learned from and what was held back, as its manifest knows them.

    That names pictures of earlier models, too: what is of a class that this one does not have is
    left aside.
    """
    row_of: dict[str, ManifestRow] = {}
    for row in read_manifest(bundle.manifest_path):
        row_of[row.sha256] = row
    found: dict[str, dict[Any, Item]] = {"train": {}, "test": {}}
    for item in items:
        known = row_of.get(item.sha256)
        if known and known.side in found:
            # A picture of several cells has one row; each of its cells has a class of its own.
            label = item.label if item.box else known.label
            if label not in bundle.classes:
                continue
            told = replace(item, dataset=known.dataset, label=label, group=known.group)
            found[known.side][item.key] = told
    for side, what in (("train", "learned from"), ("test", "held back")):
        if not found[side]:
            raise ExportError(
                f"None of the {len(items)} pictures is one that {bundle.version} {what}: the "
                "classifiers can be neither made nor measured without. Give the data that the "
                "model was trained on."
            )
    return list(found["train"].values()), list(found["test"].values())


def _by_dataset(items: Sequence[Item]) -> list[list[Item]]:
    names = sorted({item.dataset for item in items})
    return [[item for item in items if item.dataset == name] for name in names]


def _spread(items: Sequence[Item], most: int, seed: int) -> list[Item]:
    """So many items: classes of data sets in turn, and photographs before their copies."""
    rng = np.random.default_rng(seed)
    groups = [item.group for item in items]
    turns: dict[str, int] = {}
    ranked = []
    for place, at in enumerate(spread_over(groups, np.arange(len(items)), rng)):
        turn = turns[items[at].stratum] = turns.get(items[at].stratum, 0) + 1
        ranked.append((turn, place, at))
    return [items[at] for _, _, at in sorted(ranked)[:most]]


def _converted(
    bundle: Bundle, classifier: keras.Model, crops: NDArray[np.uint8], step: Callable[[str], None]
) -> dict[str, bytes]:
    """Both files; the first is compared with the served network."""
    from inference.ml.export import converted

    inputs = to_network(crops, bundle.card.preprocessing)
    contents = {FP32: converted(classifier)}
    few = slice(0, _PARITY_CROPS)
    logits, _ = Engine(bundle).run(crops[few], views=1)
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / bundle.card.temperature)
    served = powers / powers.sum(axis=1, keepdims=True)
    difference = np.abs(EdgeClassifier(contents[FP32]).probabilities(inputs[few]) - served).max()
    if not difference < PARITY:
        raise ExportError(
            f"The classifier made from model.keras answers otherwise than model.tflite, by "
            f"{difference:.2g}; {PARITY:g} is allowed. Copy the bundle of {bundle.version} again."
        )
    step(f"Made the classifier in float32; it differs from the served network by {difference:.1g}.")
    contents[INT8] = converted(classifier, quantised_on=[one[None] for one in inputs])
    step(f"Made the classifier in 8-bit integers, with ranges of {len(inputs)} crops.")
    return contents


def _measure(
    bundle: Bundle,
    contents: dict[str, bytes],
    crops: NDArray[np.uint8],
    items: Sequence[Item],
    seed: int,
) -> dict[str, Any]:
    """Size and speed of both, and their figures beside the served model's, by data set."""
    inputs = to_network(crops, bundle.card.preprocessing)
    answers = {"served": Engine(bundle).probabilities(crops)}
    files = {}
    for precision, content in contents.items():
        classifier = EdgeClassifier(content)
        answers[precision] = classifier.probabilities(inputs)
        files[precision] = {
            "bytes": len(content),
            "milliseconds": round(classifier.milliseconds(inputs[0]), 2),
        }
    sets = []
    for dataset in sorted({item.dataset for item in items}):
        at = np.array([row for row, item in enumerate(items) if item.dataset == dataset])
        labels = np.array([bundle.classes.index(items[row].label) for row in at])
        groups = [items[row].group for row in at]
        photographs = Photographs(groups, seed=seed, resamples=2000)
        served = answers["served"][at]
        told: dict[str, Any] = {
            "name": dataset,
            "photographs_known": dataset not in bundle.card.dataset.get("groups_unknown", ()),
            "crops": len(at),
            "photographs": len(photographs),
        }
        for name, probabilities in answers.items():
            ours = probabilities[at]
            figures = evaluate(ours, labels, groups, bundle.classes, seed=seed)
            told[name] = {key: figures[key] for key in _FIGURES}
            told[name]["calibration_error"] = calibration_figures(ours, labels, photographs)["ece"]
            if name != "served":
                same = ours.argmax(axis=1) == served.argmax(axis=1)
                every = photographs.sums(np.ones(len(at)))
                told[name]["agreement"] = photographs.share(photographs.sums(same), every)
                told[name]["paired"] = compare(ours, served, labels, groups, seed=seed)
        sets.append(told)
    return {"files": files, "sets": sets}


def _write(out: Path, result: dict[str, Any], contents: dict[str, bytes]) -> None:
    with folder_draft(out, known_by=SUMMARY_NAME) as draft:
        for precision, content in contents.items():
            (draft / file_name(precision)).write_bytes(content)
        (draft / LABELS_NAME).write_text("\n".join(result["classes"]) + "\n", encoding="utf-8")
        (draft / README_NAME).write_text(_readme(result), encoding="utf-8")
        result["files"] = {path.name: sha256_of(path) for path in sorted(draft.iterdir())}
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        (draft / SUMMARY_NAME).write_text(text, encoding="utf-8")


def _readme(result: dict[str, Any]) -> str:
    environment = page.environment(keep_trailing_newline=True)
    environment.filters["pct"] = _percent
    return environment.get_template("edge_readme.txt.j2").render(edge=result)


def _percent(figure: dict[str, Any], *, sign: bool = False) -> str:
    """A share or a difference with its interval, as in ``92.1 % [85.0, 97.3]``."""
    low, high = figure["interval"]
    form, unit = ("{:+.1f}", "points") if sign else ("{:.1f}", "%")
    told = "" if low is None else f" [{form.format(100 * low)}, {form.format(100 * high)}]"
    return f"{form.format(100 * figure['value'])} {unit}{told}"
