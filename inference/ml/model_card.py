"""Tell in words what a bundle is for, how well it does and on what: its model card.

After Mitchell et al.: Model cards for model reporting. FAT* 2019, 220-229. Every number
comes from the bundle's own ``card.json``, so that the text cannot promise anything else.
Needs Jinja2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from inference.ml import page
from inference.ml.bundle import Bundle
from inference.ml.split import SIDES

# Figures that are no shares of something; all others are written as percentages.
_NUMBERS = frozenset(
    {"brier", "log_loss", "ece", "calibration_error", "mean_confidence", "auroc", "area"}
)
_WORDS = {
    "accuracy": "accuracy by picture",
    "by_photograph": "accuracy by photograph",
    "balanced_accuracy": "balanced accuracy (macro recall)",
    "before": "the model before",
    "brier": "Brier score (0 to 2)",
    "ece": "expected calibration error",
    "macro_f1": "macro F1",
    "f1": "F1",
    "paired": "gain over the model before",
    "not_flagged": "share not flagged as uncertain",
    "wrong_among_not_flagged": "wrong among those",
}
_NO_FIGURES = frozenset({"classes", "curves"})
_NOT_TOLD = frozenset(
    {
        *("data", "groups", "history", "parity", "command", "preprocessing", "weights"),
        *("adapted_from", "adaptation", "started_from"),
    }
)


def render_model_card(
    bundle: Bundle, *, names: Mapping[str, str], not_recognised: Sequence[str]
) -> str:
    """The model card of a bundle, in Markdown.

    Parameters
    ----------
    bundle : Bundle
    names : mapping of str to str
        Classes' names as people read them; a class that is not there keeps its own.
    not_recognised : sequence of str
        Kinds of cells, in the plural, that the model cannot name.

    Returns
    -------
    str
    """
    environment = page.environment(finalize=_plain, keep_trailing_newline=True)
    environment.filters |= {
        "answers": lambda figures: _answers(figures, bundle.classes),
        "class_rows": class_rows,
        "figures": figures_of,
        "grouped": "{:,}".format,
        "file_name": lambda path: PurePath(path).name,
    }
    card = asdict(bundle.card)
    return environment.get_template("model_card.md.j2").render(
        card=card,
        sha256=bundle.sha256,
        labels={label: names.get(label, label) for label in card["classes"]},
        not_recognised=not_recognised,
        datasets=datasets_of(card),
        training=settings_of(card["training"]),
    )


def settings_of(training: Mapping[str, Any]) -> dict[str, str]:
    """What a training run was told, in words; paths and histories are left out."""
    told = {}
    for name, value in training.items():
        if name in _NOT_TOLD or value in ("", None, {}) or isinstance(value, (list, tuple)):
            continue
        told[name.replace("_", " ")] = (
            ", ".join(f"{key} {one}" for key, one in value.items())
            if isinstance(value, Mapping)
            else str(value)
        )
    return told


def datasets_of(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Of each data set: pictures and, on each side, photographs of its classes; its licence."""
    licences = card["dataset"].get("licences", {})
    photographs = card["split"].get("photographs", {})
    sets: dict[str, dict[str, Any]] = {}
    for stratum, pictures in card["dataset"].get("pictures", {}).items():
        name, _, label = stratum.rpartition(":")
        split = any(stratum in photographs.get(side, {}) for side in SIDES)
        told = sets.setdefault(
            name,
            {
                "licence": licences.get(name, "not stated"),
                "unknown": name in card["dataset"].get("groups_unknown", []),
                "classes": {},
            },
        )
        told["classes"][label] = {"pictures": pictures} | {
            side: photographs.get(side, {}).get(stratum, 0 if split else "–") for side in SIDES
        }
    return sets


def figures_of(values: Mapping[str, Any], within: str = "") -> dict[str, str]:
    """The figures among the entries of a card, in words, also those in sections of it.

    Classes have a table of their own; curves are left out.
    """
    told = {}
    for name, value in values.items():
        words = within + _WORDS.get(name, name.replace("_", " "))
        if isinstance(value, float):
            told[words] = shown({"value": value, "interval": [None, None]}, name)
        elif isinstance(value, Mapping) and name not in _NO_FIGURES:
            if "interval" in value:
                told[words] = shown(value, name)
            sections = {key: one for key, one in value.items() if isinstance(one, Mapping)}
            told |= figures_of(sections, f"{words}, ")
    return told


def class_rows(figures: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Of each class its figures in words, by photograph too where the card has them."""
    by_photograph = figures["by_photograph"].get("classes", {})
    rows = {label: figures_of(row) for label, row in figures["classes"].items()}
    for label, figure in by_photograph.items():
        rows[label]["recall by photograph"] = shown(figure, "recall")
    return rows


def shown(figure: Mapping[str, Any], name: str) -> str:
    """A figure with its 95 % interval, as in ``88.1 % [84.0, 91.7]``.

    Where no error was seen, resampling sees none either: its interval would promise too much.
    """
    value, (low, high) = figure["value"], figure["interval"]
    if value is None:
        return "–"
    scale, unit, places = (1, "", 3) if name in _NUMBERS else (100, " %", 1)
    counted = f" ({figure['right']} of {figure['photographs']})" if "right" in figure else ""
    if low == high == value == 1:
        return "100 % (no error seen)"
    text = f"{scale * value:.{places}f}{unit}{counted}"
    if low is None or low == high:
        return text
    return f"{text} [{scale * low:.{places}f}, {scale * high:.{places}f}]"


def _answers(figures: Mapping[str, Any], classes: Sequence[str]) -> dict[str, list[int]]:
    """The rows of the confusion table that have any pictures."""
    rows = zip(classes, figures["confusion"], strict=True)
    return {label: row for label, row in rows if label in figures["classes"]}


def _plain(value: Any) -> Any:
    """Names come from folders: none may break a table or become markup."""
    if not isinstance(value, str):
        return value
    return " ".join(value.split()).replace("<", "&lt;").replace("|", "\\|")
