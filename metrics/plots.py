"""Functions that return a `Figure` and never show it."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_TRAIN, _VALIDATION, _FAINT = "#9aa5b1", "#1f6feb", "#6b7280"


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
