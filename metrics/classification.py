"""Classification metrics from `(y_true, y_prob)`.

Metrics with a confidence interval are computed for weightings of the images: all weights 1 give the
metric itself, the counts of a bootstrap resample give one draw of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import average_precision_score

from metrics.intervals import confidence_intervals, divide, optional, widen_intervals
from metrics.ranking import roc_auc, sensitivity_at_specificity

SPECIFICITIES = (0.80, 0.90, 0.95)
# What summaries show, and what they call it.
SUMMARY_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC AUC",
}
# Below this many images, metrics of a subgroup are too uncertain to be shown without a warning.
SMALL_SUBGROUP = 30
# Below this many malignant images, the same holds for the fraction of them that is found.
FEWEST_POSITIVES = 10


def classification_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    binary_tasks: dict[str, Sequence[str]] | None = None,
    groups: Sequence | None = None,
) -> dict:
    """Measure predictions; the predicted class is the most probable one.

    Balanced accuracy, macro F1 and macro ROC AUC are means over the classes that occur in
    `y_true`. Undefined metrics are None: recall, F1, ROC AUC and average precision of a class
    without images, precision of a class that is never predicted, ROC AUC if there is one class
    only.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`, rows that sum to 1.
        class_names: names of the columns of `y_prob`.
        binary_tasks: the positive classes of each binary task, by the name of the task, such as
            malignant versus benign. The score is the sum of the probabilities of these classes.
        groups: the lesion of each image; with it, intervals that resample lesions.

    Returns:
        `accuracy`, `balanced_accuracy`, `macro_f1`, `macro_roc_auc` (one-vs-rest) in [0, 1];
        `majority_class`, the most frequent class, and `majority_fraction`, the accuracy of always
        predicting it; `images`, their number; `per_class`, a dict from class name to `precision`,
        `recall`, `f1`, `roc_auc`, `average_precision`, `support`; under the name of each binary
        task its `roc_auc` and `sensitivity_at_specificity`; and with `groups`, `intervals`: 95%
        confidence intervals by metric, also in `per_class`, of the recall; see
        `fraction_interval`.

    Raises:
        ValueError: there are no images, or the shapes disagree.
    """
    y_true = np.asarray(y_true)
    if len(y_true) == 0 or y_prob.shape != (len(y_true), len(class_names)):
        raise ValueError(
            f"expected at least one image and probabilities of shape (images, {len(class_names)}),"
            f" received {len(y_true)} labels and shape {y_prob.shape}"
        )
    binary_tasks = binary_tasks or {}

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return weighted_metrics(y_true, y_prob, class_names, binary_tasks, weights)

    values = _unweighted(weighted, len(y_true))
    per_class = _per_class(y_true, y_prob, class_names, groups)
    support = [row["support"] for row in per_class.values()]
    metrics = {
        "accuracy": values["accuracy"],
        "balanced_accuracy": values["balanced_accuracy"],
        "macro_f1": values["macro_f1"],
        "macro_roc_auc": values["macro_roc_auc"],
        "majority_class": class_names[int(np.argmax(support))],
        "majority_fraction": max(support) / len(y_true),
        "images": len(y_true),
        "per_class": per_class,
    }
    for task in binary_tasks:
        at = {f"{value:.2f}": values[sensitivity_key(task, value)] for value in SPECIFICITIES}
        metrics[task] = {"roc_auc": values[f"{task}_roc_auc"], "sensitivity_at_specificity": at}
    if groups is not None:
        counted = _counted_lesions(y_true, class_names, binary_tasks, groups)
        intervals = confidence_intervals(weighted, groups)
        metrics["intervals"] = widen_intervals(values, intervals, counted)
    return metrics


def _counted_lesions(
    y_true: np.ndarray,
    class_names: Sequence[str],
    binary_tasks: dict[str, Sequence[str]],
    groups: Sequence,
) -> dict[str, Sequence]:
    """Return the lesions of the images that count in each metric that is a fraction of images."""
    counted = {"accuracy": groups}
    for task, positive in binary_tasks.items():
        lesions = np.asarray(groups)[np.isin(class_names, list(positive))[y_true]]
        counted |= {sensitivity_key(task, value): lesions for value in SPECIFICITIES}
    return counted


def sensitivity_key(task: str, specificity: float) -> str:
    """Return the key of a sensitivity in `intervals`."""
    return f"{task}_sensitivity_at_{specificity:.2f}"


def subgroup_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    malignant: Sequence[str],
    columns: dict[str, Sequence[str]],
    groups: Sequence,
) -> dict[str, dict[str, dict]]:
    """Measure predictions in subgroups of the images.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        malignant: the malignant classes; empty if unknown.
        columns: by name, a value for each image; images of one value form a subgroup.
        groups: the lesion of each image.

    Returns:
        By column and value `images`, `malignant_images`, `small` (fewer than `SMALL_SUBGROUP`
        images), `accuracy`, `balanced_accuracy`, `malignant_sensitivity` (fraction of the malignant
        images whose predicted class is malignant, whichever it is), and `intervals` of these three;
        see `fraction_interval`. Undefined metrics are None. Without
        `malignant_images` and `malignant_sensitivity` if the malignant classes are unknown.
    """
    y_true, y_pred, groups = np.asarray(y_true), y_prob.argmax(axis=1), np.asarray(groups)
    is_malignant = np.isin(class_names, list(malignant))

    def measure(rows: np.ndarray) -> dict:
        true, predicted = y_true[rows], y_pred[rows]

        def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
            sums = _class_sums(true, predicted, len(class_names), weights)
            values = {
                "accuracy": _accuracy(sums),
                "balanced_accuracy": _balanced_accuracy(sums, np.unique(true)),
            }
            if malignant:
                positives = weights[:, is_malignant[true]]
                detected = positives[:, is_malignant[predicted[is_malignant[true]]]]
                values["malignant_sensitivity"] = divide(
                    detected.sum(axis=1), positives.sum(axis=1)
                )
            return values

        counts = {"malignant_images": int(is_malignant[true].sum())} if malignant else {}
        values = _unweighted(weighted, len(true))
        intervals = confidence_intervals(weighted, groups[rows])
        lesions = groups[rows]
        counted = {"accuracy": lesions, "malignant_sensitivity": lesions[is_malignant[true]]}
        return {
            "images": len(true),
            **counts,
            "small": len(true) < SMALL_SUBGROUP,
            **values,
            "intervals": widen_intervals(values, intervals, counted),
        }

    subgroups = {}
    for column, values in columns.items():
        values = np.asarray(values, dtype=str)
        subgroups[column] = {value: measure(values == value) for value in sorted(set(values))}
    return subgroups


def weighted_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    binary_tasks: dict[str, Sequence[str]],
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute all metrics with an interval, for many weightings of the images at once.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        binary_tasks: as for `classification_metrics`.
        weights: float `[resamples, images]`, at least 0.

    Returns:
        By metric, as the `intervals` of `classification_metrics` name them, float64 `[resamples]`,
        NaN where undefined.
    """
    sums = _class_sums(y_true, y_prob.argmax(axis=1), len(class_names), weights)
    areas = [roc_auc(y_true == i, y_prob[:, i], weights) for i in range(len(class_names))]
    values = {
        "accuracy": _accuracy(sums),
        "balanced_accuracy": _balanced_accuracy(sums, np.unique(y_true)),
        "macro_f1": _mean_defined(_f1(sums)),
        "macro_roc_auc": _mean_defined(np.stack(areas, axis=1)),
    }
    for task, positive_classes in binary_tasks.items():
        selected = np.isin(class_names, list(positive_classes))
        positive, score = selected[y_true], y_prob[:, selected].sum(axis=1)
        values[f"{task}_roc_auc"] = roc_auc(positive, score, weights)
        for specificity in SPECIFICITIES:
            values[sensitivity_key(task, specificity)] = sensitivity_at_specificity(
                positive, score, weights, specificity
            )
    return values


def _unweighted(compute_metrics, image_count: int) -> dict[str, float | None]:
    values = compute_metrics(np.ones((1, image_count)))
    return {name: optional(value[0]) for name, value in values.items()}


def _per_class(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], groups: Sequence | None
) -> dict:
    ones = np.ones((1, len(y_true)))
    sums = _class_sums(y_true, y_prob.argmax(axis=1), len(class_names), ones)
    recall, f1 = _recall(sums)[0], _f1(sums)[0]
    precision = divide(sums.correct, sums.predicted)[0]
    rows = {}
    for i, name in enumerate(class_names):
        positive, score = y_true == i, y_prob[:, i]
        # Without positives scikit-learn returns 0 and warns.
        average_precision = average_precision_score(positive, score) if positive.any() else np.nan
        rows[name] = {
            "precision": optional(precision[i]),
            "recall": optional(recall[i]),
            "f1": optional(f1[i]),
            "roc_auc": optional(roc_auc(positive, score, ones)[0]),
            "average_precision": optional(average_precision),
            "support": int(positive.sum()),
        }
    if groups is not None:
        intervals = _recall_intervals(y_true, y_prob.argmax(axis=1), class_names, groups)
        for name, interval in intervals.items():
            rows[name]["intervals"] = {"recall": interval}
    return rows


def _recall_intervals(
    y_true: np.ndarray, y_pred: np.ndarray, class_names: Sequence[str], groups: Sequence
) -> dict[str, tuple[float, float] | None]:
    """Return the interval of the recall of each class, see `fraction_interval`."""

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        recall = _recall(_class_sums(y_true, y_pred, len(class_names), weights))
        return dict(zip(class_names, recall.T, strict=True))

    rows_of = {class_names[i]: y_true == i for i in np.unique(y_true)}
    recalls = {name: float((y_pred[rows] == y_true[rows]).mean()) for name, rows in rows_of.items()}
    lesions = {name: np.asarray(groups)[rows] for name, rows in rows_of.items()}
    return widen_intervals(recalls, confidence_intervals(weighted, groups), lesions)


@dataclass(frozen=True)
class _Sums:
    """Sums of weights by class, float64 `[resamples, classes]`.

    With many classes, whole confusion matrices of all resamples would take gigabytes.
    """

    true: np.ndarray
    predicted: np.ndarray
    correct: np.ndarray


def _class_sums(
    y_true: np.ndarray, y_pred: np.ndarray, class_count: int, weights: np.ndarray
) -> _Sums:
    correct = y_true == y_pred
    return _Sums(
        _sum_by(y_true, class_count, weights),
        _sum_by(y_pred, class_count, weights),
        _sum_by(y_true[correct], class_count, weights[:, correct]),
    )


def _sum_by(indices: np.ndarray, count: int, weights: np.ndarray) -> np.ndarray:
    """Sum weights by an index of each image: float64 `[resamples, count]`."""
    order = np.argsort(indices, kind="stable")
    used, starts = np.unique(indices[order], return_index=True)
    sums = np.zeros((len(weights), count))
    sums[:, used] = np.add.reduceat(weights[:, order], starts, axis=1, dtype=np.float64)
    return sums


def _accuracy(sums: _Sums) -> np.ndarray:
    return divide(sums.correct.sum(axis=1), sums.true.sum(axis=1))


def _balanced_accuracy(sums: _Sums, classes: np.ndarray) -> np.ndarray:
    """Return the mean recall of classes, `[resamples]`, NaN for a resample that lacks one.

    A mean over fewer classes would be another metric.
    """
    return _recall(sums)[:, classes].mean(axis=1)


def _recall(sums: _Sums) -> np.ndarray:
    return divide(sums.correct, sums.true)


def _f1(sums: _Sums) -> np.ndarray:
    """Return F1 by class, NaN for a class that does not occur."""
    f1 = divide(2 * sums.correct, sums.true + sums.predicted)
    return np.where(sums.true > 0, f1, np.nan)


def _mean_defined(values: np.ndarray) -> np.ndarray:
    """Return the mean over the classes, `[resamples, classes]`, in which a metric is defined."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1))
