"""HTML of the parts of a report: tables, metrics with intervals, names, images."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from metrics.numbers import UNDEFINED, format_interval, format_number
from metrics.png import render_png

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_JPEG_QUALITY = 88
# Where a browser may break a word that is too long for a column.
_LONG_WORD = re.compile(r"\S{20}(?=\S)")


def format_table(
    heads: Sequence[str], rows: Sequence[Sequence[str] | str], *, stacked: bool = False
) -> str:
    """Build a table from cells, or whole rows, that are HTML.

    Args:
        heads: one per column.
        rows: the cells of each row, or the row.
        stacked: whether intervals stand below their metrics, for a table of many columns.
    """
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    body = "".join(row if isinstance(row, str) else format_row(row) for row in rows)
    opening = '<table class="stacked">' if stacked else "<table>"
    table = f"{opening}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    # Those who scroll with the keyboard have to reach it.
    return f'<div class="scroll" tabindex="0" role="group" aria-label="{heads[0]}">{table}</div>'


def format_row(cells: Sequence[str], *, small: bool = False) -> str:
    """Build a row from cells that are HTML; that of a small subgroup is gray."""
    opening = '<tr class="small">' if small else "<tr>"
    return f"{opening}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def format_name(name: str) -> str:
    """Escape a name, which may be broken inside a very long word."""
    return escape(_LONG_WORD.sub("\\g<0>\n", name)).replace("\n", "<wbr>")


def with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """Format a metric with its interval."""
    if value is None:
        return UNDEFINED
    return f"{format_number(value)}<small>{format_interval(interval)}</small>"


def format_plot(figure: Figure, name: str) -> str:
    """Return a figure as an image that can be enlarged, and scrolls where it is too wide."""
    source = _data_url(render_png(figure), "image/png")
    size = f"--inches: {figure.get_figwidth():.1f}"
    return (
        f'<figure><label class="zoom"><input type="checkbox"> Enlarge: {name}</label>'
        f'<div class="scroll" tabindex="0" role="group" aria-label="{name}">'
        f'<img alt="{name}" style="{size}" src="{source}"></div></figure>'
    )


def jpeg_url(pixels: np.ndarray) -> str:
    """Return an image, uint8 `[height, width, 3]`, as the address that contains it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="JPEG", quality=_JPEG_QUALITY)
    return _data_url(file.getvalue(), "image/jpeg")


def _data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
