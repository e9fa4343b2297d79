"""Which images are confused with which classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def confusion_counts(y_true: np.ndarray, y_prob: np.ndarray, class_count: int) -> np.ndarray:
    """Count images by true class (rows) and predicted class (columns).

    Args:
        y_true: int `[images]`.
        y_prob: float `[images, classes]`.
        class_count: number of classes.

    Returns:
        int `[classes, classes]`.
    """
    cells = np.asarray(y_true) * class_count + y_prob.argmax(axis=1)
    return np.bincount(cells, minlength=class_count**2).reshape(class_count, class_count)


def most_confident_errors(
    y_true: np.ndarray, y_prob: np.ndarray, groups: Sequence, *, limit: int = 12
) -> np.ndarray:
    """Find the misclassified images with the highest confidence, one per lesion.

    Args:
        y_true: int `[images]`.
        y_prob: float `[images, classes]`.
        groups: the lesion of each image.
        limit: largest number of images returned.

    Returns:
        int `[errors]`, indices of images, the most confident first.
    """
    order = np.argsort(-y_prob.max(axis=1), kind="stable")
    wrong = order[(y_prob.argmax(axis=1) != y_true)[order]]
    _, first = np.unique(np.asarray(groups)[wrong], return_index=True)
    return wrong[np.sort(first)[:limit]]
