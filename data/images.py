"""The only place where a file becomes pixels."""

import io
import os
from collections.abc import Iterable, Sequence
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from data import DataError
from support.files import walk

# The image files of data sets; `find_images` takes all formats that Pillow can decode.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
# Smaller images show nothing; larger ones take gigabytes to decode.
MIN_SIDE_LENGTH = 8
MAX_PIXELS = 100_000_000
# Threads that read images; Pillow releases the interpreter lock while it decodes and scales.
WORKERS = max(2, os.cpu_count() or 2)


class _RefusedError(ValueError):
    """An image that could be decoded, but is not accepted; the message holds the remedy."""


def find_images(sources: Iterable[str | os.PathLike]) -> list[str]:
    """List image files and the image files in folders.

    Args:
        sources: files, taken as they are, and folders, searched with all their subfolders for
            files with a suffix of a format that Pillow can decode.

    Returns:
        Paths in the order of the sources, sorted within a folder.

    Raises:
        DataError: a folder has no images.
    """
    paths: list[str] = []
    suffixes = {
        suffix
        for suffix, format_name in Image.registered_extensions().items()
        if format_name in Image.OPEN and _has_decoder(format_name)
    }
    for source in sources:
        if not os.path.isdir(source):
            paths.append(os.fspath(source))
            continue
        inside = [
            os.path.join(folder, name)
            for folder, names in walk(source)
            for name in names
            # macOS writes resource forks, named like the file, to the disks of other systems.
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("._")
        ]
        if not inside:
            raise DataError(
                f"expected images in the folder {source}, found none; choose another folder"
            )
        paths += sorted(inside)
    return paths


def _has_decoder(format_name: str) -> bool:
    """Tell whether Pillow decodes a format itself; of some it only reads the header."""
    factory = Image.OPEN[format_name][0]
    is_stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return not is_stub and format_name != "MPEG"


def load_image(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read an image file as the model sees it.

    The image is rotated upright by its EXIF orientation, its central square is cut out, so that a
    lesion keeps its shape, and scaled. Transparent areas become white, 16 bits are scaled to 8, and
    of an animation the first frame counts.

    Args:
        path: a file in a format that Pillow can decode.
        image_size: side length of the result, pixels.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255.

    Raises:
        DataError: the file cannot be read; the message is `FILE: reason; remedy`.
    """
    try:
        return _decode(path, image_size)
    except Exception as error:  # on broken files Pillow's decoders raise anything
        raise _data_error(path, error) from error


def load_bytes(content: bytes, image_size: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read an image that is in memory as `load_image` reads a file.

    Args:
        content: content of an image file.
        image_size: side length of the result, pixels.
        max_pixels: larger images are refused by their header.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255.

    Raises:
        DataError: the content cannot be read as an image.
    """
    try:
        return _decode(io.BytesIO(content), image_size, max_pixels)
    except Exception as error:  # as in load_image
        reason = _reason(error) if content else "the file is empty"
        raise DataError(f"this file cannot be read as an image: {reason}") from error


def load_pixels(path: str | os.PathLike) -> np.ndarray:
    """Read a whole image in its own size.

    Args:
        path: a file in a format that Pillow can decode.

    Returns:
        uint8 `[height, width, 3]`, RGB 0..255, upright.

    Raises:
        DataError: as for `load_image`.
    """
    try:
        with Image.open(path) as image:
            _check(image)
            return np.asarray(_upright_rgb(image))
    except Exception as error:  # as in load_image
        raise _data_error(path, error) from error


def load_mask(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read the segmentation mask of a lesion, cut and scaled as `load_image` does with its image.

    Args:
        path: a grayscale image, bright inside the lesion, with the aspect ratio of its image.
        image_size: side length of the result, pixels.

    Returns:
        bool `[image_size, image_size]`, True inside the lesion.

    Raises:
        DataError: as for `load_image`.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("L")
    except Exception as error:  # as in load_image
        raise _data_error(path, error) from error
    # Masks that were scaled have gray edges; half of the range is the boundary.
    return np.asarray(_central_square(upright, image_size, Image.Resampling.NEAREST)) >= 128


def load_masks(
    paths: Sequence[str | None], image_size: int
) -> tuple[list[int], np.ndarray, list[str]]:
    """Read the segmentation masks of a batch.

    Args:
        paths: path of each mask, None where there is none.
        image_size: side length of the result, pixels.

    Returns:
        Indices of the images whose mask could be read; the masks, bool
        `[masks, image_size, image_size]`; and a message for each mask that could not.
    """
    indices, masks, failures = [], [], []
    for i, path in enumerate(paths):
        if path is None:
            continue
        try:
            masks.append(load_mask(path, image_size))
            indices.append(i)
        except DataError as error:
            failures.append(str(error))
    return indices, np.reshape(masks, (-1, image_size, image_size)).astype(bool), failures


def check_image(path: str | os.PathLike) -> None:
    """Check the header of an image file.

    Args:
        path: a file in a format that Pillow can decode.

    Raises:
        DataError: `load_image` would refuse the file, as far as the header shows.
    """
    try:
        with Image.open(path) as image:
            _check(image)
    except Exception as error:  # as in load_image
        raise _data_error(path, error) from error


def _decode(
    source: str | os.PathLike | IO[bytes], image_size: int, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    with Image.open(source) as image:
        _check(image, max_pixels)
        # Lets the JPEG decoder halve large images while it decodes, never below the target size.
        image.draft("RGB", (image_size, image_size))
        square = _central_square(_upright_rgb(image), image_size, Image.Resampling.BICUBIC)
        return np.asarray(square)


def _check(image: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse by the header what should not be decoded."""
    width, height = image.size
    if min(width, height) < MIN_SIDE_LENGTH:
        raise _RefusedError(
            f"expected at least {MIN_SIDE_LENGTH} x {MIN_SIDE_LENGTH} pixels, received "
            f"{width} x {height}; use a larger image"
        )
    if width * height > max_pixels:
        raise _RefusedError(
            f"expected at most {max_pixels:,} pixels, received {width} x {height}; scale it down"
        )
    # Pillow would run it in Ghostscript, and nobody knows who wrote it.
    if image.format == "EPS":
        raise _RefusedError(
            "expected an image, received an EPS file, which is a program; convert it to PNG"
        )


def _upright_rgb(image: Image.Image) -> Image.Image:
    # In place, and converted only if needed: copies would take a tenth of the time.
    ImageOps.exif_transpose(image, in_place=True)
    return image if image.mode == "RGB" else _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise _RefusedError(
                f"expected gray levels in 0..65,535, received {levels.min():,} to "
                f"{levels.max():,}; convert the image to 8 or 16 bits"
            )
        # Pillow's own conversion would clip all values above 255.
        return Image.fromarray((levels / 257).round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    background = Image.new("RGBA", image.size, "white")
    background.alpha_composite(image.convert("RGBA"))
    return background.convert("RGB")


def _central_square(image: Image.Image, image_size: int, resample: Image.Resampling) -> Image.Image:
    width, height = image.size
    side_length = min(width, height)
    left, top = (width - side_length) / 2, (height - side_length) / 2
    box = (left, top, left + side_length, top + side_length)
    return image.resize((image_size, image_size), resample=resample, box=box)


def _data_error(path: str | os.PathLike, error: Exception) -> DataError:
    is_empty = os.path.isfile(path) and os.path.getsize(path) == 0
    return DataError(
        f"{path}: {'the file is empty; copy it again' if is_empty else _reason(error)}"
    )


def _reason(error: Exception) -> str:
    """Return in a few words why a file cannot be read, and what to do."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    match error:
        case _RefusedError():
            return text
        case UnidentifiedImageError():
            return "unsupported image format; convert it to PNG"
        case Image.DecompressionBombError():
            return f"expected at most {MAX_PIXELS:,} pixels, received far more; scale it down"
        case FileNotFoundError():
            return "file not found; check its name"
        case PermissionError():
            return "permission denied; make the file readable"
        case IsADirectoryError():
            return "it is a folder; choose a file"
    return f"{' '.join(text.split())}; copy it again"
