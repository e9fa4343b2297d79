"""How the numbers of all reports are written: in the terminal, in the page and in the model card.

Fractions and other metrics have three digits after the point, percentages one, stated levels such
as 90 % as many as they need. Thousands are separated by commas.
"""

from __future__ import annotations

from collections.abc import Sequence

from metrics.intervals import LEVEL

# Of a metric that is not defined.
UNDEFINED = "-"


def format_number(value: float | None) -> str:
    """Format a metric."""
    return UNDEFINED if value is None else f"{value:.3f}"


def format_difference(value: float | None) -> str:
    """Format the difference of two metrics, with its sign."""
    return UNDEFINED if value is None else f"{value:+.3f}"


def format_interval(interval: Sequence[float] | None) -> str:
    """Format a confidence interval, which may be undefined."""
    if interval is None:
        return "no interval"
    return f"{format_number(interval[0])} to {format_number(interval[1])}"


def format_count(count: int) -> str:
    """Format a number of images, or of anything that is counted."""
    return f"{count:,}"


def format_percent(fraction: float) -> str:
    """Format a measured fraction or a probability so that it never reads as impossible or certain.

    Args:
        fraction: in 0..1.
    """
    if 0 < fraction < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < fraction < 1 else f"{100 * fraction:.1f} %"


def format_level(fraction: float) -> str:
    """Format a fraction that was chosen, not measured, such as a prevalence or a confidence level.

    Args:
        fraction: in 0..1.
    """
    return f"{100 * fraction:.6g} %"


INTERVAL_LEVEL = format_level(LEVEL)
