"""Figures as PNG."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

from support.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PNG_DPI = 130


@functools.lru_cache(maxsize=8)
def render_png(figure: Figure) -> bytes:
    """Return a figure as PNG; a report needs each twice, and rendering takes most of its time."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_PNG_DPI)
    return file.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(render_png(figure))
