"""Operating points: thresholds that were fixed on validation images, and what they give on others.

A threshold that is read from the ROC curve of the test images is known only after the test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from metrics.intervals import (
    FEW_LESIONS,
    confidence_intervals,
    divide,
    optional,
    widen_intervals,
)
from metrics.markup import format_table, with_interval
from metrics.numbers import format_level, format_number
from support import InputError

TASKS = ("malignant", "melanoma")
# By name, what the validation images fix, and at which fraction: from the one that finds most.
POINTS = {
    f"{measure}_{fraction:.2f}": (measure, fraction)
    for measure, fractions in (("sensitivity", (0.95, 0.90)), ("specificity", (0.80, 0.90, 0.95)))
    for fraction in fractions
}
# Of fewer positive or negative images, one is more than the 5 % that a point at 95 % leaves.
FEWEST_IMAGES = 20
_HEADS = {"sensitivity": "Sensitivity", "specificity": "Specificity", "ppv": "PPV", "npv": "NPV"}
_AT_PREVALENCE = ("ppv_at_prevalence", "npv_at_prevalence")


def task_score(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], positive: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and score of a binary task.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        positive: the positive classes.

    Returns:
        bool `[images]`; and float64 `[images]` in 0..1, the summed probability of these classes.
    """
    is_positive = np.isin(class_names, list(positive))[np.asarray(y_true)]
    return is_positive, positive_score(y_prob, class_names, positive)


def positive_score(
    y_prob: np.ndarray, class_names: Sequence[str], positive: Sequence[str]
) -> np.ndarray:
    """Return the score of a binary task, float64 `[images]`; see `task_score`."""
    columns = np.isin(class_names, list(positive))
    return y_prob[:, columns].astype(np.float64).sum(axis=1).clip(0, 1)


def fit_thresholds(
    y_true: np.ndarray, score: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Return the threshold of each operating point; scores at or above it are called positive.

    At a specificity it is that of the lowest score that reaches it, at a sensitivity that of the
    highest: halfway to the next lower score, so that rounding errors, such as those of an export,
    change little.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`, in 0..1.
        weights: float `[images]`, how much each image counts; by default all the same.

    Returns:
        By the names in `POINTS`; a specificity that no score reaches is left out. Empty if fewer
        than `FEWEST_IMAGES` images are positive or negative.
    """
    y_true = np.asarray(y_true, bool)
    if min(y_true.sum(), (~y_true).sum()) < FEWEST_IMAGES:
        return {}
    weights = np.ones(len(score)) if weights is None else weights
    scores, index = np.unique(score, return_inverse=True)
    thresholds = (scores + np.r_[0, scores[:-1]]) / 2
    positive, negative = (
        np.bincount(index, weights * rows, minlength=len(scores)) for rows in (y_true, ~y_true)
    )
    # Of the positive images at or above each score, of the negative ones below it. The tolerance
    # absorbs rounding errors of the sums.
    reached = {
        "sensitivity": positive[::-1].cumsum()[::-1] / positive.sum() + 1e-9,
        "specificity": (negative.cumsum() - negative) / negative.sum() + 1e-9,
    }
    found = {}
    for name, (measure, fraction) in POINTS.items():
        enough = np.flatnonzero(reached[measure] >= fraction)
        if len(enough):
            found[name] = float(thresholds[enough[0 if measure == "specificity" else -1]])
    return found


def predictive_values(
    sensitivity: np.ndarray, specificity: np.ndarray, prevalence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return positive and negative predictive value at a prevalence, by Bayes' theorem.

    Altman & Bland, *Diagnostic tests 2: predictive values*, BMJ 309 (1994), 102.

    Args:
        sensitivity: float of any shape.
        specificity: float of the same shape.
        prevalence: fraction of positives, between 0 and 1.

    Returns:
        Two arrays of that shape, NaN where nothing is called positive, or negative.
    """
    true_positive, false_positive = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    true_negative, false_negative = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return (
        divide(true_positive, true_positive + false_positive),
        divide(true_negative, true_negative + false_negative),
    )


def operating_point_metrics(
    y_true: np.ndarray,
    score: np.ndarray,
    thresholds: Mapping[str, float],
    *,
    groups: Sequence,
    prevalence: float | None = None,
) -> dict[str, dict]:
    """Measure fixed thresholds.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`.
        thresholds: by the name of the operating point.
        groups: the lesion of each image.
        prevalence: fraction of positives at which predictive values are given as well.

    Returns:
        By operating point `threshold`, `sensitivity`, `specificity`, `ppv` and `npv`, None where
        undefined; with a prevalence `prevalence`, `ppv_at_prevalence` and `npv_at_prevalence`; and
        `intervals` of these, 95 %: by the bootstrap over lesions, of the first four see
        `fraction_interval`; None for those at a prevalence where they are 0 or 1.
    """
    y_true, groups = np.asarray(y_true, bool), np.asarray(groups)
    called = {name: score >= threshold for name, threshold in thresholds.items()}

    def weighted(weights: np.ndarray) -> dict[tuple[str, str], np.ndarray]:
        weights = weights.astype(np.float64)
        return {
            (name, key): values
            for name, positive in called.items()
            for key, values in _weighted_values(y_true, positive, weights, prevalence).items()
        }

    values = {key: float(value[0]) for key, value in weighted(np.ones((1, len(y_true)))).items()}
    intervals = confidence_intervals(weighted, groups)
    at = {} if prevalence is None else {"prevalence": prevalence}
    found: dict[str, dict] = {}
    for name, threshold in thresholds.items():
        counted = {"sensitivity": y_true, "specificity": ~y_true}
        counted |= {"ppv": called[name], "npv": ~called[name]}
        lesions = {key: groups[rows] for key, rows in counted.items()}
        own = {key: optional(value) for (point, key), value in values.items() if point == name}
        own_intervals = {key: intervals[name, key] for key in own}
        found[name] = {
            "threshold": threshold,
            **at,
            **own,
            "intervals": widen_intervals(own, own_intervals, lesions),
        }
    return found


def read_prevalence(texts: Sequence[str]) -> dict[str, float]:
    """Read prevalences, by task.

    Args:
        texts: such as `malignant=0.05`.

    Raises:
        InputError: a text is something else, or two name the same task.
    """
    found: dict[str, float] = {}
    for text in texts:
        task, _, number = text.partition("=")
        try:
            fraction = float(number)
        except ValueError:
            fraction = math.nan
        if task not in TASKS or task in found or not 0 < fraction < 1:
            raise InputError(
                f"expected each of {' and '.join(TASKS)} at most once, with a fraction between 0 "
                f"and 1, such as malignant=0.05, received {' '.join(texts)!r:.80}"
            )
        found[task] = fraction
    return found


def format_point(name: str) -> str:
    """Return the name of an operating point in words."""
    measure, _, fraction = name.partition("_")
    return f"{format_level(float(fraction))} {measure}"


def format_operating_lines(points: Mapping[str, Mapping[str, dict]]) -> list[str]:
    """Return the lines of the table that `evaluate.py` prints.

    Args:
        points: by task, from `operating_point_metrics`, at least one.
    """
    heads = "".join(f"{head:>13}" for head in _HEADS.values())
    lines = [f"{'threshold fixed on validation':<32}{heads}"]
    for task, rows in points.items():
        for name, row in rows.items():
            cells = "".join(f"{format_number(row[key]):>13}" for key in _HEADS)
            lines.append(f"{f'{task}, {format_point(name)}':<32}{cells}")
    return lines


def format_operating_section(
    points: Mapping[str, Mapping[str, dict]], labels: Mapping[str, str]
) -> str:
    """Return the section of the report as HTML.

    Args:
        points: by task, from `operating_point_metrics`; empty if the model has no thresholds.
        labels: of the tasks that are shown.
    """
    shown = {task: points[task] for task in labels if task in points}
    if not shown:
        return (
            "<p>Not measured: the model has no thresholds that were fixed on validation images.</p>"
        )
    has_prevalence = any("prevalence" in row for rows in shown.values() for row in rows.values())
    heads = ["Fixed on validation: threshold", *_HEADS.values()]
    keys = _HEADS
    if has_prevalence:
        heads += ["PPV, stated prevalence", "NPV, stated prevalence"]
        keys = (*_HEADS, *_AT_PREVALENCE)
    body = []
    for task, rows in shown.items():
        prevalence = next(iter(rows.values())).get("prevalence")
        stated = "" if prevalence is None else f", stated prevalence {format_level(prevalence)}"
        title = f"{escape(labels[task])}{stated}"
        body.append(f'<tr class="group"><td colspan="{len(heads)}">{title}</td></tr>')
        for name, row in rows.items():
            cells = [f"{format_point(name)}: {format_number(row['threshold'])}"]
            cells += [with_interval(row.get(key), row["intervals"].get(key)) for key in keys]
            body.append(cells)
    return (
        "<p>These thresholds of the score were fixed on validation images, at what the first "
        "column says, and are in the model file; the other columns are what they reach on the "
        "images of this report. PPV and NPV, the positive and negative predictive values, hold for "
        "the prevalence of these images"
        + (", the last two for the stated one" if has_prevalence else "")
        + f". Where a value is 0 or 1, or fewer than {FEW_LESIONS} lesions count, the interval "
        "reaches at least as far as Wilson's, with lesions counted instead of images.</p>"
        + format_table(heads, body, stacked=True)
    )


def _weighted_values(
    y_true: np.ndarray, called: np.ndarray, weights: np.ndarray, prevalence: float | None
) -> dict[str, np.ndarray]:
    """Return each value, `[resamples]`, for weights `[resamples, images]`."""
    true_positive, false_positive = weights @ (y_true & called), weights @ (~y_true & called)
    false_negative, true_negative = weights @ (y_true & ~called), weights @ (~y_true & ~called)
    values = {
        "sensitivity": divide(true_positive, true_positive + false_negative),
        "specificity": divide(true_negative, true_negative + false_positive),
        "ppv": divide(true_positive, true_positive + false_positive),
        "npv": divide(true_negative, true_negative + false_negative),
    }
    if prevalence is not None:
        pair = predictive_values(values["sensitivity"], values["specificity"], prevalence)
        values |= dict(zip(_AT_PREVALENCE, pair, strict=True))
    return values
