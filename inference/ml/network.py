"""The networks: a backbone, global average pooling, dropout, one dense layer.

All backbones take crops in -1 to 1. Where the weights of `keras.applications` want
something else, a layer inside the network does it, so that a bundle's network can be
exchanged and nothing around it has to know. All end alike: feature map, ``pooled``,
``dropout``, ``logits``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras

BATCH_NORM_MOMENTUM = 0.95
"""Keras' 0.999 would keep the statistics of ImageNet through a few hundred steps."""

_SCRATCH_FILTERS = (32, 64, 128, 256, 256)
_CAFFE_MEANS = (123.68, 116.779, 103.939)  # of red, green and blue over ImageNet


class WeightsError(Exception):
    """Starting weights cannot be had; the message says what to do."""


Builder = Callable[[int, float, str | None], keras.Model]
"""From size, width and weights to a network from crops to the last feature map."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A way to build the part before the pooling.

    Attributes
    ----------
    build : callable
    first_trained : str or None
        Layers before this one stay as ImageNet left them: edges and colours look alike
        everywhere, the large maps at the beginning cost most of the time, and few
        photographs overfit less. None trains all.
    pretrained : bool
        Whether there are weights to start from.
    widths : bool
        Whether it can be built narrower or wider.
    """

    build: Builder
    first_trained: str | None
    pretrained: bool = True
    widths: bool = False


def build_classifier(
    classes: int,
    size: int,
    *,
    weights: str | None,
    weights_follow: bool = False,
    backbone: str = "mobilenetv2",
    width: float = 1.0,
    dropout: float = 0.3,
    adapt_norm: bool = True,
    first_trained: str | None = None,
) -> keras.Model:
    """A classifier of crops.

    Parameters
    ----------
    classes : int
    size : int
        Side of a crop in pixels, at least 32.
    weights : str or None
        Path of a weights file of the backbone without its top, ``imagenet`` to download
        them, or None to train everything from random weights.
    weights_follow : bool
        Whether weights of an earlier training are filled in afterwards: what `weights` would
        leave untrained stays so.
    backbone : str
        A key of `BACKBONES`.
    width : float
        MobileNetV2's alpha: channels over those of the paper. The others are built at 1.
    dropout : float
    adapt_norm : bool
        False keeps the means and variances of batch normalisation as they come with
        the weights. Random weights come with none, so those always learn them.
    first_trained : str or None
        Name of the first layer that is trained; None for the backbone's own choice.

    Returns
    -------
    keras.Model
        From (N, size, size, 3) in -1 to 1 to ``logits`` (N, classes); what goes into its
        layer ``pooled`` is the last feature map.

    Raises
    ------
    WeightsError
        If the weights cannot be read or downloaded, or there are none for this backbone.
    ValueError
        If there is no such backbone, width or layer.

    References
    ----------
    Sandler et al.: MobileNetV2. CVPR 2018. Simonyan, Zisserman: Very deep convolutional
    networks for large-scale image recognition. ICLR 2015. He et al.: Identity mappings in
    deep residual networks. ECCV 2016. Tan, Le: EfficientNetV2. ICML 2021.
    """
    chosen = _backbone(backbone)
    if width != 1 and not chosen.widths:
        raise ValueError(f"{backbone} has one width only. Leave the width at 1.")
    if weights is not None and not chosen.pretrained:
        raise WeightsError(
            f"There are no starting weights for {backbone}: it is trained from scratch. "
            "Leave the weights out or choose another backbone."
        )
    try:
        base = chosen.build(size, width, weights)
    except Exception as error:  # urllib, h5py and Keras each raise their own kinds
        if weights is None:
            raise
        raise WeightsError(
            f"The starting weights {weights!r} cannot be loaded ({error}). Give the path of "
            f"a weights file of {backbone} of width {width:g} without its top, or 'imagenet' "
            "where there is internet access."
        ) from error
    _freeze(
        base,
        random=weights is None and not weights_follow,
        adapt_norm=adapt_norm,
        first=first_trained or chosen.first_trained,
    )
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(base.output)
    dropped = keras.layers.Dropout(dropout, name="dropout")(pooled)
    logits = keras.layers.Dense(classes, name="logits")(dropped)
    return keras.Model(base.input, logits, name="white_cells")


def default_weights(backbone: str) -> str | None:
    """What to start from when nothing is told: ``imagenet``, or nothing where there is none.

    Raises
    ------
    ValueError
        If there is no such backbone.
    """
    return "imagenet" if _backbone(backbone).pretrained else None


def _backbone(name: str) -> Backbone:
    if name not in BACKBONES:
        raise ValueError(f"There is no backbone {name!r}; there are {', '.join(BACKBONES)}.")
    return BACKBONES[name]


def feature_map(model: keras.Model) -> keras.Model:
    """The same network up to its last feature map: (N, h, w, D)."""
    return keras.Model(model.input, model.get_layer("pooled").input)


def pooled_features(model: keras.Model) -> keras.Model:
    """The same network up to what the dense layer sees: (N, D)."""
    return keras.Model(model.input, model.get_layer("pooled").output)


def _freeze(base: keras.Model, *, random: bool, adapt_norm: bool, first: str | None) -> None:
    """Say which layers are trained; from random weights, all are."""
    names = [layer.name for layer in base.layers]
    if first is not None and first not in names:
        raise ValueError(f"There is no layer {first!r} to train from.")
    start = 0 if first is None or random else names.index(first)
    for position, layer in enumerate(base.layers):
        layer.trainable = position >= start
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
            if not random and not adapt_norm:
                layer.trainable = False


def _mobilenetv2(size: int, width: float, weights: str | None) -> keras.Model:
    return keras.applications.MobileNetV2(
        input_shape=(size, size, 3), alpha=width, include_top=False, weights=weights
    )


def _scratch_cnn(size: int, _width: float, _weights: str | None) -> keras.Model:
    """Five blocks of convolution, normalisation and ReLU, halved in between."""
    inputs = maps = keras.Input((size, size, 3))
    for block, filters in enumerate(_SCRATCH_FILTERS, start=1):
        if block > 1:
            maps = keras.layers.MaxPooling2D(name=f"block{block}_pool")(maps)
        maps = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"block{block}_conv",
        )(maps)
        maps = keras.layers.BatchNormalization(name=f"block{block}_norm")(maps)
        maps = keras.layers.ReLU(name=f"block{block}_relu")(maps)
    return keras.Model(inputs, maps)


def _vgg16(size: int, _width: float, weights: str | None) -> keras.Model:
    """Its weights expect blue, green, red in 0 to 255 less the means over ImageNet."""
    inputs = keras.Input((size, size, 3))
    offsets = [127.5 - mean for mean in _CAFFE_MEANS]
    scaled = keras.layers.Rescaling(127.5, offset=offsets, name="caffe")(inputs)
    base = keras.applications.VGG16(input_tensor=scaled, include_top=False, weights=weights)
    # Turning the first kernel round, once, is the same as turning the colours of every crop.
    first = base.get_layer("block1_conv1")
    kernel, bias = first.get_weights()
    first.set_weights([kernel[:, :, ::-1], bias])
    return base


def _resnet50v2(size: int, _width: float, weights: str | None) -> keras.Model:
    return keras.applications.ResNet50V2(
        input_shape=(size, size, 3), include_top=False, weights=weights
    )


def _efficientnetv2b0(size: int, _width: float, weights: str | None) -> keras.Model:
    """Its own first layers scale 0 to 255 to what its weights expect."""
    inputs = keras.Input((size, size, 3))
    scaled = keras.layers.Rescaling(127.5, offset=127.5, name="to_255")(inputs)
    return keras.applications.EfficientNetV2B0(
        input_tensor=scaled, include_top=False, weights=weights
    )


BACKBONES: dict[str, Backbone] = {
    "mobilenetv2": Backbone(_mobilenetv2, "block_3_expand", widths=True),
    "scratch-cnn": Backbone(_scratch_cnn, None, pretrained=False),
    "vgg16": Backbone(_vgg16, "block3_conv1"),
    "resnet50v2": Backbone(_resnet50v2, "conv3_block1_preact_bn"),
    "efficientnetv2b0": Backbone(_efficientnetv2b0, "block3a_expand_conv"),
}
