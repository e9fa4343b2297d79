"""Orientation, and files without their metadata: damage there does not concern the pixels."""

import contextlib
import io
import os
import re
import struct
import zlib

from PIL import Image

_ORIENTATION = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Larger files are not read into memory.
_MAX_BYTES = 500_000_000
# The TIFF tags that pixels depend on, and the orientation.
_PIXEL_TAGS = {
    *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 284, 292, 293, 317),
    *(320, 322, 323, 324, 325, 332, 338, 339, 340, 341, 347, 529, 530, 531, 532),
}


def upright(image: Image.Image, original: Image.Image) -> Image.Image:
    """Rotate or mirror an image by its EXIF orientation; one that cannot be read is ignored.

    Args:
        image: the image, perhaps converted.
        original: as it was decoded, with its metadata.

    Returns:
        The image itself if it is upright, else a new one.
    """
    orientation = None
    with contextlib.suppress(Exception):  # on damaged EXIF Pillow raises anything
        orientation = original.getexif().get(_ORIENTATION)
    if isinstance(orientation, int) and orientation in _TRANSPOSITIONS:
        return image.transpose(_TRANSPOSITIONS[orientation])
    return image


def without_metadata(source: str | os.PathLike | io.BytesIO) -> bytes | None:
    """Return the content of an image file with what its pixels depend on, and its orientation.

    Args:
        source: a JPEG, PNG, WebP or TIFF file, or its content.

    Returns:
        The content, None if there is nothing to leave out or the file has another format.
    """
    if isinstance(source, io.BytesIO):
        content = source.getvalue()
    elif os.path.getsize(source) > _MAX_BYTES:
        return None
    else:
        with open(source, "rb") as file:
            content = file.read()
    reduced = None
    # A file that is damaged elsewhere lacks the structure that is looked for.
    with contextlib.suppress(struct.error, IndexError, ValueError):
        if content.startswith(b"\xff\xd8"):
            reduced = _reduce_jpeg(content)
        elif content.startswith(b"\x89PNG\r\n\x1a\n"):
            reduced = _reduce_png(content)
        elif content.startswith(b"RIFF") and content[8:12] == b"WEBP":
            reduced = _reduce_webp(content)
        elif content[:4] in (b"II*\0", b"MM\0*"):
            reduced = _reduce_tiff(content)
    return reduced if reduced != content else None


def _orientation_exif(exif: bytes) -> bytes:
    """Return EXIF that holds nothing but the orientation of other EXIF, empty if it has none."""
    with contextlib.suppress(Exception):  # as in `upright`
        old = Image.Exif()
        old.load(exif)
        orientation = old.get(_ORIENTATION)
        if isinstance(orientation, int) and orientation in _TRANSPOSITIONS:
            new = Image.Exif()
            new[_ORIENTATION] = orientation
            return new.tobytes()
    return b""


def _reduce_jpeg(content: bytes) -> bytes:
    """Leave out application data and comments, except what says how colors are stored."""
    jfif, exif, parts = b"", b"", []
    position, marker = 2, 0
    while marker != 0xDA:  # the start of the pixels
        while content[position + 1] == 0xFF:  # fill bytes
            position += 1
        marker = content[position + 1]
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        segment = content[position:end]
        is_metadata = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if is_metadata and not _starts_segment(content, end):
            end = _first_table(content, position + 4)
            is_sound = False
        else:
            is_sound = True
        if not is_metadata:
            parts.append(segment)
        elif segment[4:].startswith(b"Exif\0\0"):
            exif = exif or _orientation_exif(segment[4:])
        elif is_sound and marker == 0xE0 and segment[4:8] == b"JFIF" and len(segment) >= 18:
            jfif = segment
        elif is_sound and marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16:
            parts.append(segment)
        position = end
    if exif:
        exif = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    return b"\xff\xd8" + jfif + exif + b"".join(parts) + content[position:]


def _starts_segment(content: bytes, position: int) -> bool:
    return content[position : position + 1] == b"\xff" and content[position + 1] >= 0xC0


def _first_table(content: bytes, start: int) -> int:
    """Return where the first table of an image begins that is not that of a thumbnail."""
    depth = 0
    for found in re.compile(rb"\xff\xd8\xff|\xff\xd9|\xff\xdb\0").finditer(content, start):
        if found[0] == b"\xff\xdb\0" and not depth:
            return found.start()
        depth += (found[0] == b"\xff\xd8\xff") - (found[0] == b"\xff\xd9")
    raise ValueError("expected a table of an image, found none")


def _reduce_png(content: bytes) -> bytes:
    """Leave out all ancillary chunks but transparency."""
    exif, parts = b"", [content[:8]]
    position = 8
    while position + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[position : position + 8])
        end = position + 12 + length
        is_ancillary = name.isalpha() and name[:1].islower()
        # The length of metadata may be wrong: then no chunk follows.
        is_broken = is_ancillary and end < len(content) and not content[end + 4 : end + 8].isalpha()
        if not name.isalpha() or (is_ancillary and end > len(content)) or is_broken:
            found = re.compile(rb"PLTE|tRNS|IDAT|IEND").search(content, position + 8)
            if not found:
                break
            position = found.start() - 4
            continue
        if name == b"eXIf":
            exif = _orientation_exif(content[position + 8 : end - 4])
        if not is_ancillary or name == b"tRNS":
            parts.append(content[position:end])
        position = end
    if exif:
        chunk = b"eXIf" + exif.removeprefix(b"Exif\0\0")
        length, checksum = struct.pack(">I", len(chunk) - 4), struct.pack(">I", zlib.crc32(chunk))
        parts.insert(2, length + chunk + checksum)  # after the header
    return b"".join(parts)


def _reduce_webp(content: bytes) -> bytes:
    """Leave out color profile, EXIF and XMP."""
    exif, parts = b"", []
    position = 12
    while position + 8 <= len(content):
        name, length = struct.unpack("<4sI", content[position : position + 8])
        end = position + 8 + length + length % 2
        body = content[position + 8 : end]
        if name == b"VP8X":  # its first byte announces what is left out
            body = bytes([body[0] & 0b11010011]) + body[1:]
        if name == b"EXIF":
            exif = _orientation_exif(body)
        elif name in (b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ANMF"):
            parts.append(content[position : position + 8] + body)
        position = end
    if exif and parts[0].startswith(b"VP8X"):
        exif += bytes(len(exif) % 2)
        parts[0] = parts[0][:8] + bytes([parts[0][8] | 0b1000]) + parts[0][9:]
        parts.append(b"EXIF" + struct.pack("<I", len(exif)) + exif)
    body = b"WEBP" + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _reduce_tiff(content: bytes) -> bytes:
    """Leave out further pages and all tags that say nothing about the pixels."""
    order = "<" if content.startswith(b"II") else ">"
    (start,) = struct.unpack(order + "I", content[4:8])
    (count,) = struct.unpack(order + "H", content[start : start + 2])
    table = content[start + 2 : start + 2 + 12 * count]
    entries = [table[i : i + 12] for i in range(0, len(table), 12)]
    kept = [e for e in entries if struct.unpack(order + "H", e[:2])[0] in _PIXEL_TAGS]
    # The values stay where they are: only the table changes.
    new = struct.pack(order + "H", len(kept)) + b"".join(kept) + b"\0\0\0\0"
    return content[:start] + new + content[start + len(new) :]
