"""Figures of a classifier from `(y_true, y_prob)`."""

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score


def classification_metrics(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str]
) -> dict:
    """Measure predictions; the predicted class is the most probable one.

    Balanced accuracy, macro F1 and macro ROC AUC are means over the classes that occur in
    `y_true`. A figure that is not defined is None: recall, F1 and ROC AUC of a class without
    images, precision of a class never predicted, ROC AUC where there is only one class.

    Args:
        y_true: int `[images]`, places in `class_names`.
        y_prob: float `[images, classes]`, rows that sum to 1.
        class_names: of the columns.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_f1`, `macro_roc_auc` (one against the rest) as
        floats in [0, 1]; `images`, their number; and `per_class`, a dict from class name to
        `precision`, `recall`, `f1`, `roc_auc`, `support`.

    Raises:
        ValueError: there are no images, or the shapes disagree.
    """
    if len(y_true) == 0 or y_prob.shape != (len(y_true), len(class_names)):
        raise ValueError(
            f"expected at least one image and probabilities of shape (images, {len(class_names)}),"
            f" received {len(y_true)} labels and shape {y_prob.shape}"
        )
    y_true = np.asarray(y_true)
    y_pred = y_prob.argmax(axis=1)
    labels = np.arange(len(class_names))
    precision, recall, f1, support = precision_recall_fscore_support(
        y_true, y_pred, labels=labels, zero_division=0.0
    )
    per_class = {}
    for place, name in enumerate(class_names):
        occurs, predicted = support[place] > 0, bool((y_pred == place).any())
        both = occurs and support[place] < len(y_true)
        per_class[name] = {
            "precision": float(precision[place]) if predicted else None,
            "recall": float(recall[place]) if occurs else None,
            "f1": float(f1[place]) if occurs else None,
            "roc_auc": float(roc_auc_score(y_true == place, y_prob[:, place])) if both else None,
            "support": int(support[place]),
        }
    return {
        "accuracy": float((y_pred == y_true).mean()),
        "balanced_accuracy": _mean_of(per_class, "recall"),
        "macro_f1": _mean_of(per_class, "f1"),
        "macro_roc_auc": _mean_of(per_class, "roc_auc"),
        "images": len(y_true),
        "per_class": per_class,
    }


def confusion_counts(y_true: np.ndarray, y_prob: np.ndarray, class_count: int) -> np.ndarray:
    """Count images by true class (rows) and most probable class (columns): int `[k, k]`."""
    counts = np.zeros((class_count, class_count), int)
    np.add.at(counts, (np.asarray(y_true), y_prob.argmax(axis=1)), 1)
    return counts


def _mean_of(per_class: dict, figure: str) -> float | None:
    values = [row[figure] for row in per_class.values() if row[figure] is not None]
    return float(np.mean(values)) if values else None
