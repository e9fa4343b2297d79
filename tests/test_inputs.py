"""Every row of the tables in docs/inputs.md: the outcome, and the line as it is printed."""

import contextlib
import errno
import io
import json
import os
import pickle
import re
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import tiny
from exports import HAS_ONNX
from PIL import Image

import evaluate
import predict
import train
from data.ham10000 import CLASS_NAMES
from models.bundle import load_model, save_model
from models.description_checks import peek_description
from models.factory import build_model
from models.onnx_file import pack

pytestmark = pytest.mark.usefixtures("shallow_baseline")
TEXT = (Path(__file__).parent.parent / "docs/inputs.md").read_text(encoding="utf-8")


def read_rows(section: str) -> list[tuple[str, ...]]:
    """Return the rows of the table below a heading."""
    body = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def each_row(section: str) -> list:
    return [pytest.param(*row, id=row[0]) for row in read_rows(section)]


def matches(line: str, message: str) -> bool:
    """Compare a line of the tables, in which `…` stands for names and numbers, with a message."""
    return re.fullmatch(re.escape(line).replace("…", ".+"), message) is not None


def raise_interrupt(*_, **__):
    raise KeyboardInterrupt


def raise_out_of_memory(*_, **__):
    raise MemoryError


def raise_missing(*_, **__):
    raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")


def raise_no_space(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_image(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    make_image().save(buffer, "JPEG")
    return buffer.getvalue()


def assert_printed(line: str, errors: str) -> None:
    """Check that stderr has this line and no other; with an empty line, that it has none."""
    printed = [text for text in errors.splitlines() if text]
    assert len(printed) == bool(line), printed
    assert not line or matches(line, printed[0]), printed


@pytest.fixture(autouse=True)
def _no_note(monkeypatch):
    """Keep the note on warnings that the small model lacks off stderr."""
    monkeypatch.setattr("models.classifier.Classifier.missing_warnings", "")


@pytest.fixture(scope="module")
def small_model(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("model") / "good.keras"
    save_model(build_model("sequential", image_size=32, class_names=CLASS_NAMES), path)
    return path


def close_the_pipe(monkeypatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(sys, "stdout", os.fdopen(writer, "w"))


def patch_prediction(replacement: Callable) -> Callable:
    return lambda patch: patch.setattr("models.classifier.Classifier.__call__", replacement)


# Arguments besides the model, and what is replaced.
EXIT_CODES = {
    "everything is done": ("--image a.jpg", None),
    "some files cannot be used; each is named, the others are done": (
        "--image a.jpg gone.jpg",
        None,
    ),
    "wrong usage": ("--image a.jpg --models b.keras", None),
    "input that cannot be used": ("--image empty", None),
    "missing package": (
        "--image a.jpg --engine keras",
        lambda patch: patch.setattr("models.engines.start_tensorflow", raise_missing),
    ),
    "out of memory": ("--image a.jpg", patch_prediction(raise_out_of_memory)),
    "Ctrl-C": ("--image a.jpg", patch_prediction(raise_interrupt)),
    "output to a pipe that is closed, as by `head`": ("--image a.jpg", close_the_pipe),
}


def test_all_rows_of_exit_codes_are_tested():
    assert [title for title, _, _ in read_rows("Exit codes")] == list(EXIT_CODES)


@pytest.mark.parametrize(("title", "code", "line"), each_row("Exit codes"))
def test_exit_codes(small_model, tmp_path, capsys, monkeypatch, title, code, line):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("a.jpg").write_bytes(jpeg())
    arguments, prepare = EXIT_CODES[title]
    with monkeypatch.context() as patch:
        if prepare:
            prepare(patch)
        try:
            exit_code = predict.main([*arguments.split(), "--model_path", str(small_model)])
        except SystemExit as stop:  # from argparse
            exit_code = stop.code
    assert exit_code == int(code)
    assert_printed(line, capsys.readouterr().err)


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


def test_images(small_model, tmp_path, capsys, monkeypatch):
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
    argv = ["--image", *map(str, given), "--model_path", str(small_model)]
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


LESIONS = 60
LABELS = pd.DataFrame(
    {
        "lesion_id": [f"HAM_{i // 2:07d}" for i in range(2 * LESIONS)],
        "image_id": [f"ISIC_{i:07d}" for i in range(2 * LESIONS)],
        "dx": [CLASS_NAMES[i // 2 % 7] for i in range(2 * LESIONS)],
        "dx_type": "histo",
        "age": "50.0",
        "sex": "male",
        "localization": "back",
    }
)
LAST = len(LABELS) - 1


def table(frame: pd.DataFrame = LABELS, **options) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def with_value(column: str, row: int, value: str) -> pd.DataFrame:
    frame = LABELS.copy()
    frame.loc[row, column] = value
    return frame


def with_two_lesions_of_df() -> pd.DataFrame:
    lesions = LABELS.loc[LABELS["dx"] == "df", "lesion_id"].unique()[:2]
    return LABELS[(LABELS["dx"] != "df") | LABELS["lesion_id"].isin(lesions)]


def as_diagnoses(frame: pd.DataFrame = LABELS) -> pd.DataFrame:
    names = {"nv": "Melanocytic nevi", "df": "dermatofibromas", "mel": "Melanoma (mel)"}
    return frame.assign(dx=frame["dx"].replace(names))


def as_one_hot(frame: pd.DataFrame = LABELS, *, with_lesions: bool = False) -> bytes:
    columns = pd.get_dummies(frame["dx"].str.upper()).astype(float)
    ids = frame[["image_id", *(["lesion_id"] if with_lesions else [])]]
    return table(pd.concat([ids.rename(columns={"image_id": "image"}), columns], axis=1))


def with_scc(count: int) -> pd.DataFrame:
    return LABELS.assign(dx=[*["SCC"] * count, *LABELS["dx"].iloc[count:]])


def in_other_words(ids: pd.Series) -> list[str]:
    ways = ("{}.jpg", "images/{}.JPG", "images\\{}.jpg", "{}")
    return [ways[i % 4].format(name.lower() if i == 3 else name) for i, name in enumerate(ids)]


def sort_into_class_folders(root: Path) -> None:
    names = {"nv": "Melanocytic Nevi (nv)", "vasc": "Vascular lesions", "akiec": "0 AKIEC"}
    for image_id, label in zip(LABELS["image_id"], LABELS["dx"], strict=True):
        folder = root / "classes" / names.get(label, label)
        folder.mkdir(parents=True, exist_ok=True)
        (root / "images" / f"{image_id}.jpg").rename(folder / f"{image_id}.jpg")


def by_thirds(**more: pd.DataFrame) -> dict[str, bytes]:
    """Return the tables of a split that gives each split a third of each class."""
    parts = {
        f"splits/{name}.csv": LABELS[(LABELS.index // 14 % 3) == i]
        for i, name in enumerate(("train", "val", "test"))
    }
    return {name: table(part) for name, part in (parts | more).items()}


# Content of each table, or of several by their names; None where there is none.
LABEL_TABLES = {
    "HAM10000's own table": table(),
    "byte order mark": b"\xef\xbb\xbf" + table(),
    "Windows line endings": table(lineterminator="\r\n"),
    "tabs as separators": table(sep="\t"),
    "quoted fields": table(quoting=1),
    "the quoted `.tab` file of the Dataverse": table(sep="\t", quoting=1),
    "semicolons and decimal commas": table(sep=";").replace(b"50.0", b"50,0"),
    "`sep=;` in line 1": b"sep=;\n" + table(sep=";"),
    "UTF-16, as Excel saves Unicode text": table(sep="\t").decode().encode("utf-16"),
    "empty rows, and rows of separators": table().replace(b"\n", b"\n\n,,,\n", 3) + b",,,,,,,,,\n",
    "own columns, such as `label` and `split`": table(LABELS.assign(label="x", split=5, path="y")),
    "columns `dx` and ` dx`; the exact name counts": table(LABELS.assign(**{" dx": "mole 7"})),
    "full names of diagnoses as `dx`": table(as_diagnoses()),
    "ids with suffix or folder, or in other case": table(
        LABELS.assign(image_id=in_other_words(LABELS["image_id"]))
    ),
    "the same table twice": {
        "HAM10000_metadata.csv": table(),
        "copy/HAM10000_metadata.csv": table(lineterminator="\r\n"),
    },
    "`train.csv`, `val.csv` and `test.csv`": by_thirds(),
    "one of several tables as `--data_dir`": {
        "other.csv": table(LABELS.iloc[:9]),
        "chosen.csv": table(),
    },
    "one column per class, `True` and `False`": {
        "labels.csv": as_one_hot().replace(b"1.0", b"True").replace(b"0.0", b"False")
    },
    "`GroundTruth.csv` beside a foreign `Metadata.csv`": {
        "GroundTruth.csv": as_one_hot(),
        "Metadata.csv": b"name,value\na,1\n",
    },
    "class folders with names of diagnoses": None,
    "missing age": table(with_value("age", 3, "")),
    "age that is not a number of years": table(with_value("age", 3, "1e999")),
    "row without `lesion_id`": table(with_value("lesion_id", 4, "")),
    "`NA`, `NULL`, `nan` or `-` as `lesion_id`": table(
        LABELS.assign(lesion_id=[("NA", "NULL", "nan", "-")[i % 4] for i in LABELS.index])
    ),
    "no column `lesion_id`": table(LABELS.drop(columns="lesion_id")),
    "duplicate row": table(pd.concat([LABELS, LABELS.iloc[:1]])),
    "rows that differ in an index only": table(
        pd.concat([LABELS, LABELS.iloc[:1]], ignore_index=True).reset_index()
    ),
    "lesion with two diagnoses": table(with_value("dx", 0, "nv")),
    "class with fewer lesions than splits": table(with_two_lesions_of_df()),
    "class without images": table(LABELS[LABELS["dx"] != "df"]),
    "at most 1 % of the images without a file": table(),
    "image id that points outside the folder": table(with_value("image_id", LAST, "../outside")),
    "more than 1 % of the images without a file": table(),
    "identical images under two ids": table(),
    "given split that separates a lesion": table(
        LABELS.assign(split=["train"] * 59 + ["val"] * 31 + ["test"] * 30)
    ),
    "at most 1 % of the images of other classes": {
        "labels.csv": as_one_hot(with_scc(1), with_lesions=True)
    },
    "more than 1 % of the images of other classes": {
        "labels.csv": as_one_hot(with_scc(2), with_lesions=True)
    },
    "missing folder": None,
    "folder without a table": None,
    "table with other columns": {"labels.csv": table(LABELS.rename(columns={"dx": "finding"}))},
    "several tables": {"train.csv": table(LABELS.iloc[:90]), "new.csv": table(LABELS.iloc[90:])},
    "an image in two tables of a split": by_thirds(**{"splits/test.csv": LABELS.iloc[:30]}),
    "row without a split": table(
        LABELS.assign(split=[*["train", "val"] * (LESIONS - 1), "test", ""])
    ),
    "images under other names": table(LABELS.assign(image_id=LABELS["image_id"] + "0")),
    "empty table": b"",
    "table without rows": table(LABELS.iloc[:0]),
    "no column `dx`": table(LABELS.drop(columns="dx")),
    "unknown `dx`": table(with_value("dx", 5, "wart")),
    "negated `dx`": table(with_value("dx", 5, "non-melanoma")),
    "row without `dx`": table(with_value("dx", 5, "NA")),
    "row without an image id": table(with_value("image_id", 5, "")),
    "two columns `dx` that differ": table().replace(b"dx_type", b"dx", 1),
    "image with two labels": table(pd.concat([LABELS, LABELS.iloc[:1].assign(dx="nv")])),
    "unquoted comma in a field": table(with_value("localization", 0, "back, left")).replace(
        b'"', b""
    ),
    "quote that is not closed": table() + b'"HAM_9,ISIC_9\n',
    "Excel workbook named `.csv`": b"PK\x03\x04" + bytes(99),
    "Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n",
    "UTF-16 without a byte order mark": table().decode().encode("utf-16-le"),
    "web page saved as CSV": b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n",
    "encoding other than UTF-8": table(with_value("localization", 4, "Rücken"))
    .decode()
    .encode("latin-1"),
    "images of one class only": table(LABELS[LABELS["dx"] == "nv"]),
}
WITHOUT_LAST_IMAGE = [title for title in LABEL_TABLES if "without a file" in title]
WITHOUT_LAST_IMAGE += ["image id that points outside the folder"]


@pytest.fixture(scope="module")
def images_but_last(tmp_path_factory) -> Path:
    """A folder with the images of all labels but the last."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    for image_id in LABELS["image_id"].iloc[:-1]:
        # Images with equal pixels would be one lesion.
        pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{image_id}.jpg")
    return folder


def test_all_rows_of_label_tables_are_tested():
    assert [title for title, _, _ in read_rows("Label tables")] == list(LABEL_TABLES)


@pytest.mark.parametrize(("title", "outcome", "line"), each_row("Label tables"))
def test_label_tables(images_but_last, tmp_path, capsys, monkeypatch, title, outcome, line):
    root = tmp_path / "data"
    if title != "missing folder":
        (root / "images").mkdir(parents=True)
        (tmp_path / "outside.jpg").write_bytes(jpeg())
        for path in images_but_last.iterdir():
            os.link(path, root / "images" / path.name)
        if title not in WITHOUT_LAST_IMAGE:
            (root / "images" / f"{LABELS['image_id'].iloc[-1]}.jpg").write_bytes(jpeg())
    if title.startswith("more than 1 % of the images without"):
        (root / "images" / "ISIC_0000001.jpg").unlink()
    if title.startswith("identical"):
        (root / "images" / "ISIC_0000000.jpg").unlink()
        shutil.copy(root / "images" / "ISIC_0000002.jpg", root / "images" / "ISIC_0000000.jpg")
    suffix = ".tab" if ".tab" in title else ".csv"
    tables = LABEL_TABLES[title] or {}
    if isinstance(LABEL_TABLES[title], bytes):
        tables = {f"HAM10000_metadata{suffix}": LABEL_TABLES[title]}
    for name, content in tables.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(content)
    if title.startswith("class folders"):
        sort_into_class_folders(root)
    if "chosen.csv" in tables:
        root /= "chosen.csv"
    # What follows is the training, which has its own tests.
    monkeypatch.setattr("training.recipe.build", raise_interrupt)
    argv = ["--model", "sequential", "--image_size", "32", "--data_dir", str(root)]
    code = train.main([*argv, "--output_dir", str(tmp_path / "runs")])
    assert code == (2 if outcome.startswith("exit 2") else 130)
    errors = capsys.readouterr().err
    if code == 130:
        errors, stopped = errors.split("\ntrain.py: ")
        assert stopped == "stopped\n"
    assert_printed(line, errors)


def write_class_list(root: Path, *lines: str) -> list[str]:
    (root / "classes.csv").write_text("\n".join(lines))
    return ["--classes", str(root / "classes.csv")]


def start_from(root: Path, name: str) -> list[str]:
    (root / name).write_text("not a model")
    return ["--init_from", str(root / name)]


# Each returns flags, given a folder to write to.
CLASSES = {
    "class folders `benign` and `malignant`": lambda root: [],
    "the same with `--classes data`": lambda root: ["--classes", "data"],
    "class list": lambda root: write_class_list(root, "good,,benign,benign", "bad,,,malignant"),
    "class list that is missing": lambda root: ["--classes", str(root / "nowhere.csv")],
    "class list of one class": lambda root: write_class_list(root, "benign"),
    "class list with a class twice": lambda root: write_class_list(root, "nevus", "Nevus"),
    "class list with a label in two classes": lambda root: write_class_list(
        root, "benign,,,mole", "malignant,,,mole"
    ),
    "class list with an unknown word for malignant": lambda root: write_class_list(
        root, "benign,,no idea", "malignant"
    ),
    "`--init_from` is no model": lambda root: start_from(root, "a.keras"),
    "`--init_from` is missing": lambda root: ["--init_from", str(root / "nowhere.keras")],
    "`--weights` is a model file of this project": lambda root: ["--weights", "a.keras"],
}


def test_all_rows_of_classes_are_tested():
    assert [title for title, _, _ in read_rows("Classes")] == list(CLASSES)


@pytest.mark.parametrize(("title", "outcome", "line"), each_row("Classes"))
def test_classes(tmp_path, capsys, monkeypatch, title, outcome, line):
    rng = np.random.default_rng(2)
    for name in ("benign", "malignant"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, (24, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{name}{number}.png")
    monkeypatch.setattr("training.recipe.build", raise_interrupt)
    argv = ["--data_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "runs")]
    try:
        code = train.main([*argv, *CLASSES[title](tmp_path)])
    except SystemExit as stop:  # of argparse
        code = stop.code
    errors = capsys.readouterr().err
    assert code == (2 if outcome == "exit 2" else 130), errors
    assert_printed(line, errors.removesuffix("\ntrain.py: stopped\n"))


def run_flags(root: Path) -> list[str]:
    flags = ["--model", "sequential", "--image_size", "32", "--batch_size", "8", "--epochs", "2"]
    return [*flags, "--data_dir", str(root / "data"), "--output_dir", str(root / "runs")]


@pytest.fixture(scope="module")
def interrupted(sample_dir, tmp_path_factory) -> tuple[Path, int, str]:
    """A run on a copy of the synthetic images that Ctrl-C stopped after its first epoch.

    Returns its folder, the exit code, and what it printed on stderr.
    """
    root = tmp_path_factory.mktemp("interrupted")
    shutil.copytree(sample_dir, root / "data")
    errors = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(errors):
        patch.setattr("keras.Model.fit", tiny.finish_an_epoch)
        patch.setattr("training.callbacks.EpochLog.on_epoch_end", raise_interrupt)
        code = train.main(run_flags(root))
    (run,) = (root / "runs").iterdir()
    return run, code, errors.getvalue()


def edit_settings(run: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    record["config"]["data_dir"] = "nowhere"
    (run / "config.json").write_text(json.dumps(record))


def table_of(run: Path) -> Path:
    (path,) = (run.parent.parent / "data").glob("*.csv")
    return path


def replace_image(run: Path) -> None:
    split = pd.read_csv(run / "split.csv")
    image_id = split.loc[split["split"] == "train", "image_id"].iloc[0]
    (path,) = (run.parent.parent / "data").rglob(f"{image_id}.jpg")
    make_image().save(path)


def change_label(run: Path) -> None:
    frame = pd.read_csv(table_of(run))
    frame.loc[0, "dx"] = "mel" if frame.loc[0, "dx"] != "mel" else "nv"
    frame.to_csv(table_of(run), index=False)


def reverse_table(run: Path) -> None:
    pd.read_csv(table_of(run))[::-1].to_csv(table_of(run), index=False)


def write_array(run: Path) -> None:
    with (run / "resume.npz").open("wb") as file:
        np.save(file, np.ones(3))


def truncate(run: Path, name: str) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])


# What is replaced in a new run, and what is changed before an interrupted one resumes.
REPLACED = {
    "disk full at the start": ("training.run.write_text", raise_no_space),
    "disk full while saving": ("training.callbacks.write_history", raise_no_space),
    "out of memory": ("training.callbacks.EpochLog.on_epoch_end", raise_out_of_memory),
    "out of memory while decoding": ("training.decoding.decode_images", raise_out_of_memory),
}
RESUMED = {
    "`--resume`, a setting was edited": edit_settings,
    "`--resume`, the pixels of an image changed": replace_image,
    "`--resume`, a label changed": change_label,
    "`--resume`, the order of the table changed": reverse_table,
    "`--resume`, `resume.json` is damaged": lambda run: truncate(run, "resume.json"),
    "`--resume`, `resume.npz` is damaged": lambda run: truncate(run, "resume.npz"),
    "`--resume`, `resume.npz` is empty": lambda run: (run / "resume.npz").write_bytes(b""),
    "`--resume`, `resume.npz` is an array": write_array,
    "`--resume` of a finished run": lambda run: (run / "resume.json").unlink(),
}


# With one step per epoch, the loss is that of the random weights.
DIVERGED = {
    "loss is NaN or infinite": ["--learning_rate", "1e30"],
    "validation loss is NaN or infinite": ["--learning_rate", "1e30", "--batch_size", "99"],
}
# Name of each weights file, and what writes it.
WEIGHTS = {
    "`--weights` is a text file": ("a.h5", lambda path: path.write_text("text")),
    "`--weights` of another network": (
        "a.weights.h5",
        lambda path: tiny_network(5).save_weights(path),
    ),
    "`--weights` is missing": ("a.h5", lambda path: None),
}


def tiny_network(units: int) -> keras.Model:
    return keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Dense(units)])


NOT_CONVERTED = "`--model efficientnet_lite` without its ImageNet weights"


def test_all_rows_of_runs_are_tested():
    new = ["output folder that is not writable", "Ctrl-C", *DIVERGED, *WEIGHTS, NOT_CONVERTED]
    new += REPLACED
    assert [title for title, _, _ in read_rows("Runs")] == [*new, *RESUMED]


@pytest.mark.parametrize(("title", "outcome", "line"), each_row("Runs"))
def test_runs(interrupted, sample_dir, tmp_path, capsys, monkeypatch, title, outcome, line):
    (tmp_path / "data").symlink_to(sample_dir)
    run, code, errors = interrupted
    if title == "Ctrl-C":
        assert outcome == f"exit {code}" == "exit 130"
        assert_printed(line, errors)
        return
    argv = run_flags(tmp_path)
    if title in RESUMED:
        # A run finds its data by their path, so both are changed in place and restored.
        root = run.parent.parent
        shutil.copytree(root, tmp_path / "copy")
        RESUMED[title](run)
        argv = ["--resume", str(run)]
    elif title in REPLACED:
        monkeypatch.setattr("keras.Model.fit", tiny.finish_an_epoch)
        monkeypatch.setattr(*REPLACED[title])
    elif title in DIVERGED:
        argv += DIVERGED[title]
    elif title in WEIGHTS:
        name, write = WEIGHTS[title]
        write(tmp_path / name)
        argv += ["--model", "mobilenet", "--weights", str(tmp_path / name)]
        monkeypatch.setattr("models.transfer._build_network", lambda *_: tiny_network(3))
        capsys.readouterr()
    elif title == NOT_CONVERTED:
        argv += ["--model", "efficientnet_lite", "--weights", "imagenet"]
        monkeypatch.setattr("models.transfer._build_network", lambda *_: tiny_network(3))
    else:
        (tmp_path / "runs").write_text("a file in place of the folder")
    code = train.main(argv)
    if title in RESUMED:
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "copy", root)
    assert code == 2
    assert outcome.startswith("exit 2")
    assert_printed(line, capsys.readouterr().err)


def rewrite(path: Path, target: Path, change: Callable | None = None, **members: bytes) -> None:
    """Copy a model file with another configuration, and with other or additional members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        content = {name: old.read(name) for name in old.namelist()}
        settings = json.loads(content["config.json"])
        if change:
            change(settings["config"])
        content["config.json"] = json.dumps(settings).encode()
        for name, value in (content | members).items():
            new.writestr(name, value)


def changing(change: Callable) -> Callable:
    return lambda path, target: rewrite(path, target, change)


def serialized(name: str, module: str, settings: dict | str) -> dict:
    return {"class_name": name, "module": module, "config": settings, "registered_name": None}


def insert_lambda(config: dict) -> None:
    layers = [serialized("Lambda", "keras.layers", {})]
    config["layers"].insert(1, serialized("Sequential", "keras", {"layers": layers}))


def insert_function(config: dict) -> None:
    config["layers"][1]["config"].update(fn=serialized("function", "os", "system"))


def insert_lookup(config: dict) -> None:
    layer = serialized("StringLookup", "keras.layers", {"vocabulary": "/etc/passwd"})
    config["layers"].insert(1, layer)


def enlarge_layer(config: dict) -> None:
    (layer,) = (layer for layer in config["layers"] if layer["class_name"] == "Dense")
    layer["config"]["units"] = 1 << 28


def enlarge_padding(config: dict) -> None:
    padding = {"name": "padding", "padding": [[0, 20_000], [0, 20_000]]}
    config["layers"].insert(1, serialized("ZeroPadding2D", "keras.layers", padding))


def rename_layer(config: dict) -> None:
    config["layers"][1]["config"]["argument_of_tomorrow"] = 1


def with_description(**values) -> Callable:
    return lambda config: config["layers"][-1]["config"]["description"].update(values)


def enlarge_input(config: dict) -> None:
    with_description(image_size=40_000)(config)
    config["layers"][0]["config"]["batch_shape"] = [None, 40_000, 40_000, 3]


def write_zip_bomb(path: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(1100):
                member.write(bytes(1 << 20))


def write_hdf5(path: Path, target: Path) -> None:
    with h5py.File(target, "w") as file:
        file["weights"] = np.zeros(3)


def write_link(path: Path, target: Path) -> None:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")
    rewrite(path, target, **{"model.weights.h5": content.getvalue()})


def write_damaged(path: Path, target: Path) -> None:
    content = path.read_bytes()
    target.write_bytes(content[:3000] + b"\0\0\0" + content[3003:])


def write_without_description(path: Path, target: Path) -> None:
    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Dense(7)]).save(target)


def write_nan(path: Path, target: Path) -> None:
    model = load_model(path)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    save_model(model, target)


def onnx_model(operator: str = "Relu", *, domain: str = "", location: str = "") -> bytes:
    """Return an ONNX model of one operator, and of one tensor if it is in another file."""
    from onnx import ModelProto, TensorProto, helper

    names = ("probabilities", "features")
    inputs = [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, 32, 32, 3])]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 7]) for name in names]
    nodes = [helper.make_node(operator, ["pixels"], names, domain=domain)]
    graph = helper.make_graph(nodes, "main", inputs, outputs)
    if location:
        tensor = graph.initializer.add(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value=location)
    operators = [helper.make_opsetid(name, 15) for name in {"", domain}]
    model: ModelProto = helper.make_model(graph, opset_imports=operators)
    return model.SerializeToString()


def writing_onnx(operator: str, **options: str) -> Callable[[Path, Path], object]:
    """Return a function that writes a model with a description and its checksum."""
    return lambda path, target: target.write_bytes(
        pack(peek_description(path), onnx_model(operator, **options))
    )


def write_saved_model(path: Path, target: Path) -> None:
    target.mkdir()
    (target / "saved_model.pb").write_bytes(b"any")


ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:"
# Each writes a file, given the path of a good model.
MODEL_FILES = {
    "missing file": lambda path, target: None,
    "folder without a model": lambda path, target: target.mkdir(),
    "text": lambda path, target: target.write_text("not a model"),
    "HDF5 named `.keras`": write_hdf5,
    "pickle": lambda path, target: target.write_bytes(pickle.dumps({"weights": [1, 2, 3]})),
    "truncated file": lambda path, target: target.write_bytes(path.read_bytes()[:-9999]),
    "ONNX named `.keras`": lambda path, target: target.write_bytes(ONNX),
    "ONNX named `.tflite`": lambda path, target: target.write_bytes(ONNX),
    "`.tflite` of another program": lambda path, target: target.write_bytes(
        b"\x1c\0\0\0TFL3" + bytes(100)
    ),
    "`.onnx` without its packages": lambda path, target: target.write_bytes(ONNX),
    "truncated `.onnx`": lambda path, target: target.write_bytes(ONNX),
    "`.onnx` of another program": lambda path, target: target.write_bytes(onnx_model()),
    "`.onnx` with another model": lambda path, target: target.write_bytes(
        pack(peek_description(path), onnx_model()).replace(b"Relu", b"Tanh")
    ),
    "`.onnx` with an operator of others": writing_onnx("Relu", domain="com.microsoft"),
    "`.onnx` with a loop": writing_onnx("Loop"),
    "`.onnx` with weights in another file": writing_onnx("Relu", location="/etc/passwd"),
    "folder of a SavedModel": write_saved_model,
    "damaged content": write_damaged,
    "additional file": lambda path, target: rewrite(path, target, **{"other.txt": b"text"}),
    "zip bomb": write_zip_bomb,
    "`Lambda` layer in a nested model": changing(insert_lambda),
    "function of another module": changing(insert_function),
    "layer that reads another file": changing(insert_lookup),
    "layer with gigabytes of weights": changing(enlarge_layer),
    "layer with gigabytes of outputs": changing(enlarge_padding),
    "weights in another file": write_link,
    "JSON nested a hundred thousand times": lambda path, target: rewrite(
        path, target, **{"metadata.json": b"[" * 100_000}
    ),
    "no description": write_without_description,
    "wrong number of outputs": changing(with_description(class_names=["a", "b"])),
    "input of 40,000 x 40,000 pixels": changing(enlarge_input),
    "class names that are not strings": changing(with_description(class_names=[*range(7)])),
    "class that is malignant and no class": changing(with_description(malignant=["other"])),
    "negative temperature": changing(with_description(temperature=-1.0)),
    "NaN as weights": write_nan,
    "layer of a later Keras": lambda path, target: rewrite(
        path, target, rename_layer, **{"metadata.json": b'{"keras_version": "9.9.9"}'}
    ),
}


def test_all_rows_of_model_files_are_tested():
    assert [title for title, _ in read_rows("Model files")] == list(MODEL_FILES)


@pytest.mark.parametrize(("title", "line"), each_row("Model files"))
def test_model_files(small_model, sample_dir, tmp_path, capsys, monkeypatch, title, line):
    suffix = next((s for s in (".tflite", ".onnx") if f"`{s}`" in title), ".keras")
    if "without its packages" in title:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
    elif suffix == ".onnx" and not HAS_ONNX:
        pytest.skip("needs requirements-onnx.txt")
    model = tmp_path / f"model{suffix}"
    MODEL_FILES[title](small_model, model)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert predict.main(["--image", str(tmp_path / "a.jpg"), "--model_path", str(model)]) == 2
    assert_printed(line, capsys.readouterr().err)
    assert evaluate.main(["--model_path", str(model), "--data_dir", str(sample_dir)]) == 2
    assert_printed(line.replace("predict.py", "evaluate.py"), capsys.readouterr().err)
