"""How the diagnoses were confirmed, which goes with the class: metrics of histopathology alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.classification import classification_metrics
from metrics.markup import format_row, format_table, with_interval
from metrics.numbers import format_count, format_percent

# Of the metrics of all images, those that are given for histology alone, and what to call them.
_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "macro_roc_auc": "Macro ROC AUC",
    "malignant_roc_auc": "ROC AUC, malignant vs. benign",
    "melanoma_roc_auc": "ROC AUC, melanoma vs. all others",
}


def histology_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    histology: Sequence[bool],
    binary_tasks: Mapping[str, Sequence[str]],
    groups: Sequence,
) -> dict:
    """Measure predictions for the images whose diagnosis was confirmed by histopathology.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        histology: whether the diagnosis of each image was confirmed so; empty if unknown.
        binary_tasks: as for `metrics.classification.classification_metrics`.
        groups: the lesion of each image.

    Returns:
        `confirmed`: the fraction of such images of each class that occurs, and with the task
        `malignant` of `malignant` and `benign` images, None without any; `images`, their number;
        `accuracy`, `balanced_accuracy`, `macro_roc_auc`, and `<task>_roc_auc` of each binary task;
        and 95 % `intervals` of these. Empty if all images are confirmed so, or none.
    """
    y_true, confirmed = np.asarray(y_true), np.asarray(histology, bool)
    if len(confirmed) == 0 or confirmed.all() or not confirmed.any():
        return {}
    parts = {class_names[i]: y_true == i for i in np.unique(y_true)}
    found = {"per_class": {name: float(confirmed[rows].mean()) for name, rows in parts.items()}}
    if "malignant" in binary_tasks:
        is_malignant = np.isin(class_names, list(binary_tasks["malignant"]))[y_true]
        for name, rows in (("malignant", is_malignant), ("benign", ~is_malignant)):
            found[name] = float(confirmed[rows].mean()) if rows.any() else None
    rows = np.flatnonzero(confirmed)
    metrics = classification_metrics(
        y_true[rows],
        y_prob[rows],
        class_names,
        binary_tasks=dict(binary_tasks),
        groups=np.asarray(groups)[rows],
    )
    values = metrics | {f"{task}_roc_auc": metrics[task]["roc_auc"] for task in binary_tasks}
    keys = [key for key in _METRICS if key in values]
    return {
        "confirmed": found,
        "images": len(rows),
        **{key: values[key] for key in keys},
        "intervals": {key: metrics["intervals"][key] for key in keys},
    }


def format_histology_section(metrics: Mapping, histology: Mapping) -> str:
    """Return what the report says about it as HTML; empty if it was not measured.

    Args:
        metrics: of all images.
        histology: from `histology_metrics`.
    """
    if not histology:
        return ""
    confirmed, fractions = histology["confirmed"], ""
    if confirmed.get("malignant") is not None and confirmed["benign"] is not None:
        fractions = (
            f": {format_percent(confirmed['malignant'])} of the malignant and "
            f"{format_percent(confirmed['benign'])} of the benign images here"
        )
    tasks = [task for task in ("malignant", "melanoma") if task in metrics]
    everything = {**metrics, **{f"{task}_roc_auc": metrics[task]["roc_auc"] for task in tasks}}
    rows = [
        format_row(
            [
                label,
                with_interval(everything[key], metrics["intervals"].get(key)),
                with_interval(histology[key], histology["intervals"][key]),
            ]
        )
        for key, label in _METRICS.items()
        if key in histology
    ]
    heads = ["Metric", f"All {format_count(metrics['images'])} images"]
    heads.append(f"{format_count(histology['images'])} images with histopathology")
    return (
        "<p>How a diagnosis was confirmed goes with the class. Histopathology confirms what looked "
        f"suspicious enough to be excised{fractions}. So the rows of this subgroup differ in their "
        "classes, and a lesion that was only followed up is often an easier one. These are the "
        "metrics of histopathology alone:</p>" + format_table(heads, rows)
    )
