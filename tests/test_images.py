import struct
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from data import DataError
from data.images import check_image, load_bytes, load_image, load_mask, load_masks, load_pixels


def test_the_central_square_is_taken_and_shapes_are_kept(tmp_path):
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, :20] = (255, 0, 0)
    pixels[:, 20:60] = (0, 255, 0)
    pixels[:, 60:] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    image = load_image(tmp_path / "wide.png", 20)
    assert image.shape == (20, 20, 3)
    assert image.dtype == np.uint8
    # Interpolation at the edges reads pixels beside the square.
    assert (image[:, 2:-2] == (0, 255, 0)).all()
    assert (image.argmax(axis=2) == 1).all()


def test_an_image_of_the_target_size_is_unchanged(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "same.png")
    assert (load_image(tmp_path / "same.png", 24) == pixels).all()


def test_a_large_jpeg_decoded_at_reduced_size_looks_like_the_full_decode(tmp_path):
    y, x = np.mgrid[:450, :600]
    waves = 127 + 100 * np.sin(x / 40)[..., None] * np.cos(y / 30)[..., None] * np.ones(3)
    Image.fromarray(waves.astype(np.uint8)).save(tmp_path / "large.jpg", quality=95)
    image = load_image(tmp_path / "large.jpg", 90)
    with Image.open(tmp_path / "large.jpg") as full:
        square = full.crop((75, 0, 525, 450)).resize((90, 90), Image.Resampling.BICUBIC)
    assert np.abs(image.astype(int) - np.asarray(square)).mean() < 2


def test_an_image_is_rotated_upright_and_converted_to_rgb(tmp_path):
    pixels = np.zeros((20, 20), np.uint8)
    pixels[:10] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "rotated.jpg", exif=exif, quality=100)
    image = load_image(tmp_path / "rotated.jpg", 20)
    assert image[:, 12:].min() > 150
    assert image[:, :8].max() < 50


def make_image(mode: str = "RGB", size: tuple[int, int] = (20, 20)) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).convert(mode)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_exif_orientations_become_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    make_image().save(tmp_path / "rotated.png", exif=exif)
    array = np.asarray(make_image())
    upright = {
        1: array,
        2: array[:, ::-1],
        3: array[::-1, ::-1],
        4: array[::-1],
        5: array.transpose(1, 0, 2),
        6: np.rot90(array, -1),
        7: array[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(array),
    }[orientation]
    assert (load_image(tmp_path / "rotated.png", 20) == upright).all()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("color.png", "RGB"),
        ("UPPER.PNG", "RGB"),
        ("palette.png", "P"),
        ("palette.gif", "P"),
        ("gray.png", "L"),
        ("gray.jpg", "L"),
        ("bits.png", "1"),
        ("print.jpg", "CMYK"),
        ("print.tif", "CMYK"),
        ("bitmap.bmp", "RGB"),
        ("läsion é 皮膚.png", "RGB"),
        ("n" * 240 + ".png", "RGB"),
    ],
)
def test_other_formats_and_modes_have_the_pixels_of_pillow(tmp_path, name, mode):
    make_image(mode).save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        expected = np.asarray(image.convert("RGB"))
    assert (load_image(tmp_path / name, 20) == expected).all()


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp", "pages.tif"])
def test_the_first_of_many_frames_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "lime", "blue")]
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    image = load_image(tmp_path / name, 20)
    assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_areas_become_white(tmp_path, mode):
    image = Image.new("RGBA", (20, 20), (255, 0, 0, 255)).convert(mode)
    if mode == "P":
        image.paste(image.getpixel((0, 0)) + 1, (10, 0, 20, 20))
        image.save(tmp_path / "clear.png", transparency=image.getpixel((19, 19)))
    else:
        alpha = Image.new("L", (20, 20), 255)
        alpha.paste(0, (10, 0, 20, 20))
        image.putalpha(alpha)
        image.save(tmp_path / "clear.png")
    loaded = load_image(tmp_path / "clear.png", 20)
    assert (loaded[:, 12:] == 255).all()
    assert (loaded[:, :8].mean(axis=2) < 100).all()


@pytest.mark.parametrize("name", ["deep.png", "deep.tif"])
def test_16_bits_are_scaled_to_8(tmp_path, name):
    levels = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    Image.fromarray(levels).save(tmp_path / name)
    expected = np.repeat((levels / 257).round()[:, :, None], 3, axis=2)
    assert (load_image(tmp_path / name, 20) == expected).all()


def test_all_rows_of_a_large_image_of_16_bits_are_scaled(tmp_path):
    levels = np.linspace(0, 65535, 700 * 9).astype(np.uint16).reshape(700, 9)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    assert (load_pixels(tmp_path / "deep.png")[..., 0] == (levels / 257).round()).all()


@pytest.mark.parametrize("content", [b"", b"not an image", b"\xff\xd8\xff\xe0 cut off"])
def test_a_file_that_is_not_an_image_is_named(tmp_path, content):
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.jpg: .*; ") as caught:
        load_image(path, 32)
    assert "\n" not in str(caught.value)


def reason(path) -> str:
    with pytest.raises(DataError) as caught:
        load_image(path, 32)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def test_reasons_are_plain_and_end_with_a_remedy(tmp_path):
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    make_image(size=(1, 1)).save(tmp_path / "dot.png")
    make_image().save(tmp_path / "program.eps")
    expected = {
        "text.jpg": "unsupported image format; convert it to PNG",
        "empty.jpg": "the file is empty; copy it again",
        "gone.jpg": "file not found; check its name",
        "link.jpg": "file not found; check its name",
        "": "it is a folder; choose a file",
        "dot.png": "expected at least 8 x 8 pixels, received 1 x 1; use a larger image",
        "program.eps": "expected an image, received an EPS file, which is a program; convert it to "
        "PNG",
    }
    assert {name: reason(tmp_path / name) for name in expected} == expected


def test_an_image_for_which_memory_is_short_is_not_called_damaged(tmp_path, monkeypatch):
    def without_memory(*_):
        raise MemoryError

    make_image().save(tmp_path / "a.png")
    monkeypatch.setattr("data.images.cut_square", without_memory)
    assert reason(tmp_path / "a.png") == (
        "it takes more memory than there is, or is damaged; close other programs, or scale it down"
    )


@pytest.mark.parametrize("side_length", [11_000, 20_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path, side_length):
    # A whole image of this size compresses to little; here there is only its header.
    header = b"IHDR" + struct.pack(">IIBBBBB", side_length, side_length, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        assert reason(tmp_path / "bomb.png").endswith("; scale it down")


def test_a_truncated_jpeg_is_refused(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"half\.jpg"):
        load_image(tmp_path / "half.jpg", 32)


def test_a_mask_is_cut_like_its_image(tmp_path):
    """A bright disc has the same position in an image and in a mask of another size."""
    discs = {}
    for name, (height, width) in {"image.png": (90, 120), "mask.png": (180, 240)}.items():
        y, x = np.mgrid[:height, :width] / height
        discs[name] = (np.hypot(y - 0.4, x - 0.8) < 0.2).astype(np.uint8) * 255
        Image.fromarray(discs[name]).save(tmp_path / name)
    image = load_image(tmp_path / "image.png", 60)[..., 0] >= 128
    mask = load_mask(tmp_path / "mask.png", 60, tmp_path / "image.png")
    assert (mask.shape, mask.dtype) == ((60, 60), bool)
    assert (image & mask).sum() / (image | mask).sum() > 0.95


def test_a_mask_has_its_boundary_at_half_of_the_range(tmp_path):
    Image.fromarray(np.array([[127, 128], [0, 255]], np.uint8)).save(tmp_path / "mask.png")
    assert load_mask(tmp_path / "mask.png", 2).tolist() == [[False, True], [False, True]]
    (tmp_path / "broken.png").write_bytes(b"not a mask")
    with pytest.raises(DataError, match=r"broken\.png: unsupported image format"):
        load_mask(tmp_path / "broken.png", 2)


def test_masks_of_a_batch_are_read_and_broken_ones_named(tmp_path):
    Image.new("L", (9, 9), 255).save(tmp_path / "mask.png")
    (tmp_path / "broken.png").write_bytes(b"not a mask")
    paths = [None, str(tmp_path / "broken.png"), str(tmp_path / "mask.png")]
    make_image().save(tmp_path / "image.png")
    indices, masks, failures = load_masks(paths, 4, [str(tmp_path / "image.png")] * 3)
    assert indices == [2]
    assert (masks.shape, masks.dtype, masks.all()) == ((1, 4, 4), bool, True)
    assert [failure.startswith(paths[1]) for failure in failures] == [True]
    assert load_masks([None], 4, ["image.png"])[1].shape == (0, 4, 4)


def test_an_image_in_memory_is_read_like_its_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / "x.png"
    Image.fromarray(pixels).save(path)
    assert (load_bytes(path.read_bytes(), 24) == load_image(path, 24)).all()
    with pytest.raises(DataError, match="at most 2,399 pixels, received 60 x 40"):
        load_bytes(path.read_bytes(), 24, max_pixels=2399)
    for content, reason in ((b"", "the file is empty"), (b"text", "unsupported image format")):
        with pytest.raises(DataError, match=reason):
            load_bytes(content, 24)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a Git LFS pointer; fetch the file with git lfs pull",
        ),
        (b"\n<!DOCTYPE html>\n<html>", "a web page; download the image itself"),
        (b"<!-- saved --><HTML lang='en'>", "a web page; download the image itself"),
        ("<html>".encode("utf-16"), "a web page; download the image itself"),
        (b'{"error": "file not found"}', "text; copy the image itself"),
        (b'<?xml version="1.0"?><Error></Error>', "text; copy the image itself"),
        (b"<svg xmlns='x'></svg>", "an SVG drawing; convert it to PNG"),
        (b"%PDF-1.4\n\xe2\xe3", "a PDF file; export its image as PNG"),
        (b"PK\x03\x04\x14\0\0\0", "a ZIP archive; unpack it"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video; save one frame of it as PNG"),
        (bytes(128) + b"DICM\2\0", "a DICOM file; export its image as PNG"),
    ],
)
def test_a_file_that_is_something_else_is_called_what_it_is(tmp_path, content, reason):
    (tmp_path / "a.jpg").write_bytes(content)
    for load in (load_pixels, check_image):
        with pytest.raises(DataError, match=f"a.jpg: expected an image, received {reason}$"):
            load(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a_mask.png", "ISIC_1_segmentation.png", "Masks/a.png"])
def test_a_mask_by_name_and_content_is_no_image(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    levels = np.zeros((20, 20), np.uint8)
    levels[5:15, 5:15] = 255
    Image.fromarray(levels).save(path)
    with pytest.raises(DataError, match="received a segmentation mask; choose the image of the"):
        load_image(path, 16)
    make_image().save(path)
    assert load_image(path, 20).std() > 50


def test_a_mask_may_have_the_levels_0_and_1(tmp_path):
    levels = np.zeros((20, 20), np.uint8)
    levels[:, 10:] = 1
    Image.fromarray(levels).save(tmp_path / "a.png")
    assert (load_mask(tmp_path / "a.png", 20) == levels).all()


HEIC_HEADER = b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(400)


@pytest.mark.parametrize("name", ["a.heic", "phone.jpg"])
def test_heic_without_its_package_is_named_with_the_remedy(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    (tmp_path / name).write_bytes(HEIC_HEADER)
    line = "expected pillow-heif for a HEIC image; pip install -r requirements-heic.txt"
    assert reason(tmp_path / name) == line


def test_heic_is_decoded_where_its_package_is_installed(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    y, x = np.mgrid[:40, :60]
    pixels = np.stack([4 * x, 6 * y, x + y], axis=2).astype(np.uint8)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic", quality=95)
    (tmp_path / "phone.jpg").write_bytes((tmp_path / "a.heic").read_bytes())
    assert np.abs(load_pixels(tmp_path / "phone.jpg").astype(int) - pixels).mean() < 3
    (tmp_path / "a.heic").write_bytes(HEIC_HEADER)
    line = "expected an image, received a damaged HEIC image; copy it again"
    assert reason(tmp_path / "a.heic") == line
