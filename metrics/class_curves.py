"""Plots with one curve per class, one-vs-rest: ROC and precision-recall."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from metrics.numbers import format_count, format_number
from metrics.plot_style import finish, without_formulas
from metrics.prediction import short_names

# The palette of Okabe and Ito, which color-blind readers can distinguish, and line styles for those
# who print in black and white.
_COLORS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2", "#222222")
_STYLES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)), (0, (11, 3)), "-.", (0, (1, 1)))
# More curves than two styles of each color cannot be told apart: these many are named.
_MOST_CURVES = 2 * len(_COLORS)
_FEWEST_WORST = 10
# Longest name of a class in a plot, and beside its curve.
_NAME_LENGTH, _SHORT_NAME = 24, 12
_INK = "#1f2933"


@dataclass(frozen=True)
class _Kind:
    """A kind of curve.

    Attributes:
        compute: maps labels and scores to x, y and the summary of a curve.
        summary: what the summary is called.
        axes: labels of x and y.
        names_at: x of the name on the first curve, and the step to that on the next one.
        legend: place of the legend inside the panel, where curves are few; None beside it.
    """

    compute: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, float]]
    summary: str
    axes: tuple[str, str]
    names_at: tuple[float, float]
    legend: str | None


@dataclass(frozen=True)
class _Curve:
    """The curve of a class: its name, points, summary and number of images."""

    name: str
    x: np.ndarray
    y: np.ndarray
    summary: float
    images: int

    @property
    def label(self) -> str:
        """Return the line of the legend."""
        return f"{self.name}  {format_number(self.summary)}  n={format_count(self.images)}"


def _compute_roc(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    x, y, _ = roc_curve(positive, score, drop_intermediate=False)
    return x, y, auc(x, y)


def _compute_precision(
    positive: np.ndarray, score: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    precision, recall, _ = precision_recall_curve(positive, score)
    return recall[::-1], precision[::-1], average_precision_score(positive, score)


_ROC = _Kind(
    _compute_roc, "ROC AUC", ("1 - specificity", "Sensitivity"), (0.04, 0.07), "lower right"
)
_PRECISION_RECALL = _Kind(
    _compute_precision, "average precision", ("Recall", "Precision"), (0.18, 0.11), None
)


@without_formulas
def plot_roc(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Plot the ROC curve of each class that occurs.

    Of more classes than can be told apart, those of the lowest ROC AUC are named, the others gray.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`; long ones are shortened.
        title: title of the figure.

    Returns:
        A figure of one square panel. A few short names stand on their curves, too; the legend of
        many or long ones is beside it.
    """
    figure = _plot(_ROC, y_true, y_prob, class_names, title)
    figure.axes[0].plot([0, 1], [0, 1], color="#d1d5db", lw=1, ls="--", zorder=1)
    return figure


@without_formulas
def plot_precision_recall(
    y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> Figure:
    """Plot the precision-recall curve of each class that occurs; see `plot_roc`."""
    return _plot(_PRECISION_RECALL, y_true, y_prob, class_names, title)


def _plot(
    kind: _Kind, y_true: np.ndarray, y_prob: np.ndarray, class_names: Sequence[str], title: str
) -> Figure:
    curves = []
    for i, name in enumerate(short_names(class_names, _NAME_LENGTH)):
        positive = y_true == i
        if 0 < positive.sum() < len(positive):
            curves.append(_Curve(name, *kind.compute(positive, y_prob[:, i]), positive.sum()))
    others = []
    if len(curves) > _MOST_CURVES:
        curves.sort(key=lambda curve: curve.summary)
        curves, others = curves[:_FEWEST_WORST], curves[_FEWEST_WORST:]
    are_few = len(curves) <= len(_COLORS) and max(map(len, class_names)) <= _SHORT_NAME
    is_outside = not are_few or kind.legend is None
    figure = Figure(figsize=(9.5, 5.2) if is_outside else (5.8, 6), layout="constrained")
    axes = figure.subplots()
    lines, labels = [], [curve.label for curve in curves]
    for i, curve in enumerate(curves):
        color = _COLORS[i % len(_COLORS)]
        style = _STYLES[(i + i // len(_COLORS)) % len(_STYLES)]
        lines += axes.plot(curve.x, curve.y, color=color, ls=style, lw=2, zorder=3)
    grays = [axes.plot(curve.x, curve.y, color="#b6bec8", lw=0.8)[0] for curve in others]
    if grays:
        lines.append(grays[0])
        labels.append(f"{len(others)} classes of higher {kind.summary}")
    axes.set_xlabel(kind.axes[0])
    axes.set_ylabel(kind.axes[1])
    axes.set_aspect("equal")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.005)
    finish(axes, title)
    if curves:
        outside = {"loc": "upper left", "bbox_to_anchor": (1.02, 1), "borderaxespad": 0}
        place = outside | {"frameon": False} if is_outside else {"loc": kind.legend}
        heading = f"Class, {kind.summary}, images"
        # Given with their lines: Matplotlib leaves out labels that begin with an underscore.
        axes.legend(
            lines, labels, title=heading, framealpha=1, fontsize=9, handlelength=3.5, **place
        )
    if are_few:
        _name_curves(axes, kind, curves)
    return figure


def _name_curves(axes: Axes, kind: _Kind, curves: Sequence[_Curve]) -> None:
    """Write the name of each curve on it, at another place on each, from the best to the worst."""
    start, step = kind.names_at
    for i, curve in enumerate(sorted(curves, key=lambda curve: -curve.summary)):
        x = start + i * step
        y = np.interp(x, *_upper_ends(curve.x, curve.y))
        halo = [withStroke(linewidth=3, foreground="white")]
        style = {"fontsize": 9.5, "fontweight": "bold", "ha": "center", "va": "center"}
        axes.text(x, y, curve.name, color=_INK, path_effects=halo, zorder=4, **style)


def _upper_ends(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a curve with the highest y of each x, by increasing x."""
    order = np.lexsort((y, x))
    x, y = np.asarray(x)[order], np.asarray(y)[order]
    last = np.r_[x[1:] != x[:-1], True]
    return x[last], y[last]
