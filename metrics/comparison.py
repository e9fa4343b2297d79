"""Two models on the same images: what differs between them, and by how much."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from metrics.classification import weighted_metrics
from metrics.intervals import confidence_intervals, optional
from metrics.markup import format_table
from metrics.numbers import (
    INTERVAL_LEVEL,
    format_count,
    format_difference,
    format_interval,
    format_number,
)
from metrics.prediction_table import DECIMALS
from support import InputError
from support.files import capitalize, csv_cell, list_names, one_line

_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_roc_auc": "macro ROC AUC",
    "melanoma_roc_auc": "melanoma ROC AUC",
}
# With fewer lesions that differ, the chi-squared distribution is no good approximation.
_FEWEST_DISCORDANT = 25
_EXACT, _APPROXIMATE = "exact binomial", "chi-squared with continuity correction"
_NAME_WIDTH = 60


@dataclass(frozen=True)
class OtherPredictions:
    """The predictions of another model.

    Attributes:
        name: of their file.
        rows: the row of `y_prob` by the name of the image, as a table has it.
        y_prob: float `[images, classes]`, in the order of the classes of this model.
    """

    name: str
    rows: Mapping[str, int]
    y_prob: np.ndarray


def read_predictions(
    path: str | os.PathLike,
    class_names: Sequence[str],
    labels: Mapping[str, str],
) -> OtherPredictions:
    """Read a table that `evaluate.py` wrote for another model.

    Args:
        path: the CSV file.
        class_names: of this model; the other one has to have the same, in any order.
        labels: the true class by image id, of the images of this evaluation.

    Raises:
        InputError: it is no such table, is of other classes, or has no image of this evaluation or
            another true class for one.
    """
    # Imported here as in `metrics.prediction_table`.
    import pandas as pd

    def refuse(expected: str, received: str) -> InputError:
        return InputError(one_line(f"{path}: expected {expected}, received {received}"))

    table_of = "the predictions.csv of another evaluation"
    try:
        # An image may be called NA.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = "no such file" if not Path(path).is_file() else f"no table ({error})"
        raise refuse(table_of, reason) from error
    columns = {f"prob_{name}": name for name in class_names}
    found = [name for name in table if name.startswith("prob_")]
    if "image" not in table or not found:
        raise refuse(table_of, f"the columns {list_names(table.columns, 8)}")
    if set(found) != set(columns):
        others = [name.removeprefix("prob_") for name in found]
        raise refuse(f"the classes {list_names(class_names)}", list_names(others))
    y_prob = table[list(columns)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    if not ((y_prob >= 0) & (y_prob <= 1)).all():
        raise refuse("probabilities in 0..1", "other values")
    if (repeated := table["image"][table["image"].duplicated()]).size:
        raise refuse("each image once", f"{repeated.iloc[0]} twice")
    rows = {name: row for row, name in enumerate(table["image"])}
    # As the table has it, where a name that looks like a formula is changed.
    known = {csv_cell(image): csv_cell(label) for image, label in labels.items()}
    common = [image for image in known if image in rows]
    if not common:
        raise refuse(
            f"images of this evaluation, such as {next(iter(known))}",
            f"{len(rows):,} others" + (f", such as {next(iter(rows))}" if rows else ""),
        )
    if "label" in table:
        truth = table["label"].tolist()
        if wrong := [image for image in common if truth[rows[image]] != known[image]]:
            raise refuse(
                f"the true classes of this evaluation, such as {known[wrong[0]]} of {wrong[0]}",
                f"{truth[rows[wrong[0]]]} ({len(wrong):,} of {len(common):,} differ)",
            )
    return OtherPredictions(os.fspath(path), rows, y_prob)


def comparison_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    image_ids: Sequence[str],
    other: OtherPredictions | None,
    melanoma: str | None,
    groups: Sequence,
) -> dict:
    """Measure how much better this model is than another, on the images that both predict.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`, of this model.
        class_names: names of the columns of `y_prob`.
        image_ids: the name of each image.
        other: the predictions of the other model; None without one.
        melanoma: the class of melanomas; None without one.
        groups: the lesion of each image.

    Returns:
        `other`, the name of its file; `images`, how many both predict, and `only_this` and
        `only_other`, how many one alone; under `metrics`, by metric, the value of `this`, of the
        `other`, their `difference` and its `interval`, 95 %, from a paired bootstrap over lesions;
        and `mcnemar`, from `mcnemar_test`. Empty without another model, or if no image of both was
        readable.
    """
    keys = [csv_cell(image) for image in image_ids] if other is not None else []
    chosen = np.array([i for i, key in enumerate(keys) if key in other.rows], int)
    if len(chosen) == 0:
        return {}
    rows = np.array([other.rows[keys[i]] for i in chosen])
    true, groups = np.asarray(y_true)[chosen], np.asarray(groups)[chosen]
    # Both as a table has them: rounding makes ties.
    pair = np.round(y_prob[chosen].astype(np.float64), DECIMALS), other.y_prob[rows]
    tasks = {} if melanoma is None else {"melanoma": (melanoma,)}
    names = [name for name in _METRICS if name != "melanoma_roc_auc" or tasks]

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        this, that = (weighted_metrics(true, p, class_names, tasks, weights) for p in pair)
        return {name: this[name] - that[name] for name in names}

    ones = np.ones((1, len(true)))
    this, that = (weighted_metrics(true, p, class_names, tasks, ones) for p in pair)
    intervals = confidence_intervals(weighted, groups)
    this_correct, other_correct = (p.argmax(axis=1) == true for p in pair)
    return {
        "other": other.name,
        "images": len(chosen),
        "only_this": len(keys) - len(chosen),
        "only_other": len(other.rows) - len(chosen),
        "metrics": {
            name: {
                "this": optional(this[name][0]),
                "other": optional(that[name][0]),
                "difference": optional(this[name][0] - that[name][0]),
                "interval": intervals[name],
            }
            for name in names
        },
        "mcnemar": mcnemar_test(*_count_better(this_correct, other_correct, groups)),
    }


def _count_better(this: np.ndarray, other: np.ndarray, groups: np.ndarray) -> tuple[int, int]:
    """Count the lesions of which a model predicts more images correctly than the other does."""
    _, lesions = np.unique(groups, return_inverse=True)
    more = np.bincount(lesions, weights=this.astype(int) - other.astype(int))
    return int((more > 0).sum()), int((more < 0).sum())


def mcnemar_test(this_better: int, other_better: int) -> dict:
    """Test whether two models are right equally often, from the lesions on which they differ.

    McNemar, *Psychometrika* 12 (1947): under the null hypothesis, either is better on half of them.
    The images of a lesion are not independent, so they count together. Of fewer than 25 lesions,
    the p-value is exact.

    Args:
        this_better: number of lesions of which this model predicts more images correctly.
        other_better: that of the other model.

    Returns:
        `this_better`, `other_better`, `p_value` (two-sided), and the `method`.
    """
    count = this_better + other_better
    if count < _FEWEST_DISCORDANT:
        tail = sum(math.comb(count, k) for k in range(min(this_better, other_better) + 1))
        p_value, method = min(1.0, 2 * tail / 2**count), _EXACT
    else:
        statistic = max(abs(this_better - other_better) - 1, 0) ** 2 / count
        p_value, method = math.erfc(math.sqrt(statistic / 2)), _APPROXIMATE
    return {
        "this_better": this_better,
        "other_better": other_better,
        "p_value": p_value,
        "method": method,
    }


def format_comparison_lines(comparison: Mapping) -> list[str]:
    """Return the lines of the table that `evaluate.py` prints.

    Args:
        comparison: from `comparison_metrics`, not empty.
    """
    name = one_line(comparison["other"])
    name = name if len(name) <= _NAME_WIDTH else f"…{name[1 - _NAME_WIDTH :]}"
    lines = [
        f"compared with {name}, {format_count(comparison['images'])} images of both"
        f"{_count_others(comparison)}",
        f"{'':<22}{'this':>8}{'other':>8}{'difference':>12}   {INTERVAL_LEVEL} CI",
    ]
    for key, row in comparison["metrics"].items():
        lines.append(
            f"{_METRICS[key]:<22}{format_number(row['this']):>8}{format_number(row['other']):>8}"
            f"{format_difference(row['difference']):>12}   {format_interval(row['interval'])}"
        )
    result, counts = _describe_test(comparison["mcnemar"])
    return [*lines, result, f"({counts})"]


def format_comparison_section(comparison: Mapping) -> str:
    """Return the section of the report as HTML.

    Args:
        comparison: from `comparison_metrics`, not empty.
    """
    rows = [
        [
            capitalize(_METRICS[key]),
            format_number(row["this"]),
            format_number(row["other"]),
            f"{format_difference(row['difference'])}"
            f"<small>{format_interval(row['interval'])}</small>",
        ]
        for key, row in comparison["metrics"].items()
    ]
    return (
        f"<p>The other model is that of {escape(one_line(comparison['other']))}. Both are measured "
        f"on the {format_count(comparison['images'])} images that both predict"
        f"{_count_others(comparison)}. The difference is this model less the other; its "
        "interval is from a paired bootstrap, in which both have the same resamples of lesions.</p>"
        + format_table(["Metric", "This model", "Other model", "Difference"], rows)
        + f"<p>{'; '.join(_describe_test(comparison['mcnemar']))}.</p>"
    )


def _count_others(comparison: Mapping) -> str:
    """Say how many images only one of the models has, to follow a clause; empty if none."""
    counts = {"this": comparison["only_this"], "the other": comparison["only_other"]}
    parts = [f"{format_count(count)} only of {name}" for name, count in counts.items() if count]
    return f" (not compared: {', '.join(parts)})" if parts else ""


def _describe_test(test: Mapping) -> list[str]:
    """Return the result of the test, and the counts that it is made of, as two clauses."""
    # Not as a comparison, whose sign would have to be escaped in HTML.
    p_value = (
        f"p = {format_number(test['p_value'])}" if test["p_value"] >= 0.001 else "p below 0.001"
    )
    counts = (
        f"of {format_count(test['this_better'])} lesions, this model predicts more images "
        f"correctly, of {format_count(test['other_better'])} the other"
    )
    return [f"McNemar's test ({test['method']}): {p_value}", counts]
