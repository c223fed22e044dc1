"""What a Keras model's configuration says of its layers, as plain data.

Nothing here imports Keras: names and numbers are read, and what is not known is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from inference.ml.keras_import import KerasFileError

Config = dict[str, Any]

INPUT = "InputLayer"
MODELS = frozenset({"Sequential", "Functional", "Model"})

IDENTITIES = frozenset(
    {
        *("Dropout", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "AlphaDropout"),
        *("ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom"),
        *("RandomTranslation", "RandomContrast", "RandomBrightness"),
    }
)
"""Layers that do something in training only."""

_CONVOLUTION: dict[str, Any] = {
    "kernel_size": None,
    "strides": [1, 1],
    "padding": "valid",
    "dilation_rate": [1, 1],
    "use_bias": True,
    "activation": "linear",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "Conv2D": {"filters": None, "groups": 1, **_CONVOLUTION},
    "DepthwiseConv2D": {"depth_multiplier": 1, **_CONVOLUTION},
    "BatchNormalization": {"epsilon": 1e-3, "center": True, "scale": True},
    "ReLU": {"max_value": None, "negative_slope": 0, "threshold": 0},
    "Activation": {"activation": None},
    "Softmax": {},
    "MaxPooling2D": {"pool_size": [2, 2], "strides": None, "padding": "valid"},
    "AveragePooling2D": {"pool_size": [2, 2], "strides": None, "padding": "valid"},
    "ZeroPadding2D": {"padding": [[1, 1], [1, 1]]},
    "Add": {},
    "Multiply": {},
    "Reshape": {"target_shape": None},
    "GlobalAveragePooling2D": {"keepdims": False},
    "GlobalMaxPooling2D": {"keepdims": False},
    "Flatten": {},
    "Dense": {"units": None, "use_bias": True, "activation": "linear"},
    "Rescaling": {"scale": 1, "offset": 0},
    "Normalization": {"mean": None, "variance": None},
}
"""The layers that are known, and of each what decides its answer, with Keras' own defaults."""

ACTIVATIONS = frozenset(
    {
        *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"),
        *("sigmoid", "softplus", "softmax"),
    }
)

VARIABLES = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""Arrays of numbers of a layer, in the order in which Keras keeps them."""

MOST_LAYERS = 1000
DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Node:
    """A layer.

    Attributes
    ----------
    path : tuple of str
        Its name, after those of the models that it lies in.
    kind : str
        Its class.
    settings : dict
        What `SETTINGS` has for it.
    inputs : tuple of tuple of str
        Paths of the layers before it.
    """

    path: tuple[str, ...]
    kind: str
    settings: Config
    inputs: tuple[tuple[str, ...], ...]

    @property
    def name(self) -> str:
        return self.path[-1]

    @property
    def variables(self) -> tuple[str, ...]:
        """Names of its arrays, in Keras' order."""
        used = {
            "bias": self.settings.get("use_bias", True),
            "gamma": self.settings.get("scale", True),
            "beta": self.settings.get("center", True),
        }
        return tuple(name for name in VARIABLES.get(self.kind, ()) if used.get(name, True))


@dataclass(frozen=True, slots=True)
class Graph:
    """Layers by path, in the file's order, and the last of them.

    Attributes
    ----------
    nodes : dict
    size : tuple of int
        Height and width of the input.
    output : tuple of str
    """

    nodes: dict[tuple[str, ...], Node]
    size: tuple[int, int]
    output: tuple[str, ...]


def told(text: object) -> str:
    """A name of the file's as it can be shown: short, and in printable characters."""
    shown = "".join(c if c.isprintable() else "?" for c in str(text))
    return f"“{shown[:60]}”"


def snake_case(name: str) -> str:
    """``re_lu`` for ``ReLU``: Keras' own rule."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def read_graph(config: Any) -> Graph:
    """The layers of a model, those of models within it among them.

    Parameters
    ----------
    config : object
        Of JSON, as Keras writes it; anything may be in it.

    Raises
    ------
    KerasFileError
        If it has a layer that is not known, code, or another structure.
    """
    refuse_code(config)
    try:
        nodes, output = _model(config, ())
        size = _input_size(config)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise KerasFileError(
            "What the file says of its layers cannot be read: it is not as Keras writes it "
            f"({type(error).__name__}). Save the model anew with Keras 2 or 3."
        ) from error
    return Graph(nodes, size, output)


def refuse_code(config: Any) -> None:
    """Refuse a configuration with a function of its own or a class of somebody's, wherever.

    Raises
    ------
    KerasFileError
    """
    waiting = [config]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
            kind = one.get("class_name")
            if isinstance(kind, str) and ("Lambda" in kind or kind == "__lambda__"):
                raise KerasFileError(
                    "The file has a Lambda layer: code of its own, which is never run here. Put "
                    "what it does (often the scaling of pixels) into the import's options instead, "
                    "and save the model without it."
                )
            module, registered = one.get("module"), one.get("registered_name")
            foreign = isinstance(module, str) and not (
                module in ("builtins", "keras", "tf_keras", "numpy")
                or module.startswith(("keras.", "tf_keras.", "tensorflow.keras."))
            )
            if foreign or (isinstance(registered, str) and ">" in registered):
                raise KerasFileError(
                    f"The file has a custom object, {told(kind)} of {told(module or registered)}. "
                    "Only Keras' own layers are taken. Save a model without it."
                )


def _model(
    layer: Config, within: tuple[str, ...], entry: tuple[str, ...] | None = None
) -> tuple[dict[tuple[str, ...], Node], tuple[str, ...]]:
    """Nodes of a model and its output; `entry` is the layer before one that lies in another."""
    kind, config = layer["class_name"], layer["config"]
    # Keras before 2.3 wrote the layers of a Sequential without anything round them.
    layers = config if isinstance(config, list) else config["layers"]
    if kind not in MODELS or not isinstance(layers, list) or not layers:
        raise KerasFileError(f"The file holds no model but {told(kind)}. Save a whole model.")
    if len(within) > DEEPEST:
        raise KerasFileError("Models within models are nested too deeply.")
    nodes: dict[tuple[str, ...], Node] = {}
    ends: dict[str, tuple[str, ...]] = {}  # of each layer of this model, by its name
    before, entries = entry, 0
    for one in layers:
        name = str(one["config"]["name"])
        path = end = (*within, name)
        inputs: tuple[tuple[str, ...], ...] = () if before is None else (before,)
        if kind != "Sequential":
            inputs = tuple(ends[source] for source in _inbound(one))
        if one["class_name"] == INPUT:
            entries += 1
            if entry is None:
                nodes[path] = Node(path, INPUT, {}, ())
            else:
                end = entry
        elif one["class_name"] in MODELS:
            inner, end = _model(one, path, inputs[0] if inputs else None)
            nodes |= inner
            entries += len(inputs) > 1
        else:
            nodes[path] = Node(path, one["class_name"], _settings(one, name), inputs)
        if name in ends:
            raise KerasFileError(f"Two layers are called {told(name)}.")
        entries += kind != "Sequential" and not inputs and one["class_name"] != INPUT
        if entries > 1:
            raise KerasFileError("The model has several inputs; one picture goes in here.")
        if len(nodes) > MOST_LAYERS:
            raise KerasFileError(f"The model has more than {MOST_LAYERS} layers.")
        ends[name] = before = end
    assert before is not None
    return nodes, before if kind == "Sequential" else ends[_only(config["output_layers"])]


def _settings(layer: Config, name: str) -> Config:
    kind, config = layer["class_name"], layer["config"]
    if kind in IDENTITIES:
        return {}
    if kind not in SETTINGS:
        raise KerasFileError(
            f"The layer {told(name)} is a {told(kind)}, which is not known here. "
            f"Known are {', '.join(sorted(SETTINGS))}."
        )
    if config.get("data_format") not in (None, "channels_last"):
        raise KerasFileError(f"The layer {told(name)} has channels first; last is needed.")
    if kind == "BatchNormalization" and config.get("axis", -1) not in (-1, 3, 1, [3], [1], [-1]):
        raise KerasFileError(f"The layer {told(name)} normalises along another axis.")
    found = {
        key: _plain(config[key] if config.get(key) is not None else default)
        for key, default in SETTINGS[kind].items()
    }
    if "activation" in found:
        found["activation"] = {"swish": "silu"}.get(found["activation"], found["activation"])
        if found["activation"] not in ACTIVATIONS:
            raise KerasFileError(
                f"The layer {told(name)} has the activation {told(found['activation'])}, which is "
                "not known here."
            )
    if "strides" in found and "pool_size" in found and found["strides"] is None:
        found["strides"] = found["pool_size"]
    for key in ("kernel_size", "strides", "pool_size", "dilation_rate"):
        if isinstance(found.get(key), int):
            found[key] = [found[key]] * 2
    if kind == "ZeroPadding2D" and isinstance(found["padding"], int):
        found["padding"] = [[found["padding"]] * 2] * 2
    return found


def _plain(value: Any) -> Any:
    """A number, a word, a truth or lists of them: all else is refused."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    raise KerasFileError("A layer has a setting that is no number and no word: code or an object.")


def _inbound(layer: Config) -> list[str]:
    """Names of the layers before one of a functional model, as Keras 2 or 3 write them."""
    nodes = layer.get("inbound_nodes") or []
    if len(nodes) > 1:
        name = told(layer["config"]["name"])
        raise KerasFileError(f"The layer {name} is used several times, which is not known here.")
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            if value.get("class_name") == "__keras_tensor__":
                found.append(str(value["config"]["keras_history"][0]))
            else:
                for one in value.values():
                    look(one)
        elif isinstance(value, list):
            if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
                found.append(value[0])
            else:
                for one in value:
                    look(one)

    look(nodes)
    return found


def _only(outputs: Any) -> str:
    """The one output: ``["name", 0, 0]`` of Keras 3 or ``[["name", 0, 0]]``."""
    if isinstance(outputs[0], str):
        return outputs[0]
    if len(outputs) != 1:
        raise KerasFileError("The model has several outputs; one, of probabilities, is needed.")
    return str(outputs[0][0])


def _input_size(config: Config) -> tuple[int, int]:
    """Height and width that the input layer, the first layer or the model itself names."""
    layer: Config | None = config
    while layer is not None:
        inner = layer["config"]
        told_of = inner if isinstance(inner, dict) else {}
        shape = (
            told_of.get("batch_shape")
            or told_of.get("batch_input_shape")
            or told_of.get("build_input_shape")
        )
        if shape:
            _, height, width, channels = shape
            if channels != 3:
                raise KerasFileError(
                    f"The model takes {channels} channels; red, green, blue are 3."
                )
            if isinstance(height, int) and isinstance(width, int):
                return height, width
        layer = _first_layer(layer)
    raise KerasFileError(
        "The file does not say how large its pictures are. Save the model with a fixed input size."
    )


def _first_layer(layer: Config) -> Config | None:
    if layer["class_name"] not in MODELS:
        return None
    inner = layer["config"]
    first: Config = (inner if isinstance(inner, list) else inner["layers"])[0]
    return first
