"""Images with sound pixels and damaged metadata."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from data import DataError
from data.images import check_image, load_bytes, load_image, load_mask, load_pixels

Y, X = np.mgrid[:40, :60]
PIXELS = np.stack([4 * X, 6 * Y, X + Y], axis=2).astype(np.uint8)
ROTATED = np.rot90(PIXELS, -1)


def encode(format_name: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format_name, **options)
    return buffer.getvalue()


JPEG, PNG, TIFF = encode("JPEG", quality=95), encode("PNG"), encode("TIFF")
WEBP = encode("WEBP", lossless=True)


def ifd(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """Return a TIFF header and one table of tags."""
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + struct.pack("<I", following)
    )


# Rotated, and with a resolution of -5/3, which no unsigned rational can hold.
NEGATIVE = ifd((0x112, 3, 1, 6), (0x11A, 10, 1, 38)) + struct.pack("<iI", -5, 3)
EXIF = b"Exif\0\0"


def jpeg_with(marker: int, body: bytes, length: int | None = None) -> bytes:
    length = len(body) + 2 if length is None else length
    return JPEG[:2] + struct.pack(">BBH", 0xFF, marker, length) + body + JPEG[2:]


def chunk(name: bytes, body: bytes, *, length: int | None = None, checksum: int | None = None):
    length = len(body) if length is None else length
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", length) + name + body + struct.pack(">I", checksum)


def png_with(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def webp_with(name: bytes, body: bytes, length: int | None = None) -> bytes:
    header = bytes([0x2C, 0, 0, 0, 59, 0, 0, 39, 0, 0])
    extra = name + struct.pack("<I", len(body) if length is None else length) + body
    content = b"WEBPVP8X\x0a\0\0\0" + header + WEBP[12:] + extra
    return b"RIFF" + struct.pack("<I", len(content)) + content


def tiff_with(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    (start,) = struct.unpack("<I", TIFF[4:8])
    (count,) = struct.unpack("<H", TIFF[start : start + 2])
    old = [struct.unpack_from("<HHII", TIFF, start + 2 + 12 * i) for i in range(count)]
    table = ifd(*sorted([*old, *entries]), following=following)[8:]
    return TIFF[:4] + struct.pack("<I", len(TIFF)) + TIFF[8:] + table


BOMB = zlib.compress(bytes(100_000_000), 1)
UPRIGHT = {
    "JPEG, orientation 300": jpeg_with(0xE1, EXIF + ifd((0x112, 3, 1, 300))),
    "JPEG, orientation as text": jpeg_with(0xE1, EXIF + ifd((0x112, 2, 4, 0x41414141))),
    "JPEG, orientation outside": jpeg_with(0xE1, EXIF + ifd((0x112, 5, 1, 99_999))),
    "JPEG, EXIF that is none": jpeg_with(0xE1, EXIF + b"damaged"),
    "JPEG, EXIF cut off": jpeg_with(0xE1, EXIF + ifd((0x112, 3, 1, 6))[:10]),
    "JPEG, EXIF too short, before a thumbnail": jpeg_with(0xE1, EXIF + ifd() + JPEG, 20),
    "JPEG, short color profile": jpeg_with(0xE2, b"ICC_PROFILE\0"),
    "JPEG, damaged color profile": jpeg_with(0xE2, b"ICC_PROFILE\0\1\2damaged"),
    "JPEG, damaged list of pictures": jpeg_with(0xE2, b"MPF\0damaged"),
    "JPEG, damaged XMP": jpeg_with(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="9'),
    "JPEG, damaged IPTC": jpeg_with(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\xff\xff\xff\xff"),
    "JPEG, short Adobe segment": jpeg_with(0xEE, b"Adobe\0"),
    "JPEG, short JFIF segment": jpeg_with(0xE0, b"JFIF\0"),
    "PNG, eXIf that is none": png_with(chunk(b"eXIf", b"damaged")),
    "PNG, damaged EXIF as text": png_with(
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n  10\nzzzzzz"))
    ),
    "PNG, oversized text": png_with(chunk(b"zTXt", b"k\0\0" + BOMB)),
    "PNG, oversized international text": png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)),
    "PNG, oversized color profile": png_with(chunk(b"iCCP", b"k\0\0" + BOMB)),
    "PNG, oversized text after the pixels": PNG[:-12] + chunk(b"zTXt", b"k\0\0" + BOMB) + PNG[-12:],
    "PNG, much text": png_with(*[chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10**6)))] * 70),
    "PNG, wrong checksum of a text": png_with(chunk(b"tEXt", b"k\0v", checksum=1)),
    "PNG, text that is too long": png_with(chunk(b"tEXt", b"k\0v", length=2**31 - 1)),
    "PNG, text that is too short": png_with(chunk(b"tEXt", b"k\0vvvvvvvvv", length=1)),
    "PNG, short gAMA": png_with(chunk(b"gAMA", b"\0")),
    "PNG, short acTL": png_with(chunk(b"acTL", b"")),
    "WebP, EXIF that is none": webp_with(b"EXIF", b"damaged!"),
    "WebP, EXIF that is too long": webp_with(b"EXIF", b"damaged!", 9999),
    "WebP, XMP that is none": webp_with(b"XMP ", b"damaged!"),
    "TIFF, color profile outside": tiff_with((34675, 7, 1000, 999_999)),
    "TIFF, description of 2 GB": tiff_with((270, 2, 2**31 - 1, 8)),
    "TIFF, pages in a circle": tiff_with(following=8),
    "TIFF, EXIF outside": tiff_with((0x8769, 4, 1, 999_999)),
    "TIFF, orientation as text": tiff_with((274, 2, 4, 0x41414141)),
}
TURNED = {
    "JPEG, negative rational": jpeg_with(0xE1, EXIF + NEGATIVE),
    "JPEG, then a tag outside": jpeg_with(
        0xE1, EXIF + ifd((0x112, 3, 1, 6), (0x110, 2, 1000, 99_999))
    ),
    "JPEG, tables in a circle": jpeg_with(0xE1, EXIF + ifd((0x112, 3, 1, 6), following=8)),
    "JPEG, EXIF that is too long": jpeg_with(0xE1, EXIF + NEGATIVE, 5000),
    "PNG, negative rational": png_with(chunk(b"eXIf", NEGATIVE)),
    "PNG, wrong checksum of EXIF": png_with(chunk(b"eXIf", NEGATIVE, checksum=1)),
    "WebP, negative rational": webp_with(b"EXIF", NEGATIVE),
    "TIFF, camera outside": tiff_with((274, 3, 1, 6), (272, 2, 1000, 999_999)),
}


@pytest.mark.parametrize("title", [*UPRIGHT, *TURNED])
def test_damaged_metadata_do_not_keep_sound_pixels_from_being_used(tmp_path, title):
    content = {**UPRIGHT, **TURNED}[title]
    expected = PIXELS if title in UPRIGHT else ROTATED
    path = tmp_path / "image"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_image(path)
        pixels = load_pixels(path)
        assert pixels.shape == expected.shape
        assert np.abs(pixels.astype(int) - expected).mean() < 3
        assert (load_image(path, 16) == load_bytes(content, 16)).all()
        assert load_mask(path, 16).shape == (16, 16)


@pytest.mark.parametrize("content", [JPEG, PNG, WEBP])
def test_pixels_that_are_cut_off_are_refused_whatever_the_metadata(content):
    with pytest.raises(DataError, match="cannot be read as an image"):
        load_bytes(content[: len(content) // 2], 16)
    damaged = jpeg_with(0xE2, b"ICC_PROFILE\0") if content is JPEG else content
    with pytest.raises(DataError, match="cannot be read as an image"):
        load_bytes(damaged[: len(damaged) // 2], 16)


def test_transparency_is_kept_when_metadata_are_left_out(tmp_path):
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 10, 20))
    buffer = io.BytesIO()
    image.convert("P").save(buffer, "PNG", transparency=image.convert("P").getpixel((19, 0)))
    content = buffer.getvalue()
    content = content[:33] + chunk(b"tEXt", b"k\0v", checksum=1) + content[33:]
    assert (load_bytes(content, 20)[:, 12:] == 255).all()
