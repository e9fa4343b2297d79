"""Gray levels of more than 8 bits, transparency, and what Pillow would misread."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.images import load_bytes, load_image

GRADIENT = np.linspace(0, 255, 400).round().reshape(20, 20)


def tiff(levels: np.ndarray, **tags) -> bytes:
    """Return an uncompressed little-endian TIFF; tags by number, of short values."""
    height, width, *channels = levels.shape
    bits = 8 * levels.dtype.itemsize
    count = channels[0] if channels else 1
    sample_format = {"u": 1, "i": 2, "f": 3}[levels.dtype.kind]
    entries = {
        256: [width],
        257: [height],
        258: [bits] * count,
        259: [1],
        262: [2 if count > 2 else 1],
        273: [8],
        277: [count],
        278: [height],
        339: [sample_format] * count,
        **{int(name[1:]): value for name, value in tags.items()},
    }
    data = levels.astype(levels.dtype.newbyteorder("<")).tobytes()
    entries[279] = [len(data)]
    start = 8 + len(data)
    extra, table = b"", b""
    for number, values in sorted(entries.items()):
        packed = struct.pack(f"<{len(values)}H", *values)
        if len(packed) > 4:
            offset = start + 2 + 12 * len(entries) + 4 + len(extra)
            extra += packed
            packed = struct.pack("<I", offset)
        table += struct.pack("<HHI", number, 3, len(values)) + packed.ljust(4, b"\0")
    count = struct.pack("<H", len(entries))
    return b"II*\0" + struct.pack("<I", start) + data + count + table + bytes(4) + extra


def png(pixels: np.ndarray, color_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of 16 bits."""
    raw = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )


ASSUMED = {
    "int32 TIFF 0..255": (tiff(GRADIENT.astype(np.int32)), "255"),
    "uint32 TIFF 0..255": (tiff(GRADIENT.astype(np.uint32)), "255"),
    "int16 TIFF 0..255": (tiff(GRADIENT.astype(np.int16)), "255"),
    "uint16 TIFF 0..255": (tiff(GRADIENT.astype(np.uint16)), "255"),
    "float TIFF 0..255": (tiff(GRADIENT.astype(np.float32)), "255"),
    "float TIFF 0..1": (tiff((GRADIENT / 255).astype(np.float32)), "1"),
    "float TIFF 0..1023": (tiff((GRADIENT / 255 * 1023).astype(np.float32)), "1,023"),
    "PFM 0..255": (b"Pf\n20 20\n-1\n" + GRADIENT[::-1].astype("<f4").tobytes(), "255"),
    "10-bit TIFF": (tiff((GRADIENT / 255 * 1023).round().astype(np.uint16)), "1,023"),
    "12-bit TIFF": (tiff((GRADIENT / 255 * 4095).round().astype(np.uint16)), "4,095"),
    "14-bit TIFF": (tiff((GRADIENT / 255 * 16383).round().astype(np.uint16)), "16,383"),
    "12-bit PNG": (png((GRADIENT / 255 * 4095).round(), 0), "4,095"),
}
DARK = GRADIENT / 255 * 1000
GIVEN = {
    "12-bit PNG with sBIT": (png(DARK, 0, (b"sBIT", b"\x0c")), 4095),
    "TIFF with MaxSampleValue": (tiff(DARK.astype(np.uint16), _281=[4095]), 4095),
    "TIFF with SMaxSampleValue": (tiff(DARK.astype(np.uint16), _341=[4095]), 4095),
    "PGM": (b"P5 20 20 4095\n" + DARK.astype(">u2").tobytes(), 4095),
}


@pytest.mark.parametrize("title", ASSUMED)
def test_gray_levels_are_scaled_by_their_range_and_that_is_said(title):
    content, largest = ASSUMED[title]
    with pytest.warns(DataWarning, match=f"here 0..{largest};"):
        image = load_bytes(content, 20)
    assert np.abs(image - GRADIENT[..., None]).max() <= 1


@pytest.mark.parametrize("title", GIVEN)
def test_gray_levels_are_scaled_by_what_the_file_says(title):
    content, largest = GIVEN[title]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = load_bytes(content, 20)
    assert np.abs(image - (DARK / largest * 255)[..., None]).max() <= 1


def test_many_images_with_the_same_range_warn_once(tmp_path):
    (tmp_path / "a.tif").write_bytes(ASSUMED["12-bit TIFF"][0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            load_image(tmp_path / "a.tif", 8)
    assert len(caught) == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_which_zero_is_white_is_inverted(dtype):
    largest = np.iinfo(dtype).max
    image = load_bytes(tiff((GRADIENT / 255 * largest).astype(dtype), _262=[0]), 20)
    assert np.abs(255 - image - GRADIENT[..., None]).max() <= 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(np.full((20, 20), np.nan, np.float32)), "received nan to nan"),
        (tiff(np.full((20, 20), np.inf, np.float32)), "received inf to inf"),
        (tiff(np.linspace(-1, 1, 400, dtype=np.float32).reshape(20, 20)), "received -1.0 to 1.0"),
        (tiff(np.full((20, 20), 70_000, np.int32)), "received 70,000 to 70,000"),
        (tiff(np.full((20, 20), 3, np.uint16)), "which would be black"),
        (tiff(np.full((20, 20), -5, np.int8)), "received signed ones"),
        (tiff(np.full((20, 20, 3), 4000, np.uint16)), "received 14 bits or less"),
        (png(np.full((20, 20, 3), 4000), 2), "received 14 bits or less"),
        (png(np.full((20, 20, 2), 4000), 4), "received 14 bits or less"),
        (tiff(np.full((20, 20, 3), 40_000, np.uint16), _284=[2]), "separate planes"),
    ],
)
def test_pixels_that_would_be_wrong_are_refused(content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        load_bytes(content, 20)
    assert "\n" not in str(caught.value)


def test_colors_of_16_bits_are_scaled_to_8():
    levels = np.repeat(GRADIENT[..., None] * 257, 3, axis=2).astype(np.uint16)
    assert np.abs(load_bytes(tiff(levels), 20) - GRADIENT[..., None]).max() <= 1


def test_a_palette_of_8_bits_in_a_tiff_is_not_black():
    content = tiff(GRADIENT.astype(np.uint8), _262=[3], _320=[*range(256)] * 3)
    assert (load_bytes(content, 20) == GRADIENT[..., None]).all()


def test_gray_that_is_multiplied_by_its_opacity_is_put_on_white():
    levels = np.dstack([np.full((20, 20), 150), np.full((20, 20), 200)]).astype(np.uint8)
    assert (load_bytes(tiff(levels, _338=[1], _262=[1]), 20) == 205).all()


def test_transparency_everywhere_is_ignored_with_a_warning_if_there_are_colors():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 4), np.uint8)
    pixels[..., 3] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    with pytest.warns(DataWarning, match="transparent everywhere"):
        assert (load_bytes(buffer.getvalue(), 20) == pixels[..., :3]).all()
    Image.new("RGBA", (20, 20)).save(buffer := io.BytesIO(), "PNG")
    with pytest.raises(DataError, match="transparent everywhere; export it anew"):
        load_bytes(buffer.getvalue(), 20)
