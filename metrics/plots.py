"""Functions that return a `Figure` and never show it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import auc, roc_curve

from metrics.calibration import Reliability

_TRAIN, _VALIDATION, _FAINT = "#9aa5b1", "#1f6feb", "#6b7280"
# Okabe and Ito's colours, which the colour-blind can tell apart.
_CLASS_COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#222222")


def plot_learning_curves(history: Sequence[dict], *, best_epoch: int, title: str = "") -> Figure:
    """Plot loss, accuracy, balanced accuracy and learning rate over the epochs.

    Args:
        history: one dict an epoch with `epoch`, `phase`, `learning_rate`, and `loss`,
            `accuracy`, `balanced_accuracy` with and without `val_`.
        best_epoch: the epoch that was kept, from 1.
        title: above the panels.

    Returns:
        A figure of four panels.
    """
    figure = Figure(figsize=(11, 7), layout="constrained")
    figure.suptitle(title, fontsize=13, fontweight="bold", x=0.01, ha="left")
    epochs = [row["epoch"] for row in history]
    panels = figure.subplots(2, 2, sharex=True).flat
    names = {
        "loss": "Loss (cross-entropy)",
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy (mean recall)",
    }
    for axes, (key, label) in zip(panels, names.items(), strict=False):
        for prefix, colour, who in (
            ("", _TRAIN, "training (augmented)"),
            ("val_", _VALIDATION, "validation"),
        ):
            values = [row[prefix + key] for row in history]
            axes.plot(epochs, values, color=colour, marker="o", markersize=4, lw=2, label=who)
        _mark_best(axes, epochs, [row[f"val_{key}"] for row in history], best_epoch)
        axes.set_title(label, loc="left", fontsize=11)
    axes = figure.axes[3]
    rates = [row["learning_rate"] for row in history]
    axes.plot(epochs, rates, color=_FAINT, marker="o", markersize=4, lw=2)
    axes.set_title("Learning rate at the end of the epoch", loc="left", fontsize=11)
    axes.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    for axes in figure.axes:
        _mark_phases(axes, history)
        axes.grid(axis="y", color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.tick_params(color=_FAINT)
    for axes in figure.axes[2:]:
        axes.set_xlabel("epoch")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=3, frameon=False)
    return figure


def _mark_best(axes, epochs: list[int], values: list[float], best_epoch: int) -> None:
    value = values[epochs.index(best_epoch)]
    axes.plot(
        [best_epoch],
        [value],
        marker="o",
        markersize=11,
        markerfacecolor="none",
        markeredgecolor="#d97706",
        markeredgewidth=2,
        linestyle="none",
        label=f"kept: epoch {best_epoch}",
    )
    axes.annotate(
        f"{value:.3f}",
        (best_epoch, value),
        xytext=(0, 12),
        textcoords="offset points",
        ha="center",
        color="#b45309",
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"},
    )
    axes.margins(y=0.15)


def _mark_phases(axes, history: Sequence[dict]) -> None:
    """Draw a line where one phase of training ends and the next begins."""
    for before, after in pairwise(history):
        if before["phase"] != after["phase"]:
            x = (before["epoch"] + after["epoch"]) / 2
            axes.axvline(x, color=_FAINT, lw=1, ls=":")
            axes.annotate(
                f" {after['phase']}",
                (x, 0.01),
                xycoords=("data", "axes fraction"),
                fontsize=8.5,
                color=_FAINT,
            )


def plot_confusion_matrix(
    counts: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Plot a confusion matrix: colour and percentage by row, counts beneath.

    Args:
        counts: int `[classes, classes]`, rows true, columns predicted.
        class_names: of rows and columns.
        title: above the matrix.

    Returns:
        A square figure.
    """
    size = len(class_names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    figure = Figure(figsize=(2.6 + 0.85 * size, 1.2 + 0.8 * size), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(size):
        for column in range(size):
            share, count = shares[row, column], counts[row, column]
            if count == 0:
                continue
            colour = "white" if share > 0.55 else "#111827"
            axes.text(
                column,
                row - 0.11,
                f"{share:.0%}",
                ha="center",
                va="center",
                color=colour,
                fontweight="bold" if row == column else "normal",
            )
            axes.text(
                column, row + 0.24, f"{count}", ha="center", va="center", color=colour, fontsize=7.5
            )
    axes.set_xticks(range(size), class_names)
    names = [f"{name}\nn={total}" for name, total in zip(class_names, totals[:, 0], strict=True)]
    axes.set_yticks(range(size), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8, format=lambda x, _: f"{x:.0%}")
    bar.set_label("share of the true class")
    bar.outline.set_visible(False)
    return figure


def plot_roc(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Plot one ROC curve for each class that occurs, that class against the rest.

    Args:
        y_true: int `[images]`, places in `class_names`.
        y_prob: float `[images, classes]`.
        class_names: of the columns.
        title: above the plot.

    Returns:
        A figure of one square panel.
    """
    figure = Figure(figsize=(7.6, 5.6), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#d1d5db", lw=1, ls="--")
    for place, name in enumerate(class_names):
        positive = y_true == place
        if not 0 < positive.sum() < len(positive):
            continue
        false, true, _ = roc_curve(positive, y_prob[:, place], drop_intermediate=False)
        area = auc(false, true)
        label = f"{name}  {area:.3f}  n={positive.sum()}"
        axes.plot(false, true, color=_CLASS_COLOURS[place % len(_CLASS_COLOURS)], lw=2, label=label)
    axes.set_xlabel("1 - specificity")
    axes.set_ylabel("sensitivity")
    axes.set_aspect("equal")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.005)
    axes.grid(color="#f0f1f3")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    if axes.get_legend_handles_labels()[1]:
        figure.legend(
            title="class, ROC AUC, images", loc="outside right center", frameon=False, fontsize=10
        )
    return figure


def plot_reliability(
    panels: dict[str, Reliability], errors: dict[str, float], *, title: str = ""
) -> Figure:
    """Plot accuracy against confidence, one panel beside the other.

    Args:
        panels: by name, such as before and after.
        errors: expected calibration error of each panel.
        title: above the panels.

    Returns:
        A figure of as many panels, a histogram of confidence beneath each.
    """
    figure = Figure(figsize=(4.6 * len(panels) + 0.4, 5.4), layout="constrained")
    figure.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    grid = figure.subplots(2, len(panels), height_ratios=[4, 1], sharex=True, squeeze=False)
    for column, (name, bins) in enumerate(panels.items()):
        upper, lower = grid[0, column], grid[1, column]
        used = bins.images > 0
        width = bins.edges[1] - bins.edges[0]
        middle = bins.edges[:-1] + width / 2
        upper.plot([0, 1], [0, 1], color=_FAINT, lw=1, ls="--", label="as sure as right")
        upper.bar(middle[used], bins.accuracy[used], width * 0.92, color="#bcd4f6")
        upper.plot(
            bins.confidence[used],
            bins.accuracy[used],
            color=_VALIDATION,
            marker="o",
            markersize=4,
            lw=1.6,
            label="accuracy at mean confidence",
        )
        upper.set_ylim(0, 1)
        upper.set_xlim(0, 1)
        upper.set_title(f"{name}: error {errors[name]:.3f}", loc="left", fontsize=10.5)
        lower.bar(middle, bins.images / bins.images.sum(), width * 0.92, color="#c7ccd3")
        lower.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        lower.set_xlabel("confidence (highest probability)")
        for axes in (upper, lower):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(color=_FAINT)
    grid[0, 0].set_ylabel("share of right predictions")
    grid[1, 0].set_ylabel("images")
    grid[0, 0].legend(loc="upper left", frameon=False, fontsize=9)
    return figure


def plot_explanation(
    picture: np.ndarray, explained: np.ndarray, *, title: str, empty: bool = False
) -> Figure:
    """Show a picture beside the same picture under its heat map.

    Args:
        picture: uint8 `[side, side, 3]`, what the model saw.
        explained: uint8 of the same shape.
        title: what is explained.
        empty: whether nothing spoke for the class, so that there is no map.

    Returns:
        A figure of two panels.
    """
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    # A name with two dollar signs is no formula.
    figure.suptitle(title, fontsize=12, fontweight="bold", x=0.01, ha="left", parse_math=False)
    right = "nothing in it speaks for this class" if empty else "what speaks for this class"
    for axes, image, label in zip(
        figure.subplots(1, 2), (picture, explained), ("what the model saw", right), strict=True
    ):
        axes.imshow(image)
        axes.set_xlabel(label)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    return figure
