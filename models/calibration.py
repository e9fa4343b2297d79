"""Calibration: a temperature for the probabilities, a threshold for the confidence."""

from __future__ import annotations

import numpy as np

_TEMPERATURES = (0.05, 20.0)


def fit_temperature(
    y_true: np.ndarray, y_prob: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Return the temperature that maximizes the likelihood of the labels.

    The logits are divided by it; the predicted classes stay the same. Guo et al., *On Calibration
    of Modern Neural Networks* (2017), arXiv:1706.04599, section 4.2.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]` at temperature 1; their logarithms serve as logits.
        weights: float `[images]`, how much each image counts; by default all the same.

    Returns:
        The temperature, in 0.05..20; above 1 if the model was overconfident.
    """
    logits = _log(y_prob)
    true_logits = logits[np.arange(len(y_true)), y_true]

    def slope(beta: float) -> float:
        """Return the derivative of the negative log-likelihood by 1 / temperature.

        It increases monotonically, so that bisection finds its zero.
        """
        slopes = (_softmax(beta * logits) * logits).sum(axis=1) - true_logits
        return float(np.average(slopes, weights=weights))

    low, high = 1 / _TEMPERATURES[1], 1 / _TEMPERATURES[0]
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** 0.5


def at_temperature_one(y_prob: np.ndarray, temperature: float) -> np.ndarray:
    """Undo a temperature.

    Args:
        y_prob: float `[..., classes]` at the temperature.
        temperature: above 0.

    Returns:
        Probabilities at temperature 1, float64 of the same shape.
    """
    return _softmax(temperature * _log(y_prob))


def apply_temperature(y_prob: np.ndarray, temperature: float) -> np.ndarray:
    """Apply a temperature.

    Args:
        y_prob: float `[..., classes]` at temperature 1.
        temperature: above 0.

    Returns:
        Probabilities at the temperature, float64 of the same shape.
    """
    return _softmax(_log(y_prob) / temperature)


def fit_confidence_threshold(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    *,
    accuracy: float,
    weights: np.ndarray | None = None,
) -> float:
    """Return the lowest threshold above which predictions reach an accuracy.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]`.
        accuracy: fraction of correct predictions among those with at least the confidence of the
            threshold, in (0, 1].
        weights: as for `fit_temperature`.

    Returns:
        The threshold, in 0..1; 1 if no confidence reaches the accuracy.
    """
    confidence = y_prob.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    weights = np.ones(len(order)) if weights is None else weights[order]
    correct = (y_prob.argmax(axis=1) == y_true)[order]
    fraction = (weights * correct).cumsum() / weights.cumsum()
    confidence = confidence[order]
    # Equal confidences are all on the same side of the threshold.
    is_last = np.append(confidence[1:] < confidence[:-1], True)
    reached = np.flatnonzero(is_last & (fraction >= accuracy))
    return float(confidence[reached[-1]]) if len(reached) else 1.0


def _log(y_prob: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(y_prob.astype(np.float64), 1e-30))


def _softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)
