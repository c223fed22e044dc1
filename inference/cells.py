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


def cell_class(label: str) -> CellClass:
    return CLASSES.get(label) or CellClass(label.capitalize(), f"{label.capitalize()}s")


def not_recognised(classes: Iterable[str]) -> list[str]:
    """What a model with these classes cannot say; a class folder ``blast`` teaches "blasts"."""
    known = {_singular(label) for label in classes}
    return [kind for kind in NOT_RECOGNISED if _singular(kind) not in known]


def _singular(kind: str) -> str:
    words = kind.lower().replace("_", " ").replace("-", " ")
    return words.removesuffix(" as such").removesuffix("s")


def in_order(labels: list[str]) -> list[str]:
    """Labels in the order in which a differential lists them."""
    order = {label: position for position, label in enumerate(CLASSES)}
    return sorted(labels, key=lambda label: (order.get(label, len(order)), label))
