"""One temperature for a model's probabilities, and from which on they can be relied on."""

import numpy as np

_RANGE = (0.05, 20.0)


def fit_temperature(y_true: np.ndarray, y_prob: np.ndarray) -> float:
    """Return the temperature by which dividing the logits makes the labels most likely.

    Guo et al., *On Calibration of Modern Neural Networks* (2017), arXiv:1706.04599, section 4.2.
    The most probable class stays the same.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]` at temperature 1; their logarithms are logits.

    Returns:
        The temperature, within 0.05 to 20; above 1 the model was too sure.
    """
    logits = np.log(np.maximum(y_prob.astype(np.float64), 1e-30))
    truth = logits[np.arange(len(y_true)), y_true]

    def slope(beta: float) -> float:
        """Derivative of the negative log likelihood by 1 / temperature, which only rises."""
        scaled = beta * logits
        weight = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        return float(((weight * logits).sum(axis=1) - truth).mean())

    low, high = 1 / _RANGE[1], 1 / _RANGE[0]
    for _ in range(60):
        middle = (low * high) ** 0.5
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 1 / (low * high) ** 0.5


def at_temperature_one(y_prob: np.ndarray, temperature: float) -> np.ndarray:
    """Return the probabilities as they were before the temperature.

    Args:
        y_prob: float `[..., classes]`, made with the temperature.
        temperature: above 0.

    Returns:
        float64 of the same shape.
    """
    logits = temperature * np.log(np.maximum(y_prob.astype(np.float64), 1e-30))
    weight = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return weight / weight.sum(axis=-1, keepdims=True)


def fit_confidence_threshold(y_true: np.ndarray, y_prob: np.ndarray, *, accuracy: float) -> float:
    """Return the lowest confidence such that the answers given with it or more are mostly right.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]`.
        accuracy: share of right answers among those with at least this confidence, in (0, 1].

    Returns:
        The threshold, in 0..1; 1 where no confidence reaches the accuracy.
    """
    confidence = y_prob.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (y_prob.argmax(axis=1) == y_true)[order].cumsum()
    share = right / np.arange(1, len(right) + 1)
    confidence = confidence[order]
    # Of equal confidences either all are below the threshold or none.
    last = np.append(confidence[1:] < confidence[:-1], True)
    reached = np.flatnonzero(last & (share >= accuracy))
    return float(confidence[reached[-1]]) if len(reached) else 1.0
