"""Metrics of a cross-validation: of each fold, their mean, and how far they spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.calibration import calibration_metrics
from metrics.classification import classification_metrics
from metrics.markup import format_table
from metrics.numbers import format_count, format_number
from support.files import capitalize

# Metrics of a fold, and what to call them.
FOLD_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_roc_auc": "macro ROC AUC",
    "negative_log_likelihood": "log loss",
}


def fold_metrics(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], folds: Sequence[int]
) -> dict:
    """Measure each fold of a cross-validation.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`, out of fold.
        class_names: names of the classes.
        folds: the fold of each image.

    Returns:
        `folds`: for each fold in ascending order, `images` and the metrics of `FOLD_METRICS`;
        `mean` and `standard_deviation` (with n - 1) of each metric over the folds that have it,
        None if there are too few. Empty without folds.
    """
    if not len(folds):
        return {}
    numbers = np.asarray(folds)
    found = []
    for number in np.unique(numbers):
        rows = numbers == number
        metrics = classification_metrics(y_true[rows], y_prob[rows], class_names)
        metrics |= calibration_metrics(y_true[rows], y_prob[rows])
        found.append({"images": int(rows.sum()), **{name: metrics[name] for name in FOLD_METRICS}})
    values = {name: [f[name] for f in found if f[name] is not None] for name in FOLD_METRICS}
    return {
        "folds": found,
        "mean": {name: float(np.mean(v)) if v else None for name, v in values.items()},
        "standard_deviation": {
            name: float(np.std(v, ddof=1)) if len(v) > 1 else None for name, v in values.items()
        },
    }


def fold_rows(metrics: Mapping) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the table of folds, for the terminal and the report.

    Args:
        metrics: from `fold_metrics`, not empty.
    """
    rows = [
        [
            str(number),
            format_count(fold["images"]),
            *(format_number(fold[name]) for name in FOLD_METRICS),
        ]
        for number, fold in enumerate(metrics["folds"])
    ]
    for key, label in (("mean", "mean"), ("standard_deviation", "std. dev.")):
        rows.append([label, "", *(format_number(metrics[key][name]) for name in FOLD_METRICS)])
    return ["fold", "images", *FOLD_METRICS.values()], rows


def format_fold_lines(metrics: Mapping) -> list[str]:
    """Return the lines of the table that `evaluate.py` prints; see `fold_rows`."""
    heads, rows = fold_rows(metrics)
    widths = [max(9, len(head) + 2) for head in heads]
    return [
        f"{row[0]:<{widths[0]}}"
        + "".join(f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in (heads, *rows)
    ]


def format_fold_section(metrics: Mapping) -> str:
    """Return the section of the report; see `fold_rows`."""
    heads, rows = fold_rows(metrics)
    return (
        "<p>Each image is predicted by the model that was trained on all other folds. All other "
        "sections count the predictions of all folds together.</p>"
        + format_table([*map(capitalize, heads)], rows)
    )
