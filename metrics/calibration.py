"""How far probabilities can be believed: calibration error, proper scores, reliability."""

from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width.

    Attributes:
        edges: float `[bins + 1]`, from 0 to 1.
        images: int `[bins]`.
        confidence: mean of the highest probability in a bin, NaN where it is empty.
        accuracy: share of right predictions in a bin, NaN where it is empty.
    """

    edges: np.ndarray
    images: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(y_true: np.ndarray, y_prob: np.ndarray, bins: int = BINS) -> Reliability:
    """Sort predictions into bins by their confidence.

    Args:
        y_true: int `[images]`.
        y_prob: float `[images, classes]`, rows that sum to 1.
        bins: of equal width; a confidence on an edge belongs to the bin below, as in Guo et al.
    """
    confidence = y_prob.max(axis=1).astype(np.float64)
    right = y_prob.argmax(axis=1) == y_true
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        return Reliability(
            edges=edges,
            images=images,
            confidence=np.bincount(place, confidence, minlength=bins) / images,
            accuracy=np.bincount(place, right, minlength=bins) / images,
        )


def calibration_metrics(y_true: np.ndarray, y_prob: np.ndarray) -> dict[str, float]:
    """Measure how far probabilities can be believed.

    Args:
        y_true: int `[images]`, at least one.
        y_prob: float `[images, classes]`, rows that sum to 1.

    Returns:
        `expected_calibration_error`: mean distance of confidence and accuracy over 15 bins, by
        images (Guo et al., *On Calibration of Modern Neural Networks* (2017), arXiv:1706.04599,
        equation 3). `brier_score`: mean squared distance of probabilities and truth, summed over
        the classes, 0 to 2 (Brier, *Monthly Weather Review* 78 (1950)).
        `negative_log_likelihood`: mean of minus the natural logarithm of the true class's
        probability.
    """
    bins = reliability(y_true, y_prob)
    used = bins.images > 0
    distance = np.abs(bins.accuracy[used] - bins.confidence[used])
    truth = np.eye(y_prob.shape[1])[y_true]
    of_truth = y_prob[np.arange(len(y_true)), y_true].astype(np.float64)
    return {
        "expected_calibration_error": float((bins.images[used] * distance).sum() / len(y_true)),
        "brier_score": float(((y_prob - truth) ** 2).sum(axis=1).mean()),
        # Float32 probabilities end near 1e-38.
        "negative_log_likelihood": float(-np.log(np.maximum(of_truth, 1e-30)).mean()),
    }
