"""What all plots share: colors, and how axes and titles look."""

from __future__ import annotations

from matplotlib import rc_context
from matplotlib.axes import Axes

GRAY = "#6b7280"
# For plots with names of classes, files or data sets: a dollar sign in them would start a formula.
without_formulas = rc_context({"text.parse_math": False})


def finish(axes: Axes, title: str) -> None:
    """Add title and grid to a panel, and remove what its frame does not need."""
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.grid(color="#f0f1f3")
    axes.spines[["top", "right"]].set_visible(False)
