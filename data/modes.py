"""From pixels of every mode to RGB of 8 bits: gray levels, transparency, what Pillow misreads."""

import contextlib

import numpy as np
from PIL import Image

from data import warn
from data.refused import RefusedError

# Bits of gray levels in cameras and scanners, and what levels between 0 and 1 are stored as.
_BITS = (8, 10, 12, 14, 16)
# The largest value of a channel of 14 bits that is stored in 16, after Pillow took the high byte.
_MAX_HIGH_BYTE_OF_14_BITS = 63
_ROWS = 256
# TIFF tags: https://www.loc.gov/preservation/digital/formats/content/tiff_tags.shtml
_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE, _PLANES, _COLOR_MAP = 258, 262, 281, 284, 320
_SAMPLE_FORMAT, _S_MAX_SAMPLE = 339, 341


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image that is not decoded yet to RGB.

    Transparent areas become white. Gray levels of more than 8 bits are scaled by the range that the
    file gives, else by the smallest usual one that holds them, with a `DataWarning`.

    Args:
        image: of any mode.

    Returns:
        The image itself if it is RGB of 8 bits, else a new one.

    Raises:
        RefusedError: the pixels would be wrong.
    """
    has_16_bits = any(";16" in str(tile) for tile in image.tile)
    if image.format == "TIFF":
        _refuse_misread_tiff(image)
    if image.mode[0] in "IF":
        return _scale_gray(image).convert("RGB")
    if image.mode == "RGB" and not has_16_bits and not image.has_transparency_data:
        return image
    image.load()
    if image.mode == "P" and image.format == "TIFF":
        _repair_palette(image)
    if has_16_bits:
        channels = image.getextrema()[:3]
        if max(high for _, high in channels) <= _MAX_HIGH_BYTE_OF_14_BITS:
            raise RefusedError(
                "expected colors in the whole range of 16 bits, received 14 bits or less, which "
                "would be black; convert the image to 8 bits per channel"
            )
    if not image.has_transparency_data:
        return image.convert("RGB")
    return _on_white(image)


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # multiplied by its opacity, which Pillow cannot convert
        levels = np.asarray(image).astype(int)
        on_white = np.minimum(levels[..., 0] + 255 - levels[..., 1], 255)
        return Image.fromarray(on_white.astype(np.uint8)).convert("RGB")
    image = image.convert("RGBA")
    if image.getextrema()[3][1] == 0:
        colors = image.convert("RGB")
        if all(low == high for low, high in colors.getextrema()):
            raise RefusedError(
                "expected an image, received one that is transparent everywhere; export it anew "
                "without transparency"
            )
        warn("the transparency of images that are transparent everywhere is ignored")
        return colors
    background = Image.new("RGBA", image.size, "white")
    background.alpha_composite(image)
    return background.convert("RGB")


def _scale_gray(image: Image.Image) -> Image.Image:
    """Scale gray levels of more than 8 bits; Pillow's own conversion clips them at 255."""
    given = _given_maximum(image)
    is_inverted = _tag(image, _PHOTOMETRIC) == 0  # Pillow inverts 8 bits only
    levels = np.asarray(image)
    low, high = levels.min(), levels.max()
    # Scaling with interpolation leaves values a little below zero.
    if not np.isfinite([low, high]).all() or low < -0.001 * high or high > 65535 or low < -65535:
        raise RefusedError(
            f"expected gray levels in 0..65,535, received {low:,} to {high:,}; convert the image "
            "to 8 or 16 bits"
        )
    is_fraction = levels.dtype.kind == "f" and high <= 1.001
    if is_fraction:
        largest = 1
    elif 0 < high <= 15:
        raise RefusedError(
            f"expected gray levels in 0..65,535, received 0 to {high:,}, which would be black; "
            "convert the image to 8 bits"
        )
    else:
        reach = max(float(high), given or 0)
        largest = 2 ** next(bits for bits in _BITS if reach < 2**bits) - 1
    if not given and high > 0 and largest < 65535:
        warn(
            f"gray levels of more than 8 bits are scaled by their range, here 0..{largest:,}; "
            "convert such images to 8 bits if they look wrong"
        )
    scaled = np.empty(levels.shape, np.uint8)
    for start in range(0, len(levels), _ROWS):  # at once, it would take 16 bytes per pixel
        rows = slice(start, start + _ROWS)
        scaled[rows] = (np.clip(levels[rows], 0, largest) * (255 / largest)).round()
    return Image.fromarray(255 - scaled if is_inverted else scaled)


def _given_maximum(image: Image.Image) -> int | None:
    """Return the largest level of an image as its file gives it, None if it does not."""
    if image.format == "PPM" and image.mode != "F":
        return 65535  # Pillow has scaled the levels
    if image.format == "PNG":
        bits = _significant_bits(image)
    else:
        bits = _tag(image, _BITS_PER_SAMPLE)
        bits = bits if isinstance(bits, int) and 8 < bits < 16 else None
    if bits:
        return 2**bits - 1
    given = _tag(image, _S_MAX_SAMPLE) or _tag(image, _MAX_SAMPLE)
    return int(given) if isinstance(given, int | float) and 15 < given <= 65535 else None


def _significant_bits(image: Image.Image) -> int | None:
    """Return the bits of a gray PNG, which has 16, that its `sBIT` chunk calls significant."""
    file, position = image.fp, image.fp.tell()
    try:
        file.seek(8)
        for _ in range(1000):
            header = file.read(8)
            length, name = int.from_bytes(header[:4], "big"), header[4:]
            if name == b"sBIT":
                bits = file.read(1)[0]
                return bits if 8 <= bits < 16 else None
            if name in (b"IDAT", b""):
                return None
            file.seek(length + 4, 1)
    except (OSError, IndexError):
        return None
    finally:
        file.seek(position)
    return None


def _tag(image: Image.Image, number: int) -> object:
    """Return the value of a TIFF tag, the first of several, None if there is none."""
    value = None
    # Damaged tags raise anything when they are read.
    with contextlib.suppress(Exception):
        value = image.tag_v2.get(number)
        value = value[0] if isinstance(value, tuple) else value
    return value


def _refuse_misread_tiff(image: Image.Image) -> None:
    bits, sample_format = _tag(image, _BITS_PER_SAMPLE), _tag(image, _SAMPLE_FORMAT)
    if _tag(image, _PLANES) == 2 and bits == 16 and len(image.getbands()) > 1:
        raise RefusedError(
            "expected 8 bits in a TIFF with separate planes, received 16; convert it to PNG"
        )
    if sample_format == 2 and bits == 8:
        raise RefusedError("expected levels from 0, received signed ones; convert it to PNG")


def _repair_palette(image: Image.Image) -> None:
    """Correct a TIFF's palette of 8 bits, where 16 are required: Pillow makes it black."""
    palette = ()
    with contextlib.suppress(Exception):  # as in `_tag`
        palette = image.tag_v2.get(_COLOR_MAP, ())
    if palette and max(palette) <= 255:
        colors = np.reshape(palette, (3, -1)).T.astype(np.uint8)
        image.putpalette(colors.tobytes())
