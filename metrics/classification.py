"""Figures of a classifier from `(y_true, y_prob)`.

Every figure is computed under weightings of the images: with weights of one it is the figure
itself, with the counts of a bootstrap resample one draw of it.
"""

from collections.abc import Sequence

import numpy as np

from metrics.bootstrap import confidence_intervals
from metrics.ranking import average_precision, roc_auc, sensitivity_at_specificity

SPECIFICITIES = (0.80, 0.90, 0.95)
# Below this many images an interval is wide enough to need a warning.
SMALL_GROUP = 30


def classification_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    questions: dict[str, Sequence[str]] | None = None,
    groups: Sequence | None = None,
) -> dict:
    """Measure predictions; the predicted class is the most probable one.

    Balanced accuracy, macro F1 and macro ROC AUC are means over the classes that occur in
    `y_true`. A figure that is not defined is None: recall, F1, ROC AUC and average precision of a
    class without images, precision of a class never predicted, ROC AUC where there is only one
    class.

    Args:
        y_true: int `[images]`, places in `class_names`.
        y_prob: float `[images, classes]`, rows that sum to 1.
        class_names: of the columns.
        questions: further yes-or-no questions by name, such as malignant or not: the classes for
            which the answer is yes. Their score is the sum of the probabilities of these classes.
        groups: the lesion of each image; with it, intervals that resample lesions.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_f1`, `macro_roc_auc` (one against the rest) as
        floats in [0, 1]; `majority_share`, the accuracy of always answering the most frequent
        class, and `majority_class`; `images`, their number; `per_class`, a dict from class name
        to `precision`, `recall`, `f1`, `roc_auc`, `average_precision`, `support`; for each
        question its `roc_auc` and `sensitivity_at_specificity`; and with groups `intervals`, 95 %
        bootstrap intervals by the name of the figure.

    Raises:
        ValueError: there are no images, or the shapes disagree.
    """
    y_true = np.asarray(y_true)
    if len(y_true) == 0 or y_prob.shape != (len(y_true), len(class_names)):
        raise ValueError(
            f"expected at least one image and probabilities of shape (images, {len(class_names)}),"
            f" received {len(y_true)} labels and shape {y_prob.shape}"
        )
    questions = questions or {}

    def figures(weights: np.ndarray) -> dict[str, np.ndarray]:
        return _summary(y_true, y_prob, class_names, questions, weights)

    once = np.ones((1, len(y_true)))
    summary = {name: _plain(value[0]) for name, value in figures(once).items()}
    per_class = _per_class(y_true, y_prob, class_names)
    support = [row["support"] for row in per_class.values()]
    metrics = {
        name: summary[name]
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc")
    }
    metrics |= {
        "majority_class": class_names[int(np.argmax(support))],
        "majority_share": max(support) / len(y_true),
        "images": len(y_true),
        "per_class": per_class,
    }
    for question in questions:
        metrics[question] = {
            "roc_auc": summary[f"{question}_roc_auc"],
            "sensitivity_at_specificity": {
                f"{share:.2f}": summary[sensitivity_key(question, share)] for share in SPECIFICITIES
            },
        }
    if groups is not None:
        metrics["intervals"] = confidence_intervals(figures, groups)
    return metrics


def sensitivity_key(question: str, specificity: float) -> str:
    """Return the name under which an interval of a sensitivity stands."""
    return f"{question}_sensitivity_at_{specificity:.2f}"


def subgroup_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    malignant: Sequence[str],
    columns: dict[str, Sequence[str]],
    groups: Sequence,
) -> dict[str, dict[str, dict]]:
    """Measure predictions in parts of the images.

    Args:
        y_true: int `[images]`, places in `class_names`.
        y_prob: float `[images, classes]`.
        class_names: of the columns.
        malignant: the malignant ones among them.
        columns: by name, a value for each image; images of one value are a subgroup.
        groups: the lesion of each image.

    Returns:
        By column and value `images`, `malignant_images`, `accuracy`, `balanced_accuracy` and
        `malignant_sensitivity` (share of the malignant images whose most probable class is
        malignant, whichever it is), `intervals` of these three, and `small`, whether there are
        fewer than `SMALL_GROUP` images. What is not defined is None.
    """
    y_true, y_pred = np.asarray(y_true), y_prob.argmax(axis=1)
    bad = np.isin(class_names, list(malignant))
    groups = np.asarray(groups)
    result: dict[str, dict[str, dict]] = {}
    for column, values in columns.items():
        values = np.asarray(values, dtype=str)
        result[column] = {}
        for value in sorted(set(values)):
            rows = values == value
            true, predicted = y_true[rows], y_pred[rows]

            def figures(weights, true=true, predicted=predicted):
                confusion = _confusion(true, predicted, len(class_names), weights)
                found = confusion[:, bad][:, :, bad].sum(axis=(1, 2))
                return {
                    "accuracy": _accuracy(confusion),
                    "balanced_accuracy": _mean_defined(_recall(confusion)),
                    "malignant_sensitivity": _divide(found, confusion[:, bad].sum(axis=(1, 2))),
                }

            point = figures(np.ones((1, len(true))))
            result[column][value] = {
                "images": len(true),
                "malignant_images": int(bad[true].sum()),
                "small": len(true) < SMALL_GROUP,
                **{name: _plain(figure[0]) for name, figure in point.items()},
                "intervals": confidence_intervals(figures, groups[rows]),
            }
    return result


def confusion_counts(y_true: np.ndarray, y_prob: np.ndarray, class_count: int) -> np.ndarray:
    """Count images by true class (rows) and most probable class (columns): int `[k, k]`."""
    ones = np.ones((1, len(y_true)))
    return _confusion(np.asarray(y_true), y_prob.argmax(axis=1), class_count, ones)[0].astype(int)


def _summary(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    questions: dict[str, Sequence[str]],
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    confusion = _confusion(y_true, y_prob.argmax(axis=1), len(class_names), weights)
    areas = [roc_auc(y_true == k, y_prob[:, k], weights) for k in range(len(class_names))]
    figures = {
        "accuracy": _accuracy(confusion),
        "balanced_accuracy": _mean_defined(_recall(confusion)),
        "macro_f1": _mean_defined(_f1(confusion)),
        "macro_roc_auc": _mean_defined(np.stack(areas, axis=1)),
    }
    for question, names in questions.items():
        chosen = np.isin(class_names, list(names))
        positive, score = chosen[y_true], y_prob[:, chosen].sum(axis=1)
        figures[f"{question}_roc_auc"] = roc_auc(positive, score, weights)
        for share in SPECIFICITIES:
            figures[sensitivity_key(question, share)] = sensitivity_at_specificity(
                positive, score, weights, share
            )
    return figures


def _per_class(y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str]) -> dict:
    once = np.ones((1, len(y_true)))
    confusion = _confusion(y_true, y_prob.argmax(axis=1), len(class_names), once)
    recall, f1 = _recall(confusion)[0], _f1(confusion)[0]
    hits, called = np.diagonal(confusion[0]), confusion[0].sum(axis=0)
    precision = _divide(hits, called)
    rows = {}
    for place, name in enumerate(class_names):
        positive, score = y_true == place, y_prob[:, place]
        rows[name] = {
            "precision": _plain(precision[place]),
            "recall": _plain(recall[place]),
            "f1": _plain(f1[place]),
            "roc_auc": _plain(roc_auc(positive, score, once)[0]),
            "average_precision": _plain(average_precision(positive, score, once)[0]),
            "support": int(positive.sum()),
        }
    return rows


def _confusion(
    y_true: np.ndarray, y_pred: np.ndarray, class_count: int, weights: np.ndarray
) -> np.ndarray:
    """Sum weights by true class and predicted class: float64 `[weightings, true, predicted]`."""
    cell = y_true * class_count + y_pred
    order = np.argsort(cell, kind="stable")
    cells, starts = np.unique(cell[order], return_index=True)
    sums = np.zeros((len(weights), class_count * class_count))
    sums[:, cells] = np.add.reduceat(weights[:, order], starts, axis=1, dtype=np.float64)
    return sums.reshape(-1, class_count, class_count)


def _accuracy(confusion: np.ndarray) -> np.ndarray:
    return _divide(np.trace(confusion, axis1=1, axis2=2), confusion.sum(axis=(1, 2)))


def _recall(confusion: np.ndarray) -> np.ndarray:
    return _divide(np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2))


def _f1(confusion: np.ndarray) -> np.ndarray:
    """Return F1 by class, NaN for a class that does not occur."""
    true, called = confusion.sum(axis=2), confusion.sum(axis=1)
    f1 = _divide(2 * np.diagonal(confusion, axis1=1, axis2=2), true + called)
    return np.where(true > 0, f1, np.nan)


def _mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over classes, `[weightings, classes]`, of those that are defined."""
    defined = ~np.isnan(values)
    return _divide(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.asarray(above, np.float64), np.asarray(below, np.float64)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
