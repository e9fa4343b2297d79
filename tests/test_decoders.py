"""What is refused by a header, before memory is taken for pixels, and which formats are decoded."""

import ast
import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from data import DataError
from data.avif import frame_sizes
from data.decoders import FORMATS, decodable_suffixes
from data.folders import find_images
from data.images import check_image, is_mask, load_bytes, load_image, load_mask

ROOT = Path(__file__).parent.parent


def encode(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def refusal(content: bytes, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_bytes(content, 16, **options)
    return str(caught.value).removeprefix("this file cannot be read as an image: ")


def test_only_one_file_opens_images_and_it_names_the_formats():
    calls = {}
    for path in sorted(ROOT.glob("*.py")) + [
        path
        for folder in ("app", "benchmarks", "data", "metrics", "models", "support", "training")
        for path in sorted((ROOT / folder).glob("**/*.py"))
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                keywords = {keyword.arg for keyword in node.keywords}
                calls.setdefault(path.relative_to(ROOT).as_posix(), []).append(keywords)
    assert calls == {"data/decoders.py": [{"formats"}, {"formats"}]}


@pytest.mark.parametrize("kind", sorted({*FORMATS, "MPO"}))
def test_every_format_of_the_list_is_decoded(kind):
    image = Image.new("RGB", (20, 20), (250, 120, 10))
    options = {"save_all": True, "append_images": [image]} if kind == "MPO" else {}
    assert (
        abs(load_bytes(encode(image, kind, **options), 16).astype(int) - (250, 120, 10)).max() < 9
    )


def test_an_image_in_a_folder_that_is_not_decoded_is_named_not_ignored(tmp_path):
    for name in (*UNUSED, "a.psd", "a.hdf"):
        (tmp_path / name).write_bytes(b"8BPS" + bytes(40))
    found = {Path(path).name for path in find_images([tmp_path])}
    assert found == {*UNUSED, "a.psd"}


def icon(content: bytes) -> bytes:
    entry = struct.pack("<BBBBHHII", 32, 32, 0, 0, 1, 32, len(content), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + content


UNUSED = {
    "a.eps": "an EPS file, which is a program; convert it to PNG",
    "a.ico": "an icon; convert it to PNG",
    "a.icns": "an icon; convert it to PNG",
    "a.jp2": "a JPEG 2000 image; convert it to PNG",
    "a.j2k": "a JPEG 2000 image; convert it to PNG",
}


@pytest.mark.parametrize("name", ["a.png", "a_segmentation.png"])
@pytest.mark.parametrize("kind", UNUSED)
def test_a_format_that_is_not_decoded_is_named_whatever_the_file_is_called(
    tmp_path, monkeypatch, kind, name
):
    image = Image.new("RGB", (32, 32), "white")
    image.save(tmp_path / kind)
    path = (tmp_path / kind).rename(tmp_path / name)
    monkeypatch.setattr(Image.Image, "load", None)  # nothing is decoded
    for load in (load_image, load_mask):
        with pytest.raises(DataError) as caught:
            load(path, 16)
        assert str(caught.value) == f"{path}: expected an image, received {UNUSED[kind]}"
    assert not is_mask(path)


@pytest.mark.parametrize("suffix", [".bufr", ".pcx", ".sgi", ".tga", ".dds", ".im", ".msp", ".spi"])
def test_a_rare_format_is_no_image(tmp_path, suffix):
    kinds = {**Image.registered_extensions(), ".spi": "SPIDER"}
    if kinds[suffix] not in Image.SAVE or suffix == ".bufr":
        (tmp_path / "a").write_bytes(b"BUFR" + bytes(40))
    else:
        mode = {".msp": "1", ".spi": "F"}.get(suffix, "RGB")
        Image.new(mode, (16, 16)).save(tmp_path / "a", kinds[suffix])
    for use in (check_image, lambda path: load_mask(path, 8)):
        with pytest.raises(DataError, match="a: unsupported image format; convert it to PNG"):
            use(tmp_path / "a")
    assert suffix not in decodable_suffixes()


def test_an_image_inside_an_icon_is_not_decoded():
    header = b"IHDR" + struct.pack(">IIBBBBB", 13_300, 13_300, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    content = icon(png + struct.pack(">I", zlib.crc32(header)) + b"\0\0\0\0IDAT")
    assert refusal(content) == "expected an image, received an icon; convert it to PNG"


def bitmap(width: int, height: int) -> bytes:
    """Return the header of a compressed bitmap."""
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 100, 0, 0, 256, 0)
    return (
        b"BM" + struct.pack("<IHHI", 1178, 0, 0, 1078) + info + bytes(1024) + b"\0\2\xff\xff" * 25
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_images_and_masks_have_one_limit_of_pixels_and_sides(tmp_path):
    (tmp_path / "long.bmp").write_bytes(bitmap(8, 12_000_000))
    (tmp_path / "large.bmp").write_bytes(bitmap(12_000, 12_000))
    for use in (check_image, lambda path: load_image(path, 8), lambda path: load_mask(path, 8)):
        with pytest.raises(
            DataError, match="sides of at most 65,535 pixels, received 8 x 12000000"
        ):
            use(tmp_path / "long.bmp")
        with pytest.raises(DataError, match="at most 100,000,000 pixels, received 12000 x 12000"):
            use(tmp_path / "large.bmp")


def canvas(side_length: int) -> bytes:
    """Return an animated WebP with a canvas that is larger than its frames."""
    frames = [Image.new("RGBA", (16, 16), color) for color in ("red", "#00f8")]
    content = bytearray(encode(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert content[12:16] == b"VP8X"
    content[24:27] = content[27:30] = struct.pack("<I", side_length - 1)[:3]
    return bytes(content)


def test_the_canvas_of_a_small_webp_is_limited():
    line = "expected at most 50,000,000 pixels, received 9000 x 9000; scale it down"
    assert refusal(canvas(9000)) == line
    assert "at most 1,000 pixels, received 40 x 40" in refusal(canvas(40), max_pixels=1000)
    assert load_bytes(canvas(40), 16).shape == (16, 16, 3)


def tiled_tiff(width: int, height: int, *, bits: int = 8) -> bytes:
    """Return a gray TIFF of 16 x 16 pixels with one tile of the given size."""
    data = zlib.compress(bytes(256))
    tags = {256: 16, 257: 16, 258: bits, 259: 8, 262: 1, 277: 1, 322: width, 323: height, 324: 8}
    tags[325] = len(data)
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    start = struct.pack("<I", 8 + len(data))
    return b"II*\0" + start + data + struct.pack("<H", len(tags)) + table + bytes(4)


@pytest.mark.parametrize("size", [(26_000, 26_000), (16, 200_000_000), (2**32 - 16, 2**32 - 16)])
def test_a_small_tiff_with_a_huge_tile_is_refused(size):
    assert load_bytes(tiled_tiff(16, 16), 16).max() == 0
    width, height = size
    assert refusal(tiled_tiff(*size)) == (
        f"expected tiles of at most 100,000,000 pixels, received {width} x {height}; convert it to "
        "PNG"
    )


def with_scans(image: Image.Image, count: int, **options) -> bytes:
    """Return a JPEG whose last scan, with its table, is in it so many times."""
    content = encode(image, "JPEG", **options)
    last = content[content.rindex(b"\xff\xc4", 0, content.rindex(b"\xff\xda")) : -2]
    return content[:-2] + last * count + content[-2:]


def test_a_jpeg_that_decodes_its_pixels_many_times_is_refused():
    image = Image.new("L", (1000, 1000), 200)
    assert load_bytes(with_scans(image, 9, progressive=True), 16).mean() == 200
    line = refusal(with_scans(image, 4000, progressive=True))
    assert line == (
        "expected at most 4,000,000,000 pixels in all scans of a JPEG, received 4,006 scans of "
        "1000 x 1000; save it anew as JPEG"
    )
    # What follows the only scan of other images is not decoded.
    assert load_bytes(encode(image, "JPEG") + b"\xff\xda" * 5000, 16).mean() == 200


def test_a_jpeg_with_a_scan_for_each_color_is_used_and_one_with_thousands_refused():
    gray = encode(Image.new("L", (1000, 1000), 200), "JPEG")
    frame, start = gray.index(b"\xff\xc0"), gray.index(b"\xff\xda")
    pixels = gray[start + 10 : -2]
    # Three colors, stored one after the other.
    colors = struct.pack(">HHBHHB", 0xFFC0, 17, 8, 1000, 1000, 3)
    colors += b"\1\x11\0\2\x11\0\3\x11\0"
    head = gray[:frame] + colors + gray[frame + 13 : start]

    def scan(color: int, content: bytes) -> bytes:
        return b"\xff\xda\0\x08\1" + bytes([color, 0]) + b"\0\x3f\0" + content

    whole = head + b"".join(scan(color, pixels) for color in (1, 2, 3))
    assert load_bytes(whole + b"\xff\xd9", 16).std() > 10
    line = refusal(whole + scan(3, b"\0") * 4000 + b"\xff\xd9")
    assert "received 4,003 scans of 1000 x 1000; save it anew as JPEG" in line


def small_header(side_length: int, *, alpha: bool = False) -> bytes:
    """Return an AVIF image whose header says 64 x 64 pixels."""
    image = Image.new("RGBA" if alpha else "RGB", (side_length, side_length))
    content = encode(image, "AVIF", speed=10)
    box = b"ispe" + bytes(4)
    real, small = struct.pack(">II", side_length, side_length), struct.pack(">II", 64, 64)
    assert box + real in content
    return content.replace(box + real, box + small)


def test_the_frames_of_an_avif_image_are_limited_whatever_its_header_says():
    content = small_header(600)
    assert frame_sizes(content) == [(600, 600)]
    assert refusal(content, max_pixels=100_000) == (
        "expected at most 200,000 pixels in all frames of an AVIF image, received 360,000; scale "
        "it down"
    )
    assert frame_sizes(small_header(200, alpha=True)) == [(200, 200)] * 2


@pytest.mark.parametrize(
    "options", [{}, {"save_all": True}, {"exif": b"Exif\0\0II*\0\x08" + bytes(9)}]
)
def test_the_frames_of_usual_avif_images_are_found(options):
    frames = [Image.new("RGB", (40, 24), color) for color in ("red", "blue")]
    options = {**options, "append_images": frames[1:]} if "save_all" in options else options
    content = encode(frames[0], "AVIF", **options)
    assert set(frame_sizes(content)) == {(40, 24)}
    assert abs(load_bytes(content, 16).astype(int) - (255, 0, 0)).max() < 9


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


@pytest.mark.parametrize("parts", [1, 5000])
def test_a_small_avif_with_thousands_of_overlapping_items_is_refused_at_once(parts):
    """Each item is the whole file: read one by one, they are gigabytes."""
    count = 5000 // parts
    extents = struct.pack(">H", parts) + struct.pack(">II", 0, 0) * parts
    items = b"".join(struct.pack(">HH", i, 0) + extents for i in range(count))
    table = box(b"iloc", struct.pack(">IBBH", 0, 0x44, 0, count) + items)
    content = box(b"ftyp", b"avif") + box(b"meta", bytes(4) + table)
    with pytest.raises(ValueError, match="larger than the file" if parts > 1 else "overlap"):
        frame_sizes(content + b"\x12\0" * 20_000)


def test_the_frame_of_an_avif_with_a_long_header_is_found():
    """With timing, a decoder model and two operating points, as of a video."""
    fields = [(0, 3), (0, 1), (0, 1), (1, 1), (1, 32), (25, 32), (1, 1), (1, 1), (1, 1)]
    fields += [(9, 5), (1, 32), (3, 5), (4, 5), (1, 1), (1, 5)]
    for level, tier in ((9, [(1, 1)]), (5, [])):
        fields += [(1, 12), (level, 5), *tier, (1, 1), (77, 10), (78, 10), (1, 1), (1, 1), (6, 4)]
    fields += [(11, 4), (11, 4), (3999, 12), (2999, 12), (0, 7)]
    bits = "".join(f"{value:0{width}b}" for value, width in fields)
    body = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    unit = bytes([0x0A, len(body)]) + body
    item = struct.pack(">HHH", 1, 0, 1)
    ftyp, size = box(b"ftyp", b"avif"), 8 + 4 + 8 + 8 + 14
    table = struct.pack(">IBBH", 0, 0x44, 0, 1) + item
    table += struct.pack(">II", len(ftyp) + size + 8, len(unit))
    content = ftyp + box(b"meta", bytes(4) + box(b"iloc", table))
    assert frame_sizes(content + box(b"mdat", unit)) == [(4000, 3000)]
