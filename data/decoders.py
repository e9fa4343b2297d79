"""Which image formats are decoded, and what is refused before memory is taken for its pixels."""

import io
import os
import struct

from PIL import Image, UnidentifiedImageError

from data.avif import frame_sizes
from data.refused import HEAD_BYTES, MAX_PIXELS, MIN_SIDE_LENGTH, RefusedError, check_size, is_heic

# What cameras, phones, browsers and scanners write. Pillow knows forty more formats; each is one
# more decoder for damaged or forged files, some run programs, and some hold images whose size is
# known only after they are decoded. A JPEG 2000 file of 500 bytes can take 8 GB.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
# A JPEG of several images, as stereo cameras write; Pillow opens it as JPEG.
_SEVERAL_JPEG = "MPO"
# The image files of data sets; `find_images` takes all formats that can be decoded.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".heic", ".heif", ".avif"),
)
# Images that are not decoded: in a folder, they are named as skipped, not ignored.
REFUSED_SUFFIXES = (".eps", ".ico", ".icns", ".jp2", ".j2k", ".jpf", ".jpx", ".psd", ".tga")
# Decoders of these formats hold an image three to five times.
_MAX_PIXELS_OF = dict.fromkeys(("WEBP", "AVIF", "HEIF"), MAX_PIXELS // 2)
# Pixels times scans of a JPEG, which decodes all pixels once more in each scan.
_MAX_SCANNED_PIXELS = 4_000_000_000
_START_OF_SCAN = b"\xff\xda"
# TIFF tags
_TILE_WIDTH, _TILE_HEIGHT = 322, 323


def decodable_suffixes() -> set[str]:
    """Return the suffixes of all formats that can be decoded, or could with an optional package."""
    names = {*FORMATS, _SEVERAL_JPEG}
    suffixes = Image.registered_extensions().items()
    return {suffix for suffix, name in suffixes if name in names} | set(IMAGE_SUFFIXES)


def open_image(
    source: str | os.PathLike | io.BytesIO,
    *,
    max_pixels: int = MAX_PIXELS,
    min_side_length: int = MIN_SIDE_LENGTH,
) -> Image.Image:
    """Open an image and check its header; the pixels are not decoded.

    Args:
        source: a file, or its content.
        max_pixels: larger images are refused.
        min_side_length: smaller images are refused.

    Returns:
        The open image.

    Raises:
        RefusedError: the header shows that the image should not be decoded.
        Exception: what Pillow raises on a file that it cannot read.
    """
    image = _open(source)
    try:
        limit = min(max_pixels, _MAX_PIXELS_OF.get(image.format, max_pixels))
        check_size(image.size, limit, min_side_length)
        if image.format in ("JPEG", _SEVERAL_JPEG):
            _check_scans(image)
        if image.format == "AVIF":
            _check_frames(image, limit)
        if image.format == "TIFF":
            _check_tiles(image, limit)
    except BaseException:
        image.close()
        raise
    return image


def _open(source: str | os.PathLike | io.BytesIO) -> Image.Image:
    try:
        return Image.open(source, formats=FORMATS)
    except UnidentifiedImageError:
        if not is_heic(read_head(source)):
            raise
    try:
        from pillow_heif import register_heif_opener  # optional
    except ImportError as error:
        raise RefusedError(
            "expected pillow-heif for a HEIC image; pip install -r requirements-heic.txt"
        ) from error
    # Additional images are neither read nor, if they are scaled copies, taken for the image.
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
    return Image.open(source, formats=("HEIF",))


def read_head(source: str | os.PathLike | io.BytesIO) -> bytes:
    """Return the first bytes of a file or its content."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:HEAD_BYTES]
    with open(source, "rb") as file:
        return file.read(HEAD_BYTES)


def _check_scans(image: Image.Image) -> None:
    """Refuse a JPEG with so many scans that it takes minutes to decode."""
    file, position = image.fp, image.fp.tell()
    try:
        # If the first scan, whose header was just read, has all components, it is the only one.
        length = 6 + 2 * image.layers
        file.seek(max(0, position - length - len(_START_OF_SCAN)))
        only_scan = _START_OF_SCAN + struct.pack(">HB", length, image.layers)
        if not image.info.get("progressive") and file.read(len(only_scan)) == only_scan:
            return
        file.seek(0)
        scans = file.read().count(_START_OF_SCAN)
    finally:
        file.seek(position)
    if scans * image.width * image.height > _MAX_SCANNED_PIXELS:
        raise RefusedError(
            f"expected at most {_MAX_SCANNED_PIXELS:,} pixels in all scans of a JPEG, received "
            f"{scans:,} scans of {image.width} x {image.height}; save it anew as JPEG"
        )


def _check_frames(image: Image.Image, max_pixels: int) -> None:
    """Refuse an AVIF image whose frames are far larger than its header says."""
    file, position = image.fp, image.fp.tell()
    try:
        file.seek(0)
        sizes = frame_sizes(file.read())
    except (ValueError, IndexError, struct.error):
        sizes = []
    finally:
        file.seek(position)
    if not sizes:
        raise RefusedError("expected frames in an AVIF image, found none; copy it again")
    # Transparency is a frame of its own.
    total, limit = sum(width * height for width, height in sizes), 2 * max_pixels
    if total > limit:
        raise RefusedError(
            f"expected at most {limit:,} pixels in all frames of an AVIF image, received "
            f"{total:,}; scale it down"
        )


def _check_tiles(image: Image.Image, max_pixels: int) -> None:
    """Refuse a TIFF with tiles far larger than the image: memory is taken for a whole tile."""
    width, height = (_largest(image.tag_v2.get(tag)) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    if width * height > max_pixels:
        raise RefusedError(
            f"expected tiles of at most {max_pixels:,} pixels, received {width} x {height}; "
            "convert it to PNG"
        )


def _largest(value: object) -> int:
    """Return the largest integer of a tag, which holds one or several; 0 if it has none."""
    values = value if isinstance(value, tuple) else (value,)
    return max((item for item in values if isinstance(item, int)), default=0)
