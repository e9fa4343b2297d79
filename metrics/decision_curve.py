"""Decision curves: whether acting on a model is better than treating all or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.intervals import confidence_intervals
from metrics.markup import format_table, with_interval
from metrics.numbers import format_level, format_number
from metrics.prediction import UNKNOWN_MALIGNANT

THRESHOLDS = tuple(i / 100 for i in range(1, 61))
_SHOWN = (0.05, 0.10, 0.20, 0.30, 0.50)


def net_benefit(
    y_true: np.ndarray, treated: np.ndarray, weights: np.ndarray, threshold: float
) -> np.ndarray:
    """Return the net benefit of treating some images: true positives less weighted false ones.

    Vickers & Elkin, *Decision curve analysis: a novel method for evaluating prediction models*,
    Medical Decision Making 26 (2006), 565-574: TP / n - FP / n * pt / (1 - pt), where somebody who
    would treat from a probability of pt on counts a false positive as pt / (1 - pt) of a true one.

    Args:
        y_true: bool `[images]`.
        treated: bool `[images]`.
        weights: float `[resamples, images]`, at least 0.
        threshold: pt, between 0 and 1.

    Returns:
        float64 `[resamples]`, in true positives per image.
    """
    weights = np.asarray(weights, np.float64)
    odds = threshold / (1 - threshold)
    benefit = weights @ (y_true & treated) - odds * (weights @ (~y_true & treated))
    return benefit / weights.sum(axis=1)


def decision_curve(y_true: np.ndarray, score: np.ndarray, *, groups: Sequence) -> list[dict]:
    """Compare a model with treating all and none.

    Args:
        y_true: bool `[images]`.
        score: float `[images]`, a probability in 0..1; scores at or above a threshold are treated.
        groups: the lesion of each image.

    Returns:
        For each of `THRESHOLDS` `threshold`, the net benefit of the `model` and of `treat_all` (of
        treating none, it is 0), and the 95 % `interval` of the model's, by the bootstrap over
        lesions.
    """
    y_true = np.asarray(y_true, bool)
    everybody = np.ones(len(y_true), bool)

    def weighted(weights: np.ndarray) -> dict[float, np.ndarray]:
        weights = weights.astype(np.float64)
        return {pt: net_benefit(y_true, score >= pt, weights, pt) for pt in THRESHOLDS}

    intervals, ones = confidence_intervals(weighted, groups), np.ones((1, len(y_true)))
    return [
        {
            "threshold": pt,
            "model": float(value[0]),
            "treat_all": float(net_benefit(y_true, everybody, ones, pt)[0]),
            "interval": intervals[pt],
        }
        for pt, value in weighted(ones).items()
    ]


def format_decision_section(curve: Sequence[Mapping]) -> str:
    """Return the section of the report as HTML.

    Args:
        curve: from `decision_curve`; empty if the malignant classes are unknown.
    """
    if not curve:
        return f"<p>Not measured. {UNKNOWN_MALIGNANT}</p>"
    heads = ["Threshold", "Model", "Treat all", "Treat none", "Best"]
    rows = []
    for row in curve:
        if row["threshold"] not in _SHOWN:
            continue
        values = {"model": row["model"], "treat all": row["treat_all"], "treat none": 0.0}
        cells = [format_level(row["threshold"]), with_interval(row["model"], row["interval"])]
        cells += [format_number(row["treat_all"]), format_number(0.0), max(values, key=values.get)]
        rows.append(cells)
    return (
        "<p>Net benefit (Vickers &amp; Elkin 2006) of treating, such as excising, the lesions "
        "whose malignant score is at or above a threshold: true positives per image, less the "
        "false positives, each of which counts as the odds of the threshold. At a threshold of "
        "10 %, nine needless excisions weigh as much as one malignant lesion found. It holds for "
        "the prevalence of these images.</p>" + format_table(heads, rows)
    )
