"""The classes of cells as people read them. A class not listed here is shown under its own name."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CellClass:
    name: str
    plural: str
    is_white: bool = True  # counts among the white cells of a differential


CLASSES = {
    "neutrophil": CellClass("Neutrophil", "Neutrophils"),
    "lymphocyte": CellClass("Lymphocyte", "Lymphocytes"),
    "monocyte": CellClass("Monocyte", "Monocytes"),
    "eosinophil": CellClass("Eosinophil", "Eosinophils"),
    "basophil": CellClass("Basophil", "Basophils"),
    "ig": CellClass("Immature granulocyte", "Immature granulocytes"),
    "erythroblast": CellClass("Erythroblast", "Erythroblasts", is_white=False),
    "platelet": CellClass("Platelet", "Platelets", is_white=False),
}

# What people say beyond it; a model that is trained with such cells knows them, too.
PEOPLES_CLASSES = {
    "band_neutrophil": CellClass("Band neutrophil", "Band neutrophils"),
    "metamyelocyte": CellClass("Metamyelocyte", "Metamyelocytes"),
    "myelocyte": CellClass("Myelocyte", "Myelocytes"),
    "promyelocyte": CellClass("Promyelocyte", "Promyelocytes"),
    "blast": CellClass("Blast", "Blasts"),
    "reactive_lymphocyte": CellClass("Reactive lymphocyte", "Reactive lymphocytes"),
    "plasma_cell": CellClass("Plasma cell", "Plasma cells"),
    "smudge_cell": CellClass("Smudge cell", "Smudge cells"),
    "giant_platelet": CellClass("Giant platelet", "Giant platelets", is_white=False),
}

# What people say where it is no cell of a class; no model learns these.
NO_CLASS = {
    "unidentified": CellClass("Unidentified", "Unidentified cells"),
    "artefact": CellClass("Artefact", "Artefacts", is_white=False),
    "duplicate": CellClass("Counted already", "Counted already", is_white=False),
}

UNFAMILIAR = "unfamiliar"
"""The flag of a cell that looks unlike those the model was trained on. It is in no class: what the
model names is only the nearest one."""

# What is wrong with a picture, and what to do.
PICTURE_FLAGS = {
    "blurred": "The picture is blurred: focus and take it again.",
    "too_dark": "The picture is too dark: give it more light and take it again.",
    "too_bright": "The picture is too bright: give it less light and take it again.",
    "unusual_colour": (
        "The colours are not those of a stained smear: check the picture, its stain and its light."
    ),
}

# What no model with the classes above can say: it answers with the nearest class it knows.
NOT_RECOGNISED = (
    "blasts",
    "band neutrophils as such",
    "reactive lymphocytes",
    "plasma cells",
    "smudge cells",
    "parasites",
)


_KNOWN = CLASSES | PEOPLES_CLASSES | NO_CLASS


def cell_class(label: str) -> CellClass:
    name = label.replace("_", " ").capitalize()
    return _KNOWN.get(label) or CellClass(name, f"{name}s")


def answers_for(model_classes: Iterable[str]) -> dict[str, list[str]]:
    """What a person can say of a cell, under headings: what the system knows, and the classes
    that a model has learned here."""
    kinds = in_order([*{*CLASSES, *PEOPLES_CLASSES, *model_classes}])
    return {
        "White cells": [label for label in kinds if cell_class(label).is_white],
        "Other cells": [label for label in kinds if not cell_class(label).is_white],
        "In no class": [*NO_CLASS],
    }


def not_recognised(classes: Iterable[str]) -> list[str]:
    """What a model with these classes cannot say; a class folder ``blast`` teaches "blasts"."""
    known = {_singular(label) for label in classes}
    return [kind for kind in NOT_RECOGNISED if _singular(kind) not in known]


def _singular(kind: str) -> str:
    words = kind.lower().replace("_", " ").replace("-", " ")
    return words.removesuffix(" as such").removesuffix("s")


def in_order(labels: list[str]) -> list[str]:
    """Labels in the order in which a differential lists them."""
    order = {label: position for position, label in enumerate(_KNOWN)}
    return sorted(labels, key=lambda label: (order.get(label, len(order)), label))
