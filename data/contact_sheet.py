"""Pairs of images in one image, to be judged by eye."""

import os
from collections.abc import Sequence

from PIL import Image, ImageDraw

from data import DataError
from data.images import load_image
from support.files import one_line, replacing

_SIDE_LENGTH = 160
_TEXT_HEIGHT = 14
_COLUMNS = 3
_GAP = 8
# More would not be looked at.
_MAX_PAIRS = 300


def write_contact_sheet(
    path: str | os.PathLike, pairs: Sequence[tuple[str, str]], captions: Sequence[str]
) -> None:
    """Write pairs of images as one JPEG, side by side, as the model sees them.

    Args:
        path: file to write, replaced if it exists.
        pairs: files of the images; after the first `_MAX_PAIRS` the others are left out.
        captions: a line above each pair.

    Raises:
        OSError: the file cannot be written.
    """
    pairs = pairs[:_MAX_PAIRS]
    cell = 2 * _SIDE_LENGTH + _GAP, _SIDE_LENGTH + _TEXT_HEIGHT
    rows = max(1, -(-len(pairs) // _COLUMNS))
    sheet = Image.new("RGB", (_COLUMNS * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (files, caption) in enumerate(zip(pairs, captions, strict=False)):
        row, column = divmod(index, _COLUMNS)
        x, y = column * cell[0], row * cell[1]
        # The built-in font knows ASCII for certain.
        text = one_line(caption).encode("ascii", "replace").decode()
        draw.text((x, y), text[: cell[0] // 6], fill="black")
        for side, file in enumerate(files):
            try:
                image = Image.fromarray(load_image(file, _SIDE_LENGTH))
            except DataError:
                continue  # it was named when it was read
            sheet.paste(image, (x + side * _SIDE_LENGTH, y + _TEXT_HEIGHT))
    with replacing(path) as part:
        sheet.save(part, "JPEG", quality=85)
