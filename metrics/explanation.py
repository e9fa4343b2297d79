"""The heat map of a prediction beside its image, and what its colors mean."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from metrics.plot_style import without_formulas
from support.files import one_line

# Of Matplotlib; that of `models.heat_map.overlay`.
COLOR_MAP = "viridis"
_LOW, _HIGH = "less", "more evidence"
# Lengths of lines that fit, in characters; sizes in inches, or in parts of the width.
_TITLE_LENGTH, _WARNING_LENGTH = 80, 112
_WIDTH, _SIDE, _FOOT, _LEFT = 8, 3.88, 0.55, 0.01


def legend_colors(count: int) -> np.ndarray:
    """Return the colors of a heat map from low to high, float `[count, 4]`, RGBA in 0..1.

    Like the heat map, they are the more opaque the higher it is.
    """
    heat = np.linspace(0, 1, count)
    return np.column_stack([colormaps[COLOR_MAP](heat)[:, :3], heat])


@without_formulas
def plot_explanation(
    image: np.ndarray,
    overlay: np.ndarray,
    *,
    title: str,
    warnings: Sequence[str] = (),
    empty: bool = False,
) -> Figure:
    """Plot an image beside the same image under its Grad-CAM heat map.

    Args:
        image: uint8 `[height, width, 3]`, the input of the model.
        overlay: uint8 of the same shape.
        title: title of the figure.
        warnings: sentences about the prediction.
        empty: whether the heat map is zero everywhere.

    Returns:
        A figure of two panels, and the legend of the heat map.
    """
    titles = textwrap.wrap(one_line(title), _TITLE_LENGTH)
    lines = [line for text in warnings for line in textwrap.wrap(text, _WARNING_LENGTH)]
    below_title = 0.1 + 0.2 * len(titles)
    head = below_title + 0.17 * len(lines) + 0.1
    height = head + _SIDE + _FOOT
    figure = Figure(figsize=(_WIDTH, height))
    figure.suptitle(
        "\n".join(titles), fontsize=11, fontweight="bold", x=_LEFT, y=1 - 0.1 / height, ha="left"
    )
    style = {"fontsize": 9, "color": "#b3261e", "va": "top"}
    figure.text(_LEFT, 1 - below_title / height, "\n".join(lines), **style)
    evidence = "no evidence for this class" if empty else "evidence for this class"
    panels = {"Model input": image, f"Grad-CAM: {evidence}": overlay}
    for left, (label, pixels) in zip((_LEFT, 0.5 + _LEFT / 2), panels.items(), strict=True):
        axes = figure.add_axes((left, _FOOT / height, _SIDE / _WIDTH, _SIDE / height))
        axes.imshow(pixels, interpolation="bicubic")
        axes.set_xlabel(label)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    legend = figure.add_axes((0.67, 0.12 / height, 0.16, 0.1 / height))
    legend.imshow(legend_colors(256)[None], aspect="auto")
    legend.set_axis_off()
    for x, text, ha in ((-0.04, _LOW, "right"), (1.04, _HIGH, "left")):
        legend.text(x, 0.5, text, ha=ha, va="center", fontsize=9, transform=legend.transAxes)
    return figure


def format_legend() -> str:
    """Return the legend of the heat maps of a page as HTML; its style sheet has the colors."""
    return f'<p class="legend">{_LOW} <span class="ramp" aria-hidden="true"></span> {_HIGH}</p>'
