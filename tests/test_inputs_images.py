"""Every row of the images in docs/inputs.md."""

import errno
import os
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from input_rows import jpeg, make_image, matches, read_rows
from PIL import Image

import predict

pytestmark = pytest.mark.usefixtures("shallow_baseline", "without_notes")


def decompression_bomb() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


def write_animation(path: Path) -> None:
    make_image().save(path, save_all=True, append_images=[make_image("L")])


def write_rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    make_image().save(path, exif=exif)


def write_folder(path: Path) -> None:
    path.mkdir()
    make_image().save(path / "inside.png")


def link_to_folder(path: Path) -> None:
    target = path.parent.parent / "elsewhere"
    write_folder(target)
    # Searched once, although it links to itself and two links lead to it.
    (target / "itself").symlink_to(target)
    path.symlink_to(target)
    path.with_name("linked too").symlink_to(target)


def write_unreadable(path: Path) -> None:
    path.write_bytes(jpeg())
    path.chmod(0)


def write_size(width: int, height: int) -> Callable[[Path], None]:
    return lambda path: Image.new("1", (width, height)).save(path)


def write_canvas(path: Path) -> None:
    """Write an animated WebP with a canvas that is larger than its frames."""
    write_animation(path)
    content = bytearray(path.read_bytes())
    content[24:27] = content[27:30] = struct.pack("<I", 9000 - 1)[:3]
    path.write_bytes(content)


def write_levels(level: int, dtype: type) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(np.full((20, 20), level, dtype)).save(path)


def write_mode(mode: str) -> Callable[[Path], None]:
    return lambda path: make_image(mode).save(path)


def write_clear(path: Path) -> None:
    image = make_image("RGBA")
    image.putalpha(0)
    image.save(path)


def write_range(largest: float, dtype: type) -> Callable[[Path], None]:
    levels = np.linspace(0, largest, 400).reshape(20, 20).astype(dtype)
    return lambda path: Image.fromarray(levels).save(path)


def write_segment(marker: int, body: bytes) -> Callable[[Path], None]:
    """Return what writes a JPEG with one more segment."""
    segment = struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body
    return lambda path: path.write_bytes(jpeg()[:2] + segment + jpeg()[2:])


def exif_with_negative_rational() -> bytes:
    table = struct.pack("<HHHIIIiI", 1, 0x11A, 10, 1, 26, 0, -5, 3)
    return b"Exif\0\0II*\0\x08\0\0\0" + table


def write_chunk(name: bytes, body: bytes) -> Callable[[Path], None]:
    """Return what writes a PNG with one more chunk."""

    def write(path: Path) -> None:
        make_image().save(path)
        content, checksum = path.read_bytes(), struct.pack(">I", zlib.crc32(name + body))
        chunk = struct.pack(">I", len(body)) + name + body + checksum
        path.write_bytes(content[:33] + chunk + content[33:])

    return write


def write_deep_colors(path: Path) -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20, 20, 16, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress((b"\0" + b"\x0f\xff" * 60) * 20)
    chunks = [
        struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
        for body in (header, pixels, b"IEND")
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_in_folder(path: Path) -> None:
    path.parent.mkdir()
    make_image().save(path)


def write_mask(path: Path) -> None:
    levels = np.zeros((20, 20), np.uint8)
    levels[5:15, 5:15] = 255
    Image.fromarray(levels).save(path)


def write_content(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content)


# Name of each file, and what writes it.
IMAGES = {
    "JPEG": ("a.jpg", write_mode("RGB")),
    "uppercase suffix, `.JPG`": ("A.JPG", write_mode("RGB")),
    "`.jfif`, as browsers save JPEG": ("a.jfif", write_content(jpeg())),
    "PNG with transparency": ("clear.png", write_mode("RGBA")),
    "image that is transparent everywhere": ("empty.png", write_clear),
    "PNG with a palette": ("palette.png", write_mode("P")),
    "AVIF": ("color.avif", write_mode("RGB")),
    "animated GIF": ("moving.gif", write_animation),
    "animated WebP": ("moving.webp", write_animation),
    "grayscale JPEG": ("gray.jpg", write_mode("L")),
    "16-bit grayscale PNG": ("deep.png", write_levels(40_000, np.uint16)),
    "32-bit TIFF with gray levels 0..255": ("32.tif", write_range(255, np.int32)),
    "TIFF with gray levels 0..1": ("float.tif", write_range(1, np.float32)),
    "12-bit gray levels in 16 bits": ("12.tif", write_range(4095, np.uint16)),
    "CMYK JPEG": ("print.jpg", write_mode("CMYK")),
    "image rotated by EXIF": ("rotated.jpg", write_rotated),
    "JPEG with a negative rational in EXIF": (
        "negative.jpg",
        write_segment(0xE1, exif_with_negative_rational()),
    ),
    "JPEG with a damaged color profile": ("profile.jpg", write_segment(0xE2, b"ICC_PROFILE\0")),
    "PNG with an oversized text chunk": (
        "text.png",
        write_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(10_000_000))),
    ),
    "file name that is not ASCII": ("läsion 皮膚.jpg", write_mode("RGB")),
    "file name of 240 characters": ("n" * 236 + ".jpg", write_mode("RGB")),
    "folder named `x.jpg`": ("x.jpg", write_folder),
    "link to a file": ("link.jpg", lambda path: path.symlink_to(path.with_name("a.jpg"))),
    "link to a folder": ("linked", link_to_folder),
    "pattern such as `folder/*.png`, if the shell does not expand it": (
        "../pattern/a.png",
        write_in_folder,
    ),
    "segmentation mask in a folder, by its name or content": ("a_segmentation.png", write_mask),
    "segmentation mask given as image": ("../b_mask.png", write_mask),
    "HDF5 in a folder; Pillow recognizes it but cannot decode it": (
        "weights.h5",
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)),
    ),
    "missing file": ("gone.jpg", lambda path: None),
    "broken link": ("dangling.jpg", lambda path: path.symlink_to("/nowhere/at/all")),
    "empty file": ("zero.jpg", lambda path: path.touch()),
    "truncated JPEG": ("half.jpg", lambda path: path.write_bytes(jpeg()[:700])),
    "text file named `.jpg`": ("text.jpg", lambda path: path.write_text("not an image")),
    "JSON named `.jpg`": ("json.jpg", write_content(b'{"error": "not found"}')),
    "web page named `.jpg`": ("page.jpg", write_content(b"<!DOCTYPE html><html></html>")),
    "Git LFS pointer": (
        "pointer.jpg",
        write_content(b"version https://git-lfs.github.com/spec/v1"),
    ),
    "PDF named `.jpg`": ("document.jpg", write_content(b"%PDF-1.4\n\xe2\xe3")),
    "HEIC, named `.heic` or `.jpg`, without `pillow-heif`": (
        "phone.jpg",
        write_content(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(90)),
    ),
    "file without read permission": ("secret.jpg", write_unreadable),
    "1 x 1 pixel": ("dot.png", lambda path: Image.new("RGB", (1, 1)).save(path)),
    "20,000 x 20,000 pixels": ("bomb.png", lambda path: path.write_bytes(decompression_bomb())),
    "32-bit gray levels that exceed 16 bits": ("deeper.tif", write_levels(70_000, np.int32)),
    "gray levels with NaN": ("nan.tif", write_levels(np.nan, np.float32)),
    "colors of 12 bits in 16": ("colors.png", write_deep_colors),
    "70,000 x 20 pixels": ("long.png", write_size(70_000, 20)),
    "WebP, AVIF or HEIC of more than 50 megapixels": ("canvas.webp", write_canvas),
    "JPEG 2000": ("scan.jp2", write_mode("RGB")),
    "icon, `.ico` or `.icns`": ("icon.ico", write_mode("RGB")),
    "EPS, which is a program": ("program.eps", write_mode("RGB")),
}


def test_images(untrained_model, tmp_path, capsys, monkeypatch):
    rows = read_rows("Images")
    assert [title for title, _, _ in rows] == list(IMAGES)
    root = tmp_path / "images"
    root.mkdir()
    for name, write in IMAGES.values():
        write(root / name)
    if os.access(root / "secret.jpg", os.R_OK):  # root may read every file
        open_file = open

        def open_as_user(path, *args, **options):
            if str(path).endswith("secret.jpg"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return open_file(path, *args, **options)

        monkeypatch.setattr("builtins.open", open_as_user)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    given = [root, root / "gone.jpg", root / "../b_mask.png", root / "../pattern/*.png"]
    argv = ["--image", *map(str, given), "--model_path", str(untrained_model)]
    assert predict.main([*argv, "--output", str(tmp_path / "table.csv")]) == 1
    errors = capsys.readouterr().err.splitlines()
    images = pd.read_csv(tmp_path / "table.csv")["image"]
    assert images.is_unique
    predicted = set(images)
    for title, outcome, line in rows:
        path = root / IMAGES[title][0]
        if path.is_dir():
            path = path / "inside.png"
        is_skipped = outcome.startswith("skipped")
        if is_skipped:
            (found,) = [error for error in errors if str(path) in error]
            assert matches(line, found), found
        elif line:
            assert any(matches(line, error) for error in errors), title
        assert (str(path) in predicted) != (is_skipped or outcome == "ignored"), title
    assert len(errors) == sum(bool(line) for _, _, line in rows)
