"""The only place where a file becomes pixels."""

import io
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from data import DataError
from data.crop import (
    Square,
    central_square,
    cut_square,
    decode_scaled,
    find_square,
    scale_square,
    upright_rgb,
)
from data.decoders import open_image, read_head
from data.image_metadata import upright, without_metadata
from data.mask_names import has_mask_name
from data.refused import (
    HEAD_BYTES,
    MAX_PIXELS,
    MIN_SIDE_LENGTH,
    RefusedError,
    reason,
)

# What `is_mask` looks at, and what compression and scaling add to two levels.
_MASK_SAMPLE = (128, 128)
_GRAY_EDGE = 32


def load_image(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read an image file as the model sees it.

    The image is rotated upright by its EXIF orientation, its central square is cut out, so that a
    lesion keeps its shape, and scaled. If the image has the dark border of a dermatoscope, the
    square inside its visible field takes the place of the central one, see `data.field_of_view`.
    Transparent areas become white, 16 bits are scaled to 8, and of an animation the first frame
    counts. Damaged metadata are ignored.

    Args:
        path: a file in one of `data.decoders.FORMATS`, or HEIC.
        image_size: side length of the result, pixels.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255.

    Raises:
        DataError: the file cannot be read, or is a segmentation mask by its name and content; the
            message is `FILE: reason; remedy`.
    """
    _refuse_mask(path)
    return _read_file(path, lambda image: cut_square(image, image_size))


def load_bytes(
    content: bytes, image_size: int, *, max_pixels: int = MAX_PIXELS, square: Square | None = None
) -> np.ndarray:
    """Read an image that is in memory as `load_image` reads a file.

    Args:
        content: content of an image file.
        image_size: side length of the result, pixels.
        max_pixels: larger images are refused by their header.
        square: the one to cut out, in pixels of the upright image; None for that of `load_image`.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255.

    Raises:
        DataError: the content cannot be read as an image, or the square is not inside it.
    """
    return _read_bytes(content, lambda image: cut_square(image, image_size, square), max_pixels)


def load_whole(
    content: bytes, image_size: int, shown_size: int, *, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, tuple[int, int], Square]:
    """Read a whole image that is in memory, and which square of it `load_bytes` would cut out.

    Args:
        content: content of an image file.
        image_size: side length of that square when it is scaled, pixels.
        shown_size: the long side of the result, pixels; a smaller image keeps its size.
        max_pixels: larger images are refused by their header.

    Returns:
        uint8 `[height, width, 3]`, RGB 0..255; width and height of the image upright; and the
        square in its pixels.

    Raises:
        DataError: the content cannot be read as an image.
    """

    def shrink(image: Image.Image) -> np.ndarray:
        rgb, _, _ = decode_scaled(image, shown_size)
        rgb.thumbnail((shown_size, shown_size), Image.Resampling.BICUBIC)
        return np.asarray(rgb)

    size, square = _read_bytes(content, lambda image: find_square(image, image_size), max_pixels)
    return _read_bytes(content, shrink, max_pixels), size, square or central_square(size)


def _read_bytes(content: bytes, use: Callable[[Image.Image], Any], max_pixels: int) -> Any:
    try:
        return _read(io.BytesIO(content), use, max_pixels)
    except DataError:  # about the square
        raise
    except Exception as error:  # as in _read_file
        why = reason(error, content[:HEAD_BYTES]) if content else "the file is empty"
        raise DataError(f"this file cannot be read as an image: {why}") from error


def load_pixels(path: str | os.PathLike) -> np.ndarray:
    """Read a whole image in its own size.

    Args:
        path: a file in one of `data.decoders.FORMATS`, or HEIC.

    Returns:
        uint8 `[height, width, 3]`, RGB 0..255, upright.

    Raises:
        DataError: as for `load_image`.
    """
    return _read_file(path, lambda image: np.asarray(upright_rgb(image)))


def load_mask(
    path: str | os.PathLike, image_size: int, image_path: str | os.PathLike | None = None
) -> np.ndarray:
    """Read the segmentation mask of a lesion, cut and scaled as `load_image` does with its image.

    Args:
        path: a grayscale image, bright inside the lesion, with the aspect ratio of its image.
        image_size: side length of the result, pixels.
        image_path: file of the image, which may have a visible field; None: it has none.

    Returns:
        bool `[image_size, image_size]`, True inside the lesion.

    Raises:
        DataError: as for `load_image`.
    """
    square = None
    if image_path is not None:
        square = _read_file(image_path, lambda image: _find_part(image, image_size))
    levels = _read_file(
        path, lambda image: _decode_mask(image, image_size, square), min_side_length=1
    )
    # Masks that were scaled have gray edges; half of the range is the boundary.
    return levels >= (128 if levels.max() > 1 else 1)


def _find_part(image: Image.Image, image_size: int) -> Square | None:
    """Find the visible square; returns it as parts of the short side."""
    size, square = find_square(image, image_size)
    return square and tuple(value / min(size) for value in square)


def _decode_mask(image: Image.Image, image_size: int, square: Square | None) -> np.ndarray:
    image.load()
    levels = upright(image.convert("L"), image)
    square = square and tuple(value * min(levels.size) for value in square)
    return np.asarray(scale_square(levels, image_size, square, Image.Resampling.NEAREST))


def load_masks(
    paths: Sequence[str | None], image_size: int, image_paths: Sequence[str]
) -> tuple[list[int], np.ndarray, list[str]]:
    """Read the segmentation masks of a batch.

    Args:
        paths: path of each mask, None where there is none.
        image_size: side length of the result, pixels.
        image_paths: path of each image.

    Returns:
        Indices of the images whose mask could be read; the masks, bool
        `[masks, image_size, image_size]`; and a message for each mask that could not.
    """
    indices, masks, failures = [], [], []
    for i, (path, image_path) in enumerate(zip(paths, image_paths, strict=True)):
        if path is None:
            continue
        try:
            masks.append(load_mask(path, image_size, image_path))
            indices.append(i)
        except DataError as error:
            failures.append(str(error))
    return indices, np.reshape(masks, (-1, image_size, image_size)).astype(bool), failures


def image_size_of(path: str | os.PathLike) -> tuple[int, int] | None:
    """Return width and height by the header of an image file, None if it cannot be read."""
    try:
        return _read(path, lambda image: image.size)
    except Exception:  # as in _read_file, which names the file when it is used
        return None


def is_mask(path: str | os.PathLike, *, strict: bool = False) -> bool:
    """Tell by its content whether an image is a segmentation mask.

    Args:
        path: an image file.
        strict: also require what only masks have: a single channel, and both of two levels, black
            and white or 0 and 1. Without it, gray edges, RGB, two colors and an empty mask will do.

    Returns:
        True if it is; False if it is not or cannot be read.
    """
    try:
        with open_image(path) as image:
            if strict and image.mode not in ("1", "L", "P"):
                return False
            image.draft("RGB", _MASK_SAMPLE)
            sample = image.resize(_MASK_SAMPLE, Image.Resampling.NEAREST)
    except Exception:  # as in image_size_of
        return False
    pixels = np.asarray(sample if strict else sample.convert("RGB")).astype(int)
    if strict:
        return pixels.min() == 0 and set(np.unique(pixels)) in ({0, 1}, {0, 255})
    colors = len(np.unique(pixels @ [1 << 16, 1 << 8, 1]))
    is_gray = np.ptp(pixels, axis=2).max() <= _GRAY_EDGE
    is_extreme = (pixels <= _GRAY_EDGE) | (pixels >= 255 - _GRAY_EDGE)
    return colors <= 2 or bool(is_gray and is_extreme.mean() > 0.9)


def check_image(path: str | os.PathLike) -> None:
    """Check the header of an image file.

    Args:
        path: a file in one of `data.decoders.FORMATS`, or HEIC.

    Raises:
        DataError: `load_image` would refuse the file, as far as the header shows.
    """
    _read_file(path, lambda image: None)


def _read_file(
    path: str | os.PathLike,
    use: Callable[[Image.Image], Any],
    min_side_length: int = MIN_SIDE_LENGTH,
) -> Any:
    """Open, check and use an image file, as `_read`.

    Raises:
        DataError: that fails; the message is `FILE: reason; remedy`.
    """
    try:
        return _read(path, use, min_side_length=min_side_length)
    except Exception as error:  # on broken files Pillow's decoders raise anything
        raise _data_error(path, error) from error


def _read(
    source: str | os.PathLike | io.BytesIO,
    use: Callable[[Image.Image], Any],
    max_pixels: int = MAX_PIXELS,
    min_side_length: int = MIN_SIDE_LENGTH,
) -> Any:
    """Open, check and use an image; if that fails, once more without its metadata.

    Args:
        source: a file, or its content.
        use: is called with the open image.
        max_pixels: larger images are refused.
        min_side_length: smaller images are refused.

    Returns:
        What `use` returns.

    Raises:
        Exception: the first error, unless the file can be used without its metadata.
    """
    limits = {"max_pixels": max_pixels, "min_side_length": min_side_length}
    try:
        with open_image(source, **limits) as image:
            return use(image)
    except (RefusedError, FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except DataError:  # about the square
        raise
    except Exception as error:  # as in _read_file
        content = without_metadata(source)
        if content is None:
            raise
        try:
            with open_image(io.BytesIO(content), **limits) as image:
                return use(image)
        except (DataError, RefusedError):
            raise
        except Exception:
            raise error from None


def _refuse_mask(path: str | os.PathLike) -> None:
    """Refuse what is a segmentation mask by its name, or that of its folder, and its content."""
    folder, name = os.path.split(path)
    has_name = has_mask_name(os.path.splitext(name)[0])
    in_folder = has_mask_name(os.path.basename(folder), at_end=True)
    if (has_name or in_folder) and is_mask(path, strict=not has_name):
        raise DataError(
            f"{path}: expected an image, received a segmentation mask; choose the image of the "
            "lesion"
        )


def _data_error(path: str | os.PathLike, error: Exception) -> DataError:
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return DataError(f"{path}: the file is empty; copy it again")
    head = read_head(path) if isinstance(error, UnidentifiedImageError) else b""
    return DataError(f"{path}: {reason(error, head)}")
