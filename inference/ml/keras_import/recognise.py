"""Tell which network a graph of layers is: pixels, body, and what comes after it.

``pixels -> body -> pooling -> (dense layers) -> classes``. The body is one of the backbones
that `keras.applications` builds, or a plain chain of convolutions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from inference.ml.keras_import import KerasFileError
from inference.ml.keras_import.graph import (
    IDENTITIES,
    INPUT,
    Config,
    Graph,
    Node,
    snake_case,
    told,
)

PLAIN = "plain-cnn"
LARGEST, SMALLEST = 512, 16

_PIXELS = frozenset({"Rescaling", "Normalization"})
_POOLINGS = {"GlobalAveragePooling2D": "average", "GlobalMaxPooling2D": "max", "Flatten": "flatten"}
_HEAD = frozenset({"Dense", "BatchNormalization", "Activation", "ReLU", "Softmax"})
_CHAIN = frozenset(
    {
        *("Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Activation"),
        *("MaxPooling2D", "AveragePooling2D", "ZeroPadding2D"),
    }
)
_SIGNS = {
    "mobilenetv2": ("Conv1", "expanded_conv_depthwise", "Conv_1"),
    "vgg16": ("block1_conv1", "block4_conv3", "block5_conv3"),
    "resnet50v2": ("conv1_conv", "conv4_block6_out", "post_bn"),
    "efficientnetv2b0": ("stem_conv", "block6h_project_conv", "top_conv"),
}
"""Layers by whose names a backbone is suspected; it is compared layer by layer when it is built."""

_WIDTHS = {112: 0.35, 160: 0.5, 240: 0.75, 320: 1.0, 416: 1.3, 448: 1.4}
"""MobileNetV2's width, by the channels before its last convolution."""

_MOST_CLASSES = 100  # as of every bundle
_MOST_CHAINED, _MOST_DENSE, _MOST_FILTERS, _MOST_UNITS, _LARGEST_KERNEL = 80, 6, 2048, 8192, 31


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is built anew: `inputs` are names of others, or "" for the pixels."""

    name: str
    kind: str
    settings: Config
    inputs: tuple[str, ...]
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """A network that can be built.

    Attributes
    ----------
    format, keras_version : str
        Of the file.
    size : int
        Side of the square that its pictures are squeezed into.
    backbone : str
        A key of ``inference.ml.network.BACKBONES``, or ``plain-cnn``.
    width : float
        Of MobileNetV2.
    scale, offset : tuple of float
        What the network itself does with the three numbers of a pixel, first of all.
    body : tuple of Layer
    pooling : str
        ``average``, ``max`` or ``flatten``.
    head : tuple of Layer
        Up to the last one, which has a unit for each class and softmax.
    classes : int
    """

    format: str
    keras_version: str
    size: int
    backbone: str
    width: float
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    body: tuple[Layer, ...]
    pooling: str
    head: tuple[Layer, ...]
    classes: int

    @property
    def hidden(self) -> list[int]:
        """Units of the dense layers before the last."""
        return [one.settings["units"] for one in self.head[:-1] if one.kind == "Dense"]

    @property
    def scales_pixels(self) -> bool:
        """Whether the network scales pixels itself: then it takes them as they are, 0 to 255."""
        return (self.scale, self.offset) != ((1.0,) * 3, (0.0,) * 3)

    def summary(self) -> dict[str, Any]:
        """What a person is told of it, ready for JSON."""
        names = ("format", "keras_version", "size", "backbone", "width", "pooling", "classes")
        return {name: getattr(self, name) for name in names} | {
            "hidden": self.hidden,
            "scales_pixels": self.scales_pixels,
        }

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recognised:
        """What `to_dict` gave, after JSON."""
        layers = {
            name: tuple(
                Layer(
                    **{
                        **layer,
                        "inputs": tuple(layer["inputs"]),
                        "variables": tuple(layer["variables"]),
                    }
                )
                for layer in values[name]
            )
            for name in ("body", "head")
        }
        triples = {name: tuple(values[name]) for name in ("scale", "offset")}
        return cls(**(values | layers | triples))


def recognise(graph: Graph, *, kind: str, version: str) -> tuple[Recognised, dict[str, Node]]:
    """The network of a graph, and of each of its layers the node that has its numbers.

    Raises
    ------
    KerasFileError
        If it is none that this program builds.
    """
    height, width = graph.size
    if height != width or not SMALLEST <= height <= LARGEST:
        raise KerasFileError(
            f"The model takes pictures of {height} x {width} pixels; square ones of {SMALLEST} to "
            f"{LARGEST} are taken."
        )
    nodes = _without_identities(graph)
    output = _resolved(graph, graph.output)
    pooled, head = _head(nodes, output)
    body, scale, offset = _body(nodes, pooled.inputs)
    names = _names((*body, *head))
    if len(set(names.values())) != len(names):
        raise KerasFileError("Two layers of the network have one name.")
    layers = tuple(_layer(node, names) for node in body)
    backbone = _backbone({layer.name for layer in layers})
    if backbone == PLAIN:
        _check_chain(layers)
    found = Recognised(
        format=kind,
        keras_version=version,
        size=height,
        backbone=backbone,
        width=_width(layers) if backbone == "mobilenetv2" else 1.0,
        scale=scale,
        offset=offset,
        body=layers,
        pooling=_POOLINGS[pooled.kind],
        head=tuple(_layer(node, names) for node in head),
        classes=int(head[-1].settings["units"]),
    )
    return found, {names[node.path]: node for node in (*body, *head)}


def as_layers(graph: Graph) -> dict[str, Layer]:
    """The layers of a backbone of our own making, to compare a file's with, by Keras' name."""
    nodes = _without_identities(graph)
    body = [node for node in nodes.values() if node.kind not in {INPUT, *_PIXELS}]
    names = _names(body)
    return {node.name: _layer(node, names) for node in body}


def _names(nodes: Sequence[Node]) -> dict[tuple[str, ...], str]:
    """Names by which layers are told apart: those that Keras numbered are counted anew.

    ``max_pooling2d_3`` is the fourth of its kind in the session that made it, in whatever model.
    """
    names, counted = {}, Counter[str]()
    for node in nodes:
        numbered = re.fullmatch(rf"{snake_case(node.kind)}(_\d+)?", node.name)
        counted[node.kind] += bool(numbered)
        names[node.path] = f"{node.kind} {counted[node.kind]}" if numbered else node.name
    return names


def _layer(node: Node, names: dict[tuple[str, ...], str]) -> Layer:
    # The first layer of a Sequential may have none before it.
    inputs = tuple(names.get(path, "") for path in node.inputs) or ("",)
    return Layer(names[node.path], node.kind, node.settings, inputs, node.variables)


def _without_identities(graph: Graph) -> dict[tuple[str, ...], Node]:
    """The nodes that do something, with the others cut out from between them."""
    return {
        path: Node(
            path,
            node.kind,
            node.settings,
            tuple(_resolved(graph, source) for source in node.inputs),
        )
        for path, node in graph.nodes.items()
        if not _idle(node)
    }


def _idle(node: Node) -> bool:
    return node.kind in IDENTITIES or (
        node.kind == "Activation" and node.settings["activation"] == "linear"
    )


def _resolved(graph: Graph, path: tuple[str, ...]) -> tuple[str, ...]:
    seen = 0
    while _idle(graph.nodes[path]):
        (path,) = graph.nodes[path].inputs
        seen += 1
        if seen > len(graph.nodes):
            raise KerasFileError("The layers of the model go in a circle.")
    return path


def _head(
    nodes: dict[tuple[str, ...], Node], output: tuple[str, ...]
) -> tuple[Node, tuple[Node, ...]]:
    """The pooling, and the layers after it; softmax becomes part of the last."""
    path = output
    after: list[Node] = []
    while nodes[path].kind not in _POOLINGS:
        node = nodes[path]
        if node.kind not in _HEAD or len(node.inputs) != 1 or len(after) > 3 * _MOST_DENSE:
            raise KerasFileError(
                f"After the convolutions the model has {told(node.name)}, a {told(node.kind)}. "
                "Taken are global pooling or Flatten, then dense layers with dropout and batch "
                "normalisation between, the last with softmax."
            )
        after.append(node)
        (path,) = node.inputs
    head = after[::-1]
    softmax = bool(head) and (
        head[-1].kind == "Softmax" or head[-1].settings.get("activation") == "softmax"
    )
    if len(head) > 1 and softmax and head[-1].kind in ("Softmax", "Activation"):
        last = head[-2]
        if last.kind == "Dense" and last.settings["activation"] == "linear":
            head = [*head[:-2], last]
    if not head or head[-1].kind != "Dense" or not softmax:
        raise KerasFileError(
            "The model does not end with a dense layer and softmax, one unit for each class."
        )
    units = [node.settings["units"] for node in head if node.kind == "Dense"]
    if len(units) > _MOST_DENSE or not all(
        isinstance(one, int) and 1 <= one <= _MOST_UNITS for one in units
    ):
        raise KerasFileError("The model has too many dense layers, or too large ones.")
    if any(node.kind == "Softmax" for node in head[:-1]) or units[-1] < 2:
        raise KerasFileError("The model has softmax in its middle, or fewer than two classes.")
    if units[-1] > _MOST_CLASSES:
        raise KerasFileError(
            f"The model tells {units[-1]} classes apart, and {_MOST_CLASSES} can be used: it was "
            "probably made for other pictures than cells."
        )
    return nodes[path], tuple(head)


def _body(
    nodes: dict[tuple[str, ...], Node], entries: tuple[tuple[str, ...], ...]
) -> tuple[list[Node], tuple[float, float, float], tuple[float, float, float]]:
    """The nodes between pixels and pooling, in order, and what scales the pixels."""
    wanted, waiting = set(), list(entries)
    while waiting:
        path = waiting.pop()
        if path not in wanted:
            wanted.add(path)
            waiting += nodes[path].inputs
    body, pixels = [], []
    for path, node in nodes.items():
        if path not in wanted or node.kind == INPUT:
            continue
        if node.kind in _PIXELS:
            pixels.append(node)
        else:
            body.append(node)
    scale, offset = [1.0] * 3, [0.0] * 3
    for node in pixels:
        if any(nodes[source].kind not in {INPUT, *_PIXELS} for source in node.inputs):
            raise KerasFileError(f"{told(node.name)} scales something else than the pixels.")
        factor, shift = _affine(node)
        scale = [one * by for one, by in zip(scale, factor, strict=True)]
        offset = [one * by + more for one, by, more in zip(offset, factor, shift, strict=True)]
    if not body:
        raise KerasFileError("The model has no convolutions.")
    return body, (scale[0], scale[1], scale[2]), (offset[0], offset[1], offset[2])


def _affine(node: Node) -> tuple[list[float], list[float]]:
    """Factor and shift of each colour."""
    try:
        if node.kind == "Rescaling":
            return _three(node.settings["scale"]), _three(node.settings["offset"])
        means, variances = (_three(node.settings[key]) for key in ("mean", "variance"))
        factors = [1 / max(value**0.5, 1e-7) for value in variances]
        return factors, [-mean * factor for mean, factor in zip(means, factors, strict=True)]
    except (TypeError, ValueError) as error:
        raise KerasFileError(
            f"{told(node.name)} scales pixels by numbers that the file does not hold in plain form."
        ) from error


def _three(value: Any) -> list[float]:
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    values = value if isinstance(value, list) else [value] * 3
    if len(values) != 3:
        raise ValueError("not three")
    return [float(one) for one in values]


def _backbone(names: set[str]) -> str:
    for backbone, signs in _SIGNS.items():
        if names.issuperset(signs):
            return backbone
    return PLAIN


def _width(layers: tuple[Layer, ...]) -> float:
    last = next((one for one in layers if one.name == "block_16_project"), None)
    width = None if last is None else _WIDTHS.get(last.settings["filters"])
    if width is None:
        raise KerasFileError("It looks like MobileNetV2, but of a width that is not known here.")
    return width


def _check_chain(layers: tuple[Layer, ...]) -> None:
    """Whether a body that is no known backbone is a plain chain, of a bounded size."""
    if len(layers) > _MOST_CHAINED:
        raise KerasFileError(f"The model has more than {_MOST_CHAINED} layers and is none known.")
    before = ""
    for layer in layers:
        if layer.kind not in _CHAIN or layer.inputs != (before,):
            raise KerasFileError(
                f"The model is none that is known ({', '.join(sorted(_SIGNS))}), nor a plain chain "
                f"of convolutions: {told(layer.name)}, a {told(layer.kind)}, does not fit."
            )
        before = layer.name
        filters = layer.settings.get("filters", 1)
        sides = [
            *(layer.settings.get("kernel_size") or []),
            *(layer.settings.get("pool_size") or []),
            *(layer.settings.get("strides") or []),
            *(layer.settings.get("dilation_rate") or []),
            layer.settings.get("depth_multiplier", 1),
        ]
        padding = layer.settings.get("padding")
        if isinstance(padding, list):
            sides += [1 + one for pair in padding for one in pair]
        fits = isinstance(filters, int) and 1 <= filters <= _MOST_FILTERS
        if not fits or not all(
            isinstance(side, int) and 1 <= side <= _LARGEST_KERNEL for side in sides
        ):
            raise KerasFileError(f"The layer {told(layer.name)} is too large.")
    if not any(layer.kind == "Conv2D" for layer in layers):
        raise KerasFileError("The model has no convolutions.")
