"""Goes through the tables of docs/inputs.md row by row."""

import io
import os
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import predict
import train
from data.ham10000 import CLASS_NAMES

TEXT = (Path(__file__).parent.parent / "docs/inputs.md").read_text(encoding="utf-8")


def rows(section: str) -> list[tuple[str, str, str]]:
    """Return the rows of the table under a heading."""
    body = TEXT.split(f"## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in body.splitlines() if line.startswith("|")][2:]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]


def pattern(line: str) -> str:
    return re.escape(line).replace("…", ".*")


def picture(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    return Image.fromarray(pixels).convert(mode)


def jpeg() -> bytes:
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG")
    return buffer.getvalue()


def bomb() -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT"


def animated(path: Path) -> None:
    picture().save(path, save_all=True, append_images=[picture("L")])


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(path, exif=exif)


def forbidden(path: Path) -> None:
    path.write_bytes(jpeg())
    path.chmod(0)


IMAGES = {
    "JPEG": ("a.jpg", lambda path: picture().save(path)),
    "ending in capitals, `.JPG`": ("A.JPG", lambda path: picture().save(path)),
    "PNG with transparency": ("clear.png", lambda path: picture("RGBA").save(path)),
    "PNG with a palette": ("palette.png", lambda path: picture("P").save(path)),
    "animated GIF": ("moving.gif", animated),
    "animated WebP": ("moving.webp", animated),
    "greyscale JPEG": ("grey.jpg", lambda path: picture("L").save(path)),
    "16-bit greyscale PNG": (
        "deep.png",
        lambda path: Image.fromarray(np.full((20, 20), 40_000, np.uint16)).save(path),
    ),
    "CMYK JPEG": ("print.jpg", lambda path: picture("CMYK").save(path)),
    "picture turned by EXIF": ("turned.jpg", turned),
    "name that is not ASCII": ("läsion 皮膚.jpg", lambda path: picture().save(path)),
    "name of 240 letters": ("n" * 236 + ".jpg", lambda path: picture().save(path)),
    "folder named `x.jpg`": (
        "x.jpg",
        lambda path: (path.mkdir(), picture().save(path / "inside.png")),
    ),
    "link to a file": ("link.jpg", lambda path: path.symlink_to(path.with_name("a.jpg"))),
    "missing file": ("gone.jpg", lambda path: None),
    "link to nothing": ("dangling.jpg", lambda path: path.symlink_to("/nowhere/at/all")),
    "file of zero bytes": ("zero.jpg", lambda path: path.touch()),
    "JPEG cut short": ("half.jpg", lambda path: path.write_bytes(jpeg()[:700])),
    "text file named `.jpg`": ("text.jpg", lambda path: path.write_text("no picture")),
    "file without permission to read": ("secret.jpg", forbidden),
    "1 x 1 pixel": ("dot.png", lambda path: Image.new("RGB", (1, 1)).save(path)),
    "20,000 x 20,000 pixels": ("bomb.png", lambda path: path.write_bytes(bomb())),
    "EPS, which is a program": ("program.eps", lambda path: picture().save(path)),
}


def test_images_row_by_row(tmp_path, capsys):
    table = rows("Images")
    assert [name for name, _, _ in table] == list(IMAGES)
    for name, write in IMAGES.values():
        write(tmp_path / name)
    sources = [str(tmp_path), str(tmp_path / "gone.jpg")]
    assert predict.main(["--image", *sources, "--output", str(tmp_path / "table.csv")]) == 1
    errors = capsys.readouterr().err.splitlines()
    predicted = set(pd.read_csv(tmp_path / "table.csv")["image"])
    if os.access(tmp_path / "secret.jpg", os.R_OK):  # the superuser may read everything
        table = [row for row in table if row[0] != "file without permission to read"]
    for title, used, line in table:
        path = tmp_path / IMAGES[title][0]
        if path.is_dir():
            path = path / "inside.png"
        if used.startswith("no"):
            (found,) = [error for error in errors if str(path) in error]
            assert re.fullmatch(pattern(line), found)
        assert (str(path) in predicted) != used.startswith("no"), title
    assert len(errors) == sum(used.startswith("no") for _, used, _ in table)


LESIONS = 60
FRAME = pd.DataFrame(
    {
        "lesion_id": [f"HAM_{place // 2:07d}" for place in range(2 * LESIONS)],
        "image_id": [f"ISIC_{place:07d}" for place in range(2 * LESIONS)],
        "dx": [CLASS_NAMES[place // 2 % 7] for place in range(2 * LESIONS)],
        "dx_type": "histo",
        "age": "50.0",
        "sex": "male",
        "localization": "back",
    }
)


def text(frame: pd.DataFrame = FRAME, **options) -> bytes:
    return frame.to_csv(index=False, **options).encode()


def changed(column: str, place: int, value: str) -> pd.DataFrame:
    frame = FRAME.copy()
    frame.loc[place, column] = value
    return frame


def few(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave two lesions of df."""
    lesions = frame.loc[frame["dx"] == "df", "lesion_id"].unique()[:2]
    return frame[(frame["dx"] != "df") | frame["lesion_id"].isin(lesions)]


# One of 120 is within one per cent.
MISSING = FRAME["image_id"].iloc[-1]
METADATA = {
    "HAM10000's own table": text(),
    "byte order mark": b"\xef\xbb\xbf" + text(),
    "line ends of Windows": text(lineterminator="\r\n"),
    "tabs": text(sep="\t"),
    "quoted fields": text(quoting=1),
    "the quoted `.tab` of Dataverse": text(sep="\t", quoting=1),
    "missing age": text(changed("age", 3, "")),
    "no column `lesion_id`": text(FRAME.drop(columns="lesion_id")),
    "a row that stands twice": text(pd.concat([FRAME, FRAME.iloc[:1]])),
    "a lesion with two diagnoses": text(changed("dx", 0, "nv")),
    "a class with fewer lesions than splits": text(few(FRAME)),
    "an image without file, at most 1 %": text(),
    "an id that leads out of the folder": text(changed("image_id", 2 * LESIONS - 1, "../outside")),
    "more than 1 % of the images without file": text(),
    "no such folder": None,
    "no table in the folder": None,
    "empty table": b"",
    "table without rows": text(FRAME.iloc[:0]),
    "missing column `dx`": text(FRAME.drop(columns="dx")),
    "unknown `dx`": text(changed("dx", 5, "wart")),
    "the same image with two labels": text(pd.concat([FRAME, FRAME.iloc[:1].assign(dx="nv")])),
    "a web page saved as CSV": b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n",
    "another encoding than UTF-8": text(changed("localization", 4, "Rücken"))
    .decode()
    .encode("latin-1"),
    "one class only": text(FRAME[FRAME["dx"] == "nv"]),
    "output folder that cannot be written": text(),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """A folder of images for all rows of the table but the last."""
    folder = tmp_path_factory.mktemp("images")
    for image_id in FRAME["image_id"].iloc[:-1]:
        (folder / f"{image_id}.jpg").write_bytes(jpeg())
    return folder


def test_the_table_of_metadata_is_tested_whole():
    assert [name for name, _, _ in rows("Metadata")] == list(METADATA)


@pytest.mark.parametrize(("title", "outcome", "line"), rows("Metadata"))
def test_metadata_row_by_row(images, tmp_path, capsys, monkeypatch, title, outcome, line):
    root = tmp_path / "data"
    runs = tmp_path / "runs"
    if title != "no such folder":
        (root / "images").mkdir(parents=True)
        (tmp_path / "outside.jpg").write_bytes(jpeg())
        for path in images.iterdir():
            os.link(path, root / "images" / path.name)
    if "without file" not in title and "leads out" not in title and root.exists():
        (root / "images" / f"{MISSING}.jpg").write_bytes(jpeg())
    if title.startswith("more than"):
        (root / "images" / "ISIC_0000001.jpg").unlink()
    ending = ".tab" if ".tab" in title else ".csv"
    if METADATA[title] is not None:
        (root / f"HAM10000_metadata{ending}").write_bytes(METADATA[title])
    argv = ["--model", "sequential", "--image_size", "32", "--data_dir", str(root)]
    if title.startswith("output folder"):
        runs.write_text("a file where the folder should be")

    def stop(*_):
        raise KeyboardInterrupt

    # What follows is training, which has its own tests.
    monkeypatch.setattr(train, "build", stop)
    code = train.main([*argv, "--output_dir", str(runs)])
    errors = [error for error in capsys.readouterr().err.splitlines() if error]
    assert code == (2 if outcome.startswith("exit 2") else 130)
    said = [error for error in errors if error != "train.py: stopped"]
    assert len(said) == (1 if line else 0), said
    if line:
        assert re.fullmatch(pattern(line), said[0])
