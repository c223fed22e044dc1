"""The classes of cells as people read them. A class not listed here is shown under its own name."""

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


def in_order(labels: list[str]) -> list[str]:
    """Labels in the order in which a differential lists them."""
    order = {label: position for position, label in enumerate(CLASSES)}
    return sorted(labels, key=lambda label: (order.get(label, len(order)), label))
