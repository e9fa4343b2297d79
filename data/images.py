"""The only place where a file becomes pixels."""

import io
import os
from collections.abc import Iterable
from typing import IO

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from data import DataError
from data.folders import walk

# In smaller pictures nothing can be seen; larger ones take gigabytes to decode.
MIN_SIDE = 8
MAX_PIXELS = 100_000_000


class _UnfitError(ValueError):
    """A picture that could be decoded, but is not taken; the message says what to do."""


def find_images(sources: Iterable[str | os.PathLike]) -> list[str]:
    """List image files, those inside of folders included.

    Args:
        sources: files, taken as they are, and folders, searched with all their subfolders for
            files with an ending that Pillow can decode.

    Returns:
        Paths in the order of the sources, sorted within a folder.

    Raises:
        DataError: a folder holds no images.
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
            # What macOS writes beside files on other systems' disks is named like them.
            if os.path.splitext(name)[1].lower() in suffixes and not name.startswith("._")
        ]
        if not inside:
            raise DataError(f"expected images in the folder {source}, found none")
        paths += sorted(inside)
    return paths


def _has_decoder(format_name: str) -> bool:
    """Tell whether Pillow decodes a format itself; of some it knows the header only."""
    factory = Image.OPEN[format_name][0]
    is_stub = isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    return not is_stub and format_name != "MPEG"


def load_image(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read an image file as the model sees it.

    Args:
        path: a file that Pillow can read.
        image_size: side of the result, pixels.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255: the upright picture's central square,
        scaled, so that a lesion keeps its shape.

    Raises:
        DataError: the file cannot be read as an image.
    """
    try:
        return decode_image(path, image_size)
    except Exception as error:  # for a broken file Pillow's decoders raise whatever they meet
        raise _refusal(path, error) from error


def load_bytes(content: bytes, image_size: int, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture that is in memory, as the model sees it; see `load_image`.

    Args:
        content: of an image file.
        image_size: side of the result, pixels.
        max_pixels: larger pictures are refused by their header.

    Raises:
        DataError: the content cannot be read as an image.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            _check(image, max_pixels)
        return decode_image(io.BytesIO(content), image_size)
    except Exception as error:  # as in load_image
        reason = _reason(error) if content else "it is empty"
        raise DataError(f"this file cannot be read as an image: {reason}") from error


def load_pixels(path: str | os.PathLike) -> np.ndarray:
    """Read the whole picture in its own size.

    Args:
        path: a file that Pillow can read.

    Returns:
        uint8 `[height, width, 3]`, RGB 0..255, upright.

    Raises:
        DataError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            _check(image)
            return np.asarray(_upright_rgb(image))
    except Exception as error:  # as in load_image
        raise _refusal(path, error) from error


def check_image(path: str | os.PathLike) -> None:
    """Read the header of an image file only.

    Args:
        path: a file that Pillow can read.

    Raises:
        DataError: `load_image` would refuse the file, as far as its header tells.
    """
    try:
        with Image.open(path) as image:
            _check(image)
    except Exception as error:  # as in load_image
        raise _refusal(path, error) from error


def decode_image(source: str | os.PathLike | IO[bytes], image_size: int) -> np.ndarray:
    """Decode a picture into the model's input; see `load_image`.

    Of an animation the first frame is taken; transparency is laid over white; 16 bits are scaled
    to 8.

    Args:
        source: a path or an open binary file.
        image_size: side of the result, pixels.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB 0..255.

    Raises:
        ValueError: the picture is smaller or larger than this project takes.
        Exception: any other, as Pillow raises it for a file that it cannot read.
    """
    with Image.open(source) as image:
        _check(image)
        # Lets the JPEG decoder halve large pictures while decoding, never below the target.
        image.draft("RGB", (image_size, image_size))
        square = _central_square(_upright_rgb(image), image_size, Image.Resampling.BICUBIC)
        return np.asarray(square)


def _check(image: Image.Image, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse by the header what should not be decoded."""
    width, height = image.size
    if min(width, height) < MIN_SIDE:
        raise _UnfitError(
            f"{width} x {height} pixels, at least {MIN_SIDE} x {MIN_SIDE} are needed; "
            "take a larger one"
        )
    if width * height > max_pixels:
        raise _UnfitError(
            f"{width} x {height} pixels, at most {max_pixels:,} are taken; scale it down"
        )
    # Pillow would hand it to Ghostscript, and run what somebody else wrote.
    if image.format == "EPS":
        raise _UnfitError("EPS files are programs; convert it to PNG")


def _upright_rgb(image: Image.Image) -> Image.Image:
    # In place, and converted only where needed: copies cost a tenth of the whole.
    ImageOps.exif_transpose(image, in_place=True)
    return image if image.mode == "RGB" else _to_rgb(image)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        if levels.min() < 0 or levels.max() > 65535:
            raise _UnfitError("its grey levels are not those of 16 bits; convert it to PNG")
        # Pillow's own conversion would cut off all above 255.
        return Image.fromarray((levels / 257).round().astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    over = Image.new("RGBA", image.size, "white")
    over.alpha_composite(image.convert("RGBA"))
    return over.convert("RGB")


def load_mask(path: str | os.PathLike, image_size: int) -> np.ndarray:
    """Read the outline of a lesion, cut and scaled as `load_image` does with its picture.

    Args:
        path: a greyscale picture, bright inside the lesion, in any size of the picture's shape.
        image_size: side of the result, pixels.

    Returns:
        bool `[image_size, image_size]`, True inside the lesion.

    Raises:
        DataError: the file cannot be read as an image.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("L")
    except Exception as error:  # as in load_image
        raise DataError(f"{path} should be a mask, but cannot be read: {_reason(error)}") from error
    # Grey levels come from scaling, and half of the range is the edge.
    return np.asarray(_central_square(upright, image_size, Image.Resampling.NEAREST)) >= 128


def _refusal(path: str | os.PathLike, error: Exception) -> DataError:
    empty = os.path.isfile(path) and os.path.getsize(path) == 0
    return DataError(
        f"{path} should be an image, but cannot be read as one: "
        f"{'the file is empty; copy it anew' if empty else _reason(error)}"
    )


def _reason(error: Exception) -> str:
    """Say in a few words why a file cannot be read, without its path, and what to do."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    match error:
        case _UnfitError():
            return text
        case UnidentifiedImageError():
            return "it is in no format that Pillow knows; convert it to PNG"
        case Image.DecompressionBombError():
            return f"far more than {MAX_PIXELS:,} pixels; scale it down"
        case FileNotFoundError():
            return f"{text}; look at its name"
        case PermissionError():
            return f"{text}; allow reading it"
    return f"{' '.join(text.split())}; copy it anew"


def _central_square(image: Image.Image, image_size: int, resample: Image.Resampling) -> Image.Image:
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return image.resize((image_size, image_size), resample=resample, box=box)
