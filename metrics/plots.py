"""Plots, returned as a `Figure` and never shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from metrics.calibration import Reliability, reliability
from metrics.class_curves import plot_precision_recall, plot_roc
from metrics.curves import plot_decision_curve, plot_risk_coverage
from metrics.errors import confusion_counts
from metrics.evaluation import Evaluation
from metrics.numbers import format_count, format_number
from metrics.plot_style import GRAY, without_formulas
from metrics.prediction import short_names
from support.files import one_line

_TRAIN, _VALIDATION = "#9aa5b1", "#1f6feb"
# Longest name of a class in a plot.
_NAME_LENGTH = 24
# Above these numbers of classes, the cells of a confusion matrix are small, and hold no numbers.
_MANY_CLASSES, _TOO_MANY_CLASSES = 12, 40


@without_formulas
def plot_learning_curves(history: Sequence[dict], *, best_epoch: int, title: str = "") -> Figure:
    """Plot loss, accuracy, balanced accuracy and learning rate by epoch.

    Args:
        history: one dict per epoch with `epoch`, `phase`, `learning_rate`, and `loss`, `accuracy`,
            `balanced_accuracy` with and without `val_`.
        best_epoch: the epoch whose weights are kept, from 1.
        title: title of the figure.

    Returns:
        A figure of four panels.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(one_line(title), fontsize=13, fontweight="bold", x=0.01, ha="left")
    epochs = [row["epoch"] for row in history]
    figure.subplots(2, 2, sharex=True)
    *panels, rate_panel = figure.axes
    labels = {
        "loss": "Loss (cross-entropy)",
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy (mean recall)",
    }
    style = {"marker": "o", "markersize": 4, "lw": 2}
    for axes, (key, label) in zip(panels, labels.items(), strict=True):
        train, validation = ([row[prefix + key] for row in history] for prefix in ("", "val_"))
        axes.plot(epochs, train, color=_TRAIN, label="training (augmented)", **style)
        axes.plot(epochs, validation, color=_VALIDATION, label="validation", **style)
        _mark_best_epoch(axes, best_epoch, validation[epochs.index(best_epoch)])
        axes.set_title(label, loc="left", fontsize=11)
    rates = [row["learning_rate"] for row in history]
    rate_panel.plot(epochs, rates, color=GRAY, **style)
    rate_panel.set_title("Learning rate at the end of the epoch", loc="left", fontsize=11)
    rate_panel.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    for axes in figure.axes:
        _mark_phases(axes, history)
        axes.grid(axis="y", color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.tick_params(color=GRAY)
    for axes in figure.axes[2:]:
        axes.set_xlabel("Epoch")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="upper right", ncols=3, frameon=False)
    return figure


def _mark_best_epoch(axes: Axes, best_epoch: int, value: float) -> None:
    axes.plot(
        [best_epoch],
        [value],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor="#d97706",
        markeredgewidth=2,
        linestyle="none",
        label=f"best epoch {best_epoch}",
    )
    axes.annotate(
        format_number(value),
        (best_epoch, value),
        xytext=(0, 12),
        textcoords="offset points",
        ha="center",
        color="#b45309",
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
    )
    axes.margins(y=0.15)


def _mark_phases(axes: Axes, history: Sequence[dict]) -> None:
    """Draw a vertical line between two phases of the training."""
    for before, after in pairwise(history):
        if before["phase"] != after["phase"]:
            x = (before["epoch"] + after["epoch"]) / 2
            axes.axvline(x, color=GRAY, lw=1, ls=":")
            axes.annotate(
                f" {after['phase']}",
                (x, 0.01),
                xycoords=("data", "axes fraction"),
                fontsize=8.5,
                color=GRAY,
            )


@without_formulas
def plot_evaluation(evaluation: Evaluation, metrics: dict, *, title: str) -> dict[str, Figure]:
    """Plot what a report shows.

    Args:
        evaluation: the predictions.
        metrics: from `evaluation_metrics`.
        title: title of each figure.

    Returns:
        `confusion_matrix`, `roc`, `precision_recall`, `reliability`, `risk_coverage` and, if the
        malignant classes are known, `decision_curve`.
    """
    y_true, y_prob, title = evaluation.y_true, evaluation.y_prob, one_line(title)
    names = [one_line(name) for name in evaluation.class_names]
    panels = {f"Temperature {format_number(evaluation.temperature)}": reliability(y_true, y_prob)}
    if evaluation.temperature != 1:
        uncalibrated = reliability(y_true, evaluation.uncalibrated)
        panels = {"Temperature 1 (uncalibrated)": uncalibrated} | panels
    summary = (
        f"accuracy {format_number(metrics['accuracy'])}, balanced accuracy "
        f"{format_number(metrics['balanced_accuracy'])}"
    )
    counts = confusion_counts(y_true, y_prob, len(names))
    curve = metrics["decision_curve"]
    return {
        "confusion_matrix": plot_confusion_matrix(counts, names, title=f"{title}\n{summary}"),
        "roc": plot_roc(y_true, y_prob, names, title=title),
        "precision_recall": plot_precision_recall(y_true, y_prob, names, title=title),
        "reliability": plot_reliability(panels, title=title),
        "risk_coverage": plot_risk_coverage(metrics["selective_prediction"], title=title),
        **({"decision_curve": plot_decision_curve(curve, title=title)} if curve else {}),
    }


@without_formulas
def plot_confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Plot a confusion matrix: fractions of each row as color and percentage, counts below.

    Cells of many classes hold the percentage alone, those of more than 40 classes no numbers.

    Args:
        counts: int `[classes, classes]`, rows true, columns predicted.
        class_names: names of rows and columns; long ones are shortened.
        title: title of the figure.

    Returns:
        A square figure.
    """
    size, many = len(class_names), len(class_names) > _MANY_CLASSES
    names = short_names(class_names, _NAME_LENGTH)
    longest = max(map(len, names))
    totals = counts.sum(axis=1)
    fractions = counts / np.maximum(totals, 1)[:, None]
    cell = min(max(0.26, 8 / size), 26 / size) if many else 0.85
    is_turned = many or longest > 9
    width = max(2.1 + 0.08 * max(longest, 6) + cell * size, 5.6)
    height = 1.2 + max(0.8 * size, 1.6) * cell / 0.85 + 0.07 * longest * is_turned
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for row, column in zip(*np.nonzero(counts), strict=True):
        fraction = fractions[row, column]
        style = {"ha": "center", "va": "center", "color": "white" if fraction > 0.55 else "#111827"}
        style["fontweight"] = "bold" if row == column else "normal"
        if not many:
            axes.text(column, row - 0.11, f"{100 * fraction:.0f} %", **style)
            style["fontweight"] = "normal"
            axes.text(column, row + 0.24, format_count(counts[row, column]), fontsize=7.5, **style)
        elif size <= _TOO_MANY_CLASSES:
            axes.text(column, row, f"{100 * fraction:.0f}", fontsize=min(9, 24 * cell), **style)
    turned = (
        {"rotation": 90} if many else {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    )
    font = {"fontsize": min(8, 50 * cell) if many else 10}
    axes.set_xticks(range(size), names, **font, **(turned if is_turned else {}))
    separator = "  " if many else "\n"
    labels = [
        f"{name}{separator}n={format_count(total)}"
        for name, total in zip(names, totals, strict=True)
    ]
    axes.set_yticks(range(size), labels, **font)
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("True class")
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=PercentFormatter(xmax=1, symbol=" %"))
    bar.set_label("fraction of the true class" + (" (numbers: in %)" if many else ""))
    bar.outline.set_visible(False)
    return figure


@without_formulas
def plot_reliability(panels: Mapping[str, Reliability], *, title: str = "") -> Figure:
    """Plot reliability diagrams side by side.

    Args:
        panels: by name, such as uncalibrated and calibrated.
        title: title of the figure.

    Returns:
        A figure with one diagram per panel, and the histogram of the confidence below each.
    """
    figure = Figure(figsize=(4.6 * len(panels) + 0.4, 5.4), layout="constrained")
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    grid = figure.subplots(2, len(panels), height_ratios=[4, 1], sharex=True, squeeze=False)
    for (diagram, histogram), (name, bins) in zip(grid.T, panels.items(), strict=True):
        used = bins.counts > 0
        bin_width = bins.edges[1] - bins.edges[0]
        centers = bins.edges[:-1] + bin_width / 2
        diagram.plot([0, 1], [0, 1], color=GRAY, lw=1, ls="--", label="perfect calibration")
        diagram.bar(centers[used], bins.accuracy[used], bin_width * 0.92, color="#bcd4f6")
        diagram.plot(
            bins.confidence[used],
            bins.accuracy[used],
            color=_VALIDATION,
            marker="o",
            markersize=4,
            lw=1.6,
            label="accuracy at mean confidence",
        )
        diagram.set_ylim(0, 1.02)
        diagram.set_xlim(0, 1)
        error = bins.expected_calibration_error
        diagram.set_title(f"{name}: ECE {format_number(error)}", loc="left", fontsize=10.5)
        fractions = bins.counts / bins.counts.sum()
        histogram.bar(centers, fractions, bin_width * 0.92, color="#c7ccd3")
        histogram.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
        histogram.set_xlabel("Confidence (highest probability)")
        for axes in (diagram, histogram):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(color=GRAY)
    grid[0, 0].set_ylabel("Accuracy")
    grid[1, 0].set_ylabel("Images")
    grid[0, 0].legend(loc="upper left", frameon=False, fontsize=9)
    return figure
