"""Figures of a score that ranks images, under many weightings of the images at once.

A bootstrap resample is a weighting: how often each image was drawn. So one pass over the sorted
scores gives the figure of all resamples, and with weights of one the figure itself.
"""

import numpy as np


def roc_auc(y_true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: how often a positive scores above a negative.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`; ties count one half.
        weights: float `[weightings, images]`, at least 0.

    Returns:
        float64 `[weightings]`, NaN where positives or negatives have no weight.
    """
    positive, negative = _by_descending_score(y_true, score, weights)
    above = np.cumsum(positive, axis=1) - positive / 2
    won = (negative * above).sum(axis=1)
    return _divide(won, positive.sum(axis=1) * negative.sum(axis=1))


def sensitivity_at_specificity(
    y_true: np.ndarray, score: np.ndarray, weights: np.ndarray, specificity: float
) -> np.ndarray:
    """Return the highest sensitivity of a threshold with at least this specificity.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`; an image is called positive from the threshold upwards.
        weights: float `[weightings, images]`, at least 0.
        specificity: in [0, 1].

    Returns:
        float64 `[weightings]`, NaN where positives or negatives have no weight.
    """
    positive, negative = _by_descending_score(y_true, score, weights)
    positives, negatives = positive.sum(axis=1), negative.sum(axis=1)
    called, wrongly = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    # Weights are counts: half a unit of the last digit is no image.
    allowed = (1 - specificity) * negatives[:, None] * (1 + 1e-9)
    best = np.where(wrongly <= allowed, called, 0.0).max(axis=1)
    return np.where(negatives > 0, _divide(best, positives), np.nan)


def average_precision(y_true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the mean precision over the recalls, `sklearn.metrics.average_precision_score`.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`.
        weights: float `[weightings, images]`, at least 0.

    Returns:
        float64 `[weightings]`, NaN where positives have no weight.
    """
    positive, negative = _by_descending_score(y_true, score, weights)
    called = np.cumsum(positive, axis=1)
    precision = np.divide(
        called, called + np.cumsum(negative, axis=1), out=np.zeros_like(called), where=called > 0
    )
    return _divide((positive * precision).sum(axis=1), positive.sum(axis=1))


def _by_descending_score(
    y_true: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of positives and of negatives at each score that occurs, from the highest:
    two float64 `[weightings, scores]`."""
    order = np.argsort(-score, kind="stable")
    ranked, positive = score[order], np.asarray(y_true, bool)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weights = np.asarray(weights, np.float64)[:, order]
    return (
        np.add.reduceat(weights * positive, starts, axis=1),
        np.add.reduceat(weights * ~positive, starts, axis=1),
    )


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
