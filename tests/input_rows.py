"""The rows of the tables in docs/inputs.md, and what stands for bad input."""

import errno
import io
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

TEXT = (Path(__file__).parent.parent / "docs/inputs.md").read_text(encoding="utf-8")


def read_rows(section: str) -> list[tuple[str, ...]]:
    """Return the rows of the table below a heading."""
    body = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def each_row(section: str) -> list:
    return [pytest.param(*row, id=row[0]) for row in read_rows(section)]


def matches(line: str, message: str) -> bool:
    """Compare a line of the tables, in which `…` stands for names and numbers, with a message."""
    return re.fullmatch(re.escape(line).replace("…", ".+"), message) is not None


def raise_interrupt(*_, **__):
    raise KeyboardInterrupt


def raise_out_of_memory(*_, **__):
    raise MemoryError


def raise_missing(*_, **__):
    raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


def raise_no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_image(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    make_image().save(buffer, "JPEG")
    return buffer.getvalue()


def assert_printed(line: str, errors: str) -> None:
    """Check that stderr has this line and no other; with an empty line, that it has none."""
    printed = [text for text in errors.splitlines() if text]
    assert len(printed) == bool(line), printed
    assert not line or matches(line, printed[0]), printed
