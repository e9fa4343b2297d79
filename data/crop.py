"""From an open image to the square that a model sees: which one, and cutting it out."""

import math

import numpy as np
from PIL import Image

from data import DataError
from data.field_of_view import find_visible_square
from data.image_metadata import upright
from data.modes import to_rgb
from data.refused import MIN_SIDE_LENGTH

# Left, top and side length in pixels.
Square = tuple[float, float, float]
# How far a square may reach beyond the image, pixels: what rounding adds.
_TOLERANCE = 0.01


def central_square(size: tuple[float, float]) -> Square:
    """Return the central square of an image of this width and height."""
    side_length = min(size)
    return (size[0] - side_length) / 2, (size[1] - side_length) / 2, side_length


def _check_square(square: Square, size: tuple[float, float]) -> None:
    """Refuse a square that is not inside an image.

    Args:
        square: in the pixels of the image.
        size: width and height of the image, upright.

    Raises:
        DataError: it is too small, or reaches beyond the image.
    """
    left, top, side_length = square
    inside = min(left, top) >= -_TOLERANCE and all(
        start + side_length <= end + _TOLERANCE
        for start, end in zip((left, top), size, strict=True)
    )
    if not inside or side_length < MIN_SIDE_LENGTH:
        raise DataError(
            f"expected a square of at least {MIN_SIDE_LENGTH} pixels inside the image of "
            f"{size[0]:g} x {size[1]:g}, received left {left:g}, top {top:g}, side length "
            f"{side_length:g}; choose another"
        )


def scale_square(
    image: Image.Image, image_size: int, square: Square | None, resample: Image.Resampling
) -> Image.Image:
    """Cut a square out of an image and scale it.

    Args:
        image: upright.
        image_size: side length of the result, pixels.
        square: in the pixels of the image; None for the central one.
        resample: the filter.
    """
    width, height = image.size
    left, top, side_length = square or central_square(image.size)
    left, top = max(left, 0), max(top, 0)
    box = (left, top, min(left + side_length, width), min(top + side_length, height))
    return image.resize((image_size, image_size), resample=resample, box=box)


def cut_square(image: Image.Image, image_size: int, square: Square | None = None) -> np.ndarray:
    """Cut the square that a model sees out of an open image and scale it.

    Args:
        image: not decoded yet.
        image_size: side length of the result, pixels.
        square: in pixels of the upright image; None for that of `find_square`, or the central one.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255.

    Raises:
        DataError: the given square is not inside the image.
    """
    if square is None:
        rgb, size, scale = decode_scaled(image, image_size)
        square = _find_visible(rgb, size, scale)
    else:
        # Large enough that the square alone is no smaller than the result.
        whole = image_size * min(image.size) / max(square[2], MIN_SIDE_LENGTH)
        rgb, size, scale = decode_scaled(image, max(math.ceil(whole), 1))
        _check_square(square, size)
        # The central one is that of the decoded pixels, whose number the decoder rounds.
        is_central = tuple(square) == central_square(size)
        square = None if is_central else tuple(value / scale for value in square)
    return np.asarray(scale_square(rgb, image_size, square, Image.Resampling.BICUBIC))


def find_square(image: Image.Image, image_size: int) -> tuple[tuple[int, int], Square | None]:
    """Find the square that `cut_square` cuts out of an open image.

    Args:
        image: not decoded yet.
        image_size: as for `cut_square`.

    Returns:
        Width and height of the upright image; and the square inside its visible field, in its
        pixels, None if the central one is cut out.
    """
    rgb, size, scale = decode_scaled(image, image_size)
    square = _find_visible(rgb, size, scale)
    return size, square and tuple(value * scale for value in square)


def _find_visible(rgb: Image.Image, size: tuple[int, int], scale: int) -> Square | None:
    """Find the visible square of an image that may be smaller than it was, in its own pixels."""
    # Without rounding: the last row or column may be only partly covered.
    return find_visible_square(rgb, (size[0] / scale, size[1] / scale))


def decode_scaled(image: Image.Image, image_size: int) -> tuple[Image.Image, tuple[int, int], int]:
    """Decode an image, perhaps smaller, but no side below `image_size`.

    Returns:
        The image, RGB and upright; width and height that it has at full size; and by how much they
        were divided.
    """
    size = image.size
    # Lets the JPEG decoder halve large images while it decodes.
    image.draft("RGB", (image_size, image_size))
    scale = round(size[0] / image.width)
    rgb = upright_rgb(image)
    if scale == 1:
        return rgb, rgb.size, scale
    return rgb, size if rgb.size == image.size else size[::-1], scale


def upright_rgb(image: Image.Image) -> Image.Image:
    """Decode an image; returns it as RGB and upright."""
    # Converted and rotated only if needed: copies would take a tenth of the time.
    rgb = to_rgb(image)
    image.load()  # a TIFF is rotated by that
    return upright(rgb, image)
