"""Prediction sets: the classes among which the true one is in a given fraction of cases.

Split conformal prediction: Angelopoulos & Bates, *A Gentle Introduction to Conformal Prediction and
Distribution-Free Uncertainty Quantification* (2021), arXiv:2107.07511. A class belongs to the set
if its probability is high enough, which gives the smallest sets: Sadinle, Lei & Wasserman, *Least
Ambiguous Set-Valued Classifiers With Bounded Error Levels* (2019), arXiv:1609.00451.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# A class of fewer validation lesions has no threshold of its own.
FEWEST_LESIONS = 20


def fit_set_thresholds(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    lesion_ids: Sequence[str],
    *,
    coverage: float,
    weights: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return the lowest probability with which each class belongs to the set.

    A class has its own threshold, so that the sets of its images hold it as often as those of other
    classes hold theirs (Angelopoulos & Bates, section 4.2); one of few lesions has that of all
    classes together. The images of a lesion count as one case: Lee, Barber & Willett,
    *Distribution-free inference with hierarchical data* (2023), arXiv:2306.06342.

    Args:
        y_true: int `[images]`, of images that the model was not trained on.
        y_prob: float `[images, classes]`.
        lesion_ids: the lesion of each image.
        coverage: fraction of cases in which the set has to hold the true class, between 0 and 1.
        weights: float `[images]`, how much each image counts; by default all the same.

    Returns:
        float64 `[classes]` in 0..1; None if there are fewer than `FEWEST_LESIONS` lesions.
    """
    probability = y_prob[np.arange(len(y_true)), y_true].astype(np.float64)
    _, lesions = np.unique(np.asarray(lesion_ids, str), return_inverse=True)
    weights = np.ones(len(y_true)) if weights is None else np.asarray(weights, np.float64)

    def fit(rows: np.ndarray) -> float | None:
        _, index, counts = np.unique(lesions[rows], return_inverse=True, return_counts=True)
        if len(counts) < FEWEST_LESIONS:
            return None
        return _fit_threshold(
            probability[rows], weights[rows] / counts[index], len(counts), coverage
        )

    common = fit(np.ones(len(y_true), bool))
    if common is None:
        return None
    own = [fit(y_true == i) for i in range(y_prob.shape[1])]
    return np.array([common if threshold is None else threshold for threshold in own])


def find_sets(y_prob: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return which classes are in the set of each image; the predicted class always is.

    Args:
        y_prob: float `[images, classes]`.
        thresholds: float64 `[classes]`, from `fit_set_thresholds`.

    Returns:
        bool `[images, classes]`.
    """
    sets = y_prob.astype(np.float64) >= thresholds
    sets[np.arange(len(y_prob)), y_prob.argmax(axis=1)] = True
    return sets


def _fit_threshold(
    probability: np.ndarray, weights: np.ndarray, lesions: int, coverage: float
) -> float:
    """Return the highest probability that enough cases reach; 0 if these are too few cases.

    The case that is to be predicted counts as one more that may not reach it.
    """
    order = np.argsort(-probability, kind="stable")
    needed = coverage * (weights.sum() + weights.sum() / lesions)
    # The tolerance absorbs rounding errors of the sum.
    reached = np.flatnonzero(weights[order].cumsum() >= needed * (1 - 1e-9))
    return float(probability[order[reached[0]]]) if len(reached) else 0.0
