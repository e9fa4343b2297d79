"""Ranking metrics of a score, for many weightings of the images at once.

A bootstrap resample is a weighting: how often each image was drawn. One pass over the sorted scores
therefore gives the metric for all resamples; with all weights 1 it is the metric itself.
"""

from __future__ import annotations

import numpy as np

from metrics.intervals import divide


def roc_auc(y_true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: how often a positive scores above a negative.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`; ties count one half.
        weights: float `[resamples, images]`, at least 0.

    Returns:
        float64 `[resamples]`, NaN where the positives or the negatives have no weight.
    """
    positive, negative = _by_descending_score(y_true, score, weights)
    above = np.cumsum(positive, axis=1) - positive / 2
    concordant = (negative * above).sum(axis=1)
    return divide(concordant, positive.sum(axis=1) * negative.sum(axis=1))


def sensitivity_at_specificity(
    y_true: np.ndarray, score: np.ndarray, weights: np.ndarray, specificity: float
) -> np.ndarray:
    """Return the highest sensitivity of any threshold with at least this specificity.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`; scores at or above the threshold are called positive.
        weights: float `[resamples, images]`, at least 0.
        specificity: in [0, 1].

    Returns:
        float64 `[resamples]`, NaN where the positives or the negatives have no weight.
    """
    positive, negative = _by_descending_score(y_true, score, weights)
    positives, negatives = positive.sum(axis=1), negative.sum(axis=1)
    true_positives, false_positives = np.cumsum(positive, axis=1), np.cumsum(negative, axis=1)
    # Weights are counts, so the tolerance absorbs rounding errors without admitting an image.
    allowed = (1 - specificity) * negatives[:, None] * (1 + 1e-9)
    best = np.where(false_positives <= allowed, true_positives, 0.0).max(axis=1)
    return np.where(negatives > 0, divide(best, positives), np.nan)


def _by_descending_score(
    y_true: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of positives and of negatives at each distinct score, highest first.

    Both are float64 `[resamples, scores]`.
    """
    order = np.argsort(-score, kind="stable")
    ranked, positive = score[order], np.asarray(y_true, bool)[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weights = np.asarray(weights, np.float64)[:, order]
    return (
        np.add.reduceat(weights * positive, starts, axis=1),
        np.add.reduceat(weights * ~positive, starts, axis=1),
    )
