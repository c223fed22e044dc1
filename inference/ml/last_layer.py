"""Fit the last layer on features of a frozen network, without TensorFlow."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from inference.ml.sidecar import Head


def fit_head(
    features: NDArray[np.floating],
    labels: NDArray[np.integer],
    weights: NDArray[np.floating] | None = None,
    *,
    strength: float = 0.1,
) -> Head:
    """Multinomial logistic regression with an L2 penalty.

    Parameters
    ----------
    features : array of shape (N, D)
    labels : integer array of shape (N,)
        Every class from 0 up to the largest must occur.
    weights : array of shape (N,), optional
        Of the cells, with mean 1.
    strength : float
        scikit-learn's C, the inverse of the penalty.
    """
    regression = LogisticRegression(C=strength, max_iter=200)
    with warnings.catch_warnings():
        # Near the optimum is good enough: the last digits are noise of few cells.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(np.asarray(features, np.float32), labels, sample_weight=weights)
    kernel, bias = regression.coef_.T, regression.intercept_
    if kernel.shape[1] == 1:  # scikit-learn keeps one column for two classes
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.hstack([-bias / 2, bias / 2])
    return Head(kernel.astype(np.float32), bias.astype(np.float32))
