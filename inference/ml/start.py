"""The network that a training starts from: of random or ImageNet's weights, or another model's."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import keras
import numpy as np

from inference.ml.bundle import KERAS_NAME, Bundle
from inference.ml.last_layer import neutral
from inference.ml.network import WeightsError, build_classifier, feature_map
from inference.ml.settings import Settings, fixed_by
from inference.ml.sidecar import Head


def starting_network(
    settings: Settings, classes: Sequence[str], start: Bundle | None, *, empty: bool = False
) -> keras.Model:
    """Build the network of a training, and fill it with what it starts from.

    Of a bundle's ``model.keras`` only the numbers are read, into a network that this program
    builds: nothing in it is run. Its last layer is not read at all, see `known_head`.

    Parameters
    ----------
    settings : Settings
    classes : sequence of str
    start : Bundle or None
        Of `settings.start`, checked.
    empty : bool
        Whether to leave it unfilled, as a checkpoint will.

    Raises
    ------
    WeightsError
        If the weights cannot be had, or the bundle is of another network.
    """
    if start:
        _check(settings, start)
    model = build_classifier(
        len(classes),
        settings.preprocessing.size,
        weights=None if empty else settings.weights,
        weights_follow=bool(start or (empty and settings.weights)),
        backbone=settings.backbone,
        width=settings.width,
        adapt_norm=settings.adapt_norm,
    )
    if start and not empty:
        fill(feature_map(model), start)
    return model


def known_head(start: Bundle, classes: Sequence[str]) -> Head:
    """What a bundle's last layer knows of some classes, by name.

    From ``head.npz``, which is what serves: an adapted bundle's ``model.keras`` is its parent's.
    A class that it does not know gets the mean of those that it does: no opinion.
    """
    head = Head.load(start.head_path)
    known = [start.classes.index(name) for name in classes if name in start.classes]
    if not known:  # it knows none of them, and so has no opinion on any
        return Head(
            np.zeros((len(head.kernel), len(classes)), np.float32),
            np.zeros(len(classes), np.float32),
        )
    wide = neutral(Head(head.kernel[:, known], head.bias[known]), len(classes))
    names = [name for name in classes if name in start.classes]
    names += [name for name in classes if name not in start.classes]
    order = [names.index(name) for name in classes]
    return Head(wide.kernel[:, order], wide.bias[order])


def fill(network: keras.Model, start: Bundle) -> None:
    """Read every number of a network up to its last feature map from a bundle's ``model.keras``.

    Raises
    ------
    WeightsError
        If it does not hold this network.
    """
    # Keras leaves those that it does not find as they were.
    network.set_weights([np.full_like(weights, np.nan) for weights in network.get_weights()])
    try:
        with warnings.catch_warnings(action="ignore"):
            network.load_weights(start.keras_path)
        if not all(np.isfinite(weights).all() for weights in network.get_weights()):
            raise ValueError("some of its numbers are missing")
    except Exception as error:  # zipfile, h5py and Keras each raise their own kinds
        raise WeightsError(
            f"{KERAS_NAME} of {start.version} does not hold the {start.card.network['backbone']} "
            f"that its card describes ({error}). Start from another model."
        ) from error


def _check(settings: Settings, start: Bundle) -> None:
    fixed, told = fixed_by(start.card), {"backbone": settings.backbone, "width": settings.width}
    if fixed != told:
        raise WeightsError(
            f"{start.version} is a {fixed['backbone']} of width {fixed['width']:g}: what starts "
            f"from it cannot be a {told['backbone']} of width {told['width']:g}."
        )
    if KERAS_NAME not in start.card.files:
        raise WeightsError(
            f"{start.version} holds no {KERAS_NAME} to go on training from. Start from another "
            "model, or from weights."
        )
