"""Plots of the risk-coverage curve and of the decision curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from metrics.numbers import INTERVAL_LEVEL, format_number
from metrics.plot_style import GRAY, finish, without_formulas

_BLUE, _ORANGE = "#0072B2", "#D55E00"


@without_formulas
def plot_risk_coverage(selective: Mapping, *, title: str = "") -> Figure:
    """Plot the risk, and what becomes of melanomas, by the fraction of images that are accepted.

    Args:
        selective: from `metrics.selective.selective_metrics`.
        title: title of the figure.

    Returns:
        A figure of one panel.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes, curve = figure.subplots(), selective["curve"]
    area = f"area {format_number(selective['area'])}"
    lines = {"risk": (f"risk: errors among accepted ({area})", _BLUE, "-", "o")}
    if "melanomas_missed" in curve[0]:
        lines["melanomas_missed"] = ("melanomas accepted as another class", _ORANGE, "--", "s")
        lines["melanomas_rejected"] = ("melanomas rejected", GRAY, ":", "^")
    coverage = [row["coverage"] for row in curve]
    for key, (label, color, style, marker) in lines.items():
        values = [row[key] for row in curve]
        axes.plot(
            coverage, values, color=color, ls=style, marker=marker, markersize=4, lw=2, label=label
        )
    axes.set_xlabel("Coverage: accepted images, those of the highest confidence")
    axes.set_ylabel("Fraction")
    axes.set_xlim(0, 1.01)
    axes.set_ylim(-0.01, 1.01)
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
    finish(axes, title)
    axes.legend(frameon=False, fontsize=9)
    return figure


@without_formulas
def plot_decision_curve(curve: Sequence[Mapping], *, title: str = "") -> Figure:
    """Plot the net benefit of the model, of treating all and of treating none, by the threshold.

    Args:
        curve: from `metrics.decision_curve.decision_curve`.
        title: title of the figure.

    Returns:
        A figure of one panel; the band is the confidence interval of the model.
    """
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes, thresholds = figure.subplots(), [row["threshold"] for row in curve]
    model = [row["model"] for row in curve]
    bands = [row["interval"] or (row["model"], row["model"]) for row in curve]
    axes.fill_between(thresholds, *zip(*bands, strict=True), color=_BLUE, alpha=0.15, lw=0)
    axes.plot(thresholds, model, color=_BLUE, lw=2, label=f"model, with {INTERVAL_LEVEL} interval")
    everybody = [row["treat_all"] for row in curve]
    axes.plot(thresholds, everybody, color=_ORANGE, lw=2, ls="--", label="treat all")
    axes.axhline(0, color=GRAY, lw=2, ls=":", label="treat none")
    highest = max(*everybody, *(high for _, high in bands), 0.01)
    # The line of treating all falls without end.
    axes.set_ylim(-0.4 * highest, 1.05 * highest)
    axes.set_xlabel("Threshold of the malignant score")
    axes.set_ylabel("Net benefit (true positives per image)")
    axes.xaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=0, symbol=" %"))
    axes.set_xlim(0, thresholds[-1])
    finish(axes, title)
    axes.legend(frameon=False, fontsize=9)
    return figure
