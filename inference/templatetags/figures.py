"""A model's measured figures in words."""

from typing import Any

from django import template

from inference.cells import cell_class

register = template.Library()


# Networks as people write them; one that is not listed keeps its own name.
NETWORKS = {
    "mobilenetv2": "MobileNetV2",
    "scratch-cnn": "a small network trained from scratch",
    "vgg16": "VGG16",
    "resnet50v2": "ResNet50V2",
    "efficientnetv2b0": "EfficientNetV2B0",
}


@register.filter
def with_interval(figure: dict[str, Any] | float | None) -> str:
    """The value and its 95 % interval, as in "88.1 % (84.0-91.7)".

    Cards of schema 1, which stay in the database, hold some figures without an interval.
    """
    if not isinstance(figure, dict):
        return as_percent(figure)
    low, high = figure["interval"]
    if figure["value"] is None:
        return "–"
    if low is None:
        return f"{100 * figure['value']:.1f} %"
    return f"{100 * figure['value']:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


@register.filter
def as_percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


@register.filter
def network_name(backbone: str) -> str:
    return NETWORKS.get(backbone, backbone)


@register.filter
def class_name(label: str) -> str:
    return cell_class(label).name


@register.filter
def class_plural(label: str) -> str:
    return cell_class(label).plural
