"""Selective prediction: how many errors are left if the least confident images are rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.intervals import confidence_intervals, divide
from metrics.markup import format_table
from metrics.numbers import format_interval, format_number, format_percent

# Fractions of the images that are accepted, from all.
COVERAGES = tuple(i / 20 for i in range(20, 0, -1))
_SHOWN = (1.0, 0.9, 0.8, 0.7, 0.5)


def risk_coverage_area(
    errors: np.ndarray, confidence: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the area under the risk-coverage curve (AURC): the mean risk over all coverages.

    The risk at a coverage is the fraction of errors among the accepted images, those of the highest
    confidence. Geifman & El-Yaniv, *Selective Classification for Deep Neural Networks* (2017),
    arXiv:1705.08500; the area: Geifman, Uziel & El-Yaniv, *Bias-Reduced Uncertainty Estimation for
    Deep Neural Classifiers* (2019), arXiv:1805.08206. Images of equal confidence are accepted
    together.

    Args:
        errors: bool `[images]`.
        confidence: float `[images]`.
        weights: float `[resamples, images]`, at least 0.

    Returns:
        float64 `[resamples]`, in 0..1; lower is better. NaN where no image has weight.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weights = np.asarray(weights, np.float64)[:, order]
    added = np.add.reduceat(weights, starts, axis=1)
    wrong = np.add.reduceat(weights * errors[order], starts, axis=1).cumsum(axis=1)
    risk = divide(wrong, added.cumsum(axis=1))
    return divide((added * np.nan_to_num(risk)).sum(axis=1), added.sum(axis=1))


def selective_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    melanoma: str | None,
    groups: Sequence,
) -> dict:
    """Measure selective prediction by the confidence, the highest probability.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        melanoma: the class of melanomas; None without one.
        groups: the lesion of each image.

    Returns:
        `area`, see `risk_coverage_area`, its 95 % `interval` by the bootstrap over lesions, and
        `curve`: for each of `COVERAGES` `coverage`, the fraction of images accepted (that are at
        least so many, and all of the same confidence), `confidence`, the lowest that is accepted,
        `risk`, and with melanomas their fractions `melanomas_missed`, accepted as another class,
        and `melanomas_rejected`.
    """
    y_true, y_pred = np.asarray(y_true), y_prob.argmax(axis=1)
    errors, confidence = y_true != y_pred, y_prob.max(axis=1)
    is_melanoma = np.asarray(class_names)[y_true] == melanoma

    def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"area": risk_coverage_area(errors, confidence, weights)}

    ranked, curve = np.sort(confidence)[::-1], []
    for coverage in COVERAGES:
        lowest = ranked[max(int(np.ceil(coverage * len(ranked) - 1e-9)), 1) - 1]
        accepted = confidence >= lowest
        row = {
            "coverage": float(accepted.mean()),
            "confidence": float(lowest),
            "risk": float(errors[accepted].mean()),
        }
        if is_melanoma.any():
            row["melanomas_missed"] = float((accepted & errors)[is_melanoma].mean())
            row["melanomas_rejected"] = float((~accepted)[is_melanoma].mean())
        curve.append(row)
    return {
        "area": float(weighted(np.ones((1, len(y_true))))["area"][0]),
        "interval": confidence_intervals(weighted, groups)["area"],
        "curve": curve,
    }


def format_selective_section(selective: Mapping) -> str:
    """Return the section of the report as HTML.

    Args:
        selective: from `selective_metrics`.
    """
    heads = ["Accepted images", "Confidence from", "Risk"]
    keys = ["confidence", "risk"]
    melanomas = ""
    if "melanomas_missed" in selective["curve"][0]:
        heads += ["Melanomas missed", "Melanomas rejected"]
        keys += ["melanomas_missed", "melanomas_rejected"]
        melanomas = (
            " Of all melanomas, the missed ones are accepted and predicted as another class; the "
            "rejected ones are not lost if somebody looks at all rejected images."
        )
    rows = [
        [format_percent(row["coverage"]), *(format_number(row[key]) for key in keys)]
        for coverage, row in zip(COVERAGES, selective["curve"], strict=True)
        if coverage in _SHOWN
    ]
    return (
        "<p>If the model predicts only the images of which it is most confident and rejects the "
        "others, fewer of its predictions are wrong. Risk is the fraction of errors among the "
        f"accepted images.{melanomas}</p><p>Area under the risk-coverage curve, the mean risk over "
        f"all coverages (Geifman &amp; El-Yaniv 2017): {format_number(selective['area'])} "
        f"({format_interval(selective['interval'])}).</p>" + format_table(heads, rows)
    )
