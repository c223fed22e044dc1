"""The network: MobileNetV2, global average pooling, dropout, one dense layer."""

from __future__ import annotations

import keras

BATCH_NORM_MOMENTUM = 0.95
"""Keras' 0.999 would keep the statistics of ImageNet through a few hundred steps."""

FIRST_TRAINED = "block_3_expand"
"""Layers before this one stay as they are: edges and colours look alike everywhere, they
cost a third of the time of training, and few photographs overfit less."""


class WeightsError(Exception):
    """Starting weights cannot be had; the message says what to do."""


def build_classifier(
    classes: int, size: int, *, weights: str | None, dropout: float = 0.3
) -> keras.Model:
    """A classifier of crops.

    Parameters
    ----------
    classes : int
    size : int
        Side of a crop in pixels.
    weights : str or None
        Path of a weights file, ``imagenet`` to download them, or None for random
        weights, which is of use for tests only.
    dropout : float

    Returns
    -------
    keras.Model
        From (N, size, size, 3) in -1 to 1 to ``logits`` (N, classes); what goes into its
        layer ``pooled`` is the last feature map.

    Raises
    ------
    WeightsError
        If the weights cannot be read or downloaded.
    """
    try:
        base = keras.applications.MobileNetV2(
            input_shape=(size, size, 3), include_top=False, weights=weights
        )
    except Exception as error:  # urllib, h5py and Keras each raise their own kinds
        raise WeightsError(
            f"The starting weights {weights!r} cannot be loaded ({error}). Give the path of "
            "a weights file of MobileNetV2 without its top, or 'imagenet' where there is "
            "internet access."
        ) from error
    first_trained = [layer.name for layer in base.layers].index(FIRST_TRAINED)
    for position, layer in enumerate(base.layers):
        layer.trainable = weights is None or position >= first_trained
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(base.output)
    dropped = keras.layers.Dropout(dropout, name="dropout")(pooled)
    logits = keras.layers.Dense(classes, name="logits")(dropped)
    return keras.Model(base.input, logits, name="white_cells")


def feature_map(model: keras.Model) -> keras.Model:
    """The same network up to its last feature map: (N, h, w, D)."""
    return keras.Model(model.input, model.get_layer("pooled").input)


def pooled_features(model: keras.Model) -> keras.Model:
    """The same network up to what the dense layer sees: (N, D)."""
    return keras.Model(model.input, model.get_layer("pooled").output)
