"""What is not accepted as an image, and why."""

import re

from PIL import Image, UnidentifiedImageError

# Smaller images show nothing; larger ones take gigabytes to decode.
MIN_SIDE_LENGTH = 8
MAX_PIXELS = 100_000_000
# The longest side of a JPEG or GIF.
_MAX_SIDE_LENGTH = 65_535

# The first bytes of a file that tell what it is.
HEAD_BYTES = 1024

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file with git lfs pull"),
    (b"%PDF-", "a PDF file; export its image as PNG"),
    # Ghostscript would run it, and nobody knows who wrote it.
    (b"%!PS", "an EPS file, which is a program; convert it to PNG"),
    (b"\xc5\xd0\xd3\xc6", "an EPS file, which is a program; convert it to PNG"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image; convert it to PNG"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image; convert it to PNG"),
    (b"\0\0\1\0", "an icon; convert it to PNG"),
    (b"icns", "an icon; convert it to PNG"),
    (b"8BPS", "a Photoshop file; export its image as PNG"),
    (b"PK\3\4", "a ZIP archive; unpack it"),
    (b"Rar!", "an archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "an archive; unpack it"),
    (b"\x1f\x8b", "an archive; unpack it"),
    (b"\x1aE\xdf\xa3", "a video; save one frame of it as PNG"),
    (b"\0\0\1\xba", "a video; save one frame of it as PNG"),
)


class RefusedError(ValueError):
    """An image that could be decoded, but is not accepted; the message holds the remedy."""


def is_heic(head: bytes) -> bool:
    """Tell by its first bytes whether a file is an image in HEIC or HEIF."""
    if head[4:8] != b"ftyp" or head[8:12] in (b"avif", b"avis"):
        return False
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[i : i + 4] for i in range(16, size - 3, 4))}
    return bool(brands & set(_HEIC_BRANDS)) and b"avif" not in brands


def _describe_content(head: bytes) -> str:
    """Return what a file is by its first bytes, and what to do; empty if it is not known."""
    if is_heic(head):
        return "a damaged HEIC image; copy it again"
    for start, kind in _STARTS:
        if head.startswith(start):
            return kind
    if head[4:8] == b"ftyp" and b"avif" not in head[8:64]:
        return "a video; save one frame of it as PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "a video; save one frame of it as PNG"
    if head[128:132] == b"DICM":
        return "a DICOM file; export its image as PNG"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = head[: len(head) // 2 * 2].decode("utf-16", errors="replace").encode()
    else:
        text = head.removeprefix(b"\xef\xbb\xbf")
    text = text.strip().lower()
    if re.match(rb"(<!--.*?-->\s*)*(<\?xml[^>]*>\s*)?<(!doctype html|html|head|body)", text, re.S):
        return "a web page; download the image itself"
    if b"<svg" in text and text.startswith(b"<"):
        return "an SVG drawing; convert it to PNG"
    # Text has no control characters but tabs and ends of lines; less may be a cut-off image.
    if len(text) >= 16 and not re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]", text) and _is_utf8(text):
        return "text; copy the image itself"
    return ""


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a letter that the end of the head cuts off
    return True


def check_size(size: tuple[int, int], max_pixels: int, min_side_length: int) -> None:
    """Refuse an image by its width and height."""
    width, height = size
    if min(size) < min_side_length:
        raise RefusedError(
            f"expected at least {min_side_length} x {min_side_length} pixels, received "
            f"{width} x {height}; use a larger image"
        )
    if width * height > max_pixels:
        raise RefusedError(
            f"expected at most {max_pixels:,} pixels, received {width} x {height}; scale it down"
        )
    if max(size) > _MAX_SIDE_LENGTH:
        raise RefusedError(
            f"expected sides of at most {_MAX_SIDE_LENGTH:,} pixels, received {width} x {height}; "
            "scale it down"
        )


def reason(error: Exception, head: bytes) -> str:
    """Return in a few words why a file with these first bytes cannot be read, and what to do."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    match error:
        case RefusedError():
            return text
        case UnidentifiedImageError() if found := _describe_content(head):
            return f"expected an image, received {found}"
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
        case MemoryError():
            return (
                "it takes more memory than there is, or is damaged; close other programs, or scale "
                "it down"
            )
    return f"{' '.join(text.split())}; copy it again"
