"""Calibration of probabilities: reliability diagram, calibration error, proper scoring rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy in bins of equal width.

    Attributes:
        edges: float `[bins + 1]`, from 0 to 1.
        counts: int `[bins]`, number of images.
        confidence: float `[bins]`, mean of the highest probability, NaN in an empty bin.
        accuracy: float `[bins]`, fraction of correct predictions, NaN in an empty bin.
    """

    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray

    @property
    def expected_calibration_error(self) -> float:
        """Mean gap between confidence and accuracy, weighted by the images of each bin.

        Guo et al., *On Calibration of Modern Neural Networks* (2017), arXiv:1706.04599, equation 3.
        """
        used = self.counts > 0
        gap = np.abs(self.accuracy[used] - self.confidence[used])
        return float((self.counts[used] * gap).sum() / self.counts.sum())


def reliability(y_true: np.ndarray, y_prob: np.ndarray, bins: int = BINS) -> Reliability:
    """Bin predictions by their confidence.

    Args:
        y_true: int `[images]`.
        y_prob: float `[images, classes]`, rows that sum to 1.
        bins: number of bins; a confidence on an edge belongs to the lower bin, as in Guo et al.

    Returns:
        The bins.
    """
    confidence = y_prob.max(axis=1).astype(np.float64)
    correct = y_prob.argmax(axis=1) == y_true
    edges = np.linspace(0, 1, bins + 1)
    indices = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    counts = np.bincount(indices, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=edges,
            counts=counts,
            confidence=np.bincount(indices, confidence, minlength=bins) / counts,
            accuracy=np.bincount(indices, correct, minlength=bins) / counts,
        )


def calibration_metrics(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, float]:
    """Measure how well probabilities are calibrated.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]`, rows that sum to 1.

    Returns:
        `expected_calibration_error`, with 15 bins, see `Reliability`. `brier_score`: squared
        distance between the probabilities and the one-hot label, summed over the classes, mean over
        the images, 0 to 2 (Brier, *Monthly Weather Review* 78 (1950)).
        `negative_log_likelihood`: mean negative natural logarithm of the true class's probability.
    """
    one_hot = np.eye(y_prob.shape[1])[y_true]
    of_true_class = y_prob[np.arange(len(y_true)), y_true].astype(np.float64)
    return {
        "expected_calibration_error": reliability(y_true, y_prob).expected_calibration_error,
        "brier_score": float(((y_prob - one_hot) ** 2).sum(axis=1).mean()),
        # Float32 probabilities underflow near 1e-38.
        "negative_log_likelihood": float(-np.log(np.maximum(of_true_class, 1e-30)).mean()),
    }


def class_prevalence(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Compare the true prevalence of each class with the predicted one.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.

    Returns:
        By class `true` (fraction of the images), `mean_probability`, and `predicted` (fraction of
        the images for which it is the most probable class).
    """
    y_pred = y_prob.argmax(axis=1)
    return {
        name: {
            "true": float((y_true == i).mean()),
            "mean_probability": float(y_prob[:, i].mean()),
            "predicted": float((y_pred == i).mean()),
        }
        for i, name in enumerate(class_names)
    }
