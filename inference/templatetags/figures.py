"""A model's measured figures in words."""

from typing import Any

from django import template

from inference.cells import cell_class

register = template.Library()


NONE = "–"
KEY_SETS = 3
COMPARED = {
    "accuracy": "Accuracy by picture",
    "by_photograph": "Accuracy by photograph",
    "balanced_accuracy": "Balanced accuracy",
    "not_flagged": "Not flagged as uncertain",
    "wrong_among_not_flagged": "Wrong among those",
}

# Networks as people write them; one that is not listed keeps its own name.
NETWORKS = {
    "mobilenetv2": "MobileNetV2",
    "scratch-cnn": "a small network trained from scratch",
    "vgg16": "VGG16",
    "resnet50v2": "ResNet50V2",
    "efficientnetv2b0": "EfficientNetV2B0",
}
IMPORTED_NETWORKS = {"plain-cnn": "a plain chain of convolutions"}  # which is not trained here


@register.filter
def with_interval(figure: Any) -> str:
    """The value and its 95 % interval, as in "88.1 % (84.0-91.7)"; "–" for what is no figure.

    Cards of schema 1, which stay in the database, hold some figures without an interval, and one
    that was imported may hold anything.
    """
    if not isinstance(figure, dict):
        return as_percent(figure)
    value = as_percent(figure.get("value"))
    match figure.get("interval"):
        case [int() | float() as low, int() | float() as high] if value != NONE:
            return f"{value} ({100 * low:.1f}–{100 * high:.1f})"
    return value


@register.filter
def as_percent(share: Any) -> str:
    is_number = isinstance(share, int | float) and not isinstance(share, bool)
    return f"{100 * share:.1f} %" if is_number else NONE


@register.filter
def in_points(figure: Any) -> str:
    """A difference of shares with its interval, as in "+1.2 points (-0.4 to +2.8)"."""
    match figure:
        case {"value": int() | float() as value, "interval": [int() | float() as low, high]}:
            between = f" ({_signed(low)} to {_signed(high)})"
        case {"value": int() | float() as value}:
            between = ""
        case _:
            return NONE
    return f"{_signed(value)} points{between}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")


@register.filter
def key_figures(card: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The first data sets of a card, for lists, with their figures."""
    return list(_sets(card).items())[:KEY_SETS]


@register.filter
def beside(card: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, list[list[str]]]]:
    """For each data set of two cards, rows of a name and both cards' figures in words."""
    ours, theirs = (_sets(one) for one in (card, other))
    return [
        (
            dataset,
            [
                [name, *(_compared(one.get(dataset, {}), key) for one in (ours, theirs))]
                for key, name in COMPARED.items()
            ],
        )
        for dataset in sorted({*ours, *theirs})
    ]


def _compared(figures: dict[str, Any], key: str) -> str:
    figure = figures.get(key)
    photographs = figure.get("photographs") if isinstance(figure, dict) else None
    if key == "by_photograph" and photographs == figures.get("images"):
        return NONE  # these are files, of nobody knows which photographs
    return with_interval(figure)


def _sets(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    metrics = card.get("metrics")
    rows = metrics.items() if isinstance(metrics, dict) else ()
    return {name: figures for name, figures in rows if isinstance(figures, dict)}


@register.filter
def network_name(backbone: str) -> str:
    return (NETWORKS | IMPORTED_NETWORKS).get(str(backbone), str(backbone))


@register.filter
def class_name(label: str) -> str:
    return cell_class(label).name


@register.filter
def class_plural(label: str) -> str:
    return cell_class(label).plural
