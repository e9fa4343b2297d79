"""Goes through the tables of docs/inputs.md row by row."""

import errno
import io
import json
import os
import pickle
import re
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import predict
import train
from data.ham10000 import CLASS_NAMES

TEXT = (Path(__file__).parent.parent / "docs/inputs.md").read_text(encoding="utf-8")


def rows(section: str) -> list[tuple[str, ...]]:
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


def link_to_a_folder(path: Path) -> None:
    elsewhere = path.parent.parent / "elsewhere"
    elsewhere.mkdir()
    picture().save(elsewhere / "inside.png")
    # Once, although it leads into itself and is linked to twice.
    (elsewhere / "itself").symlink_to(elsewhere)
    path.symlink_to(elsewhere)
    path.with_name("linked too").symlink_to(elsewhere)


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
    "link to a folder": ("linked", link_to_a_folder),
    "HDF5, which Pillow knows but cannot decode, in a folder": (
        "weights.h5",
        lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)),
    ),
    "missing file": ("gone.jpg", lambda path: None),
    "link to nothing": ("dangling.jpg", lambda path: path.symlink_to("/nowhere/at/all")),
    "file of zero bytes": ("zero.jpg", lambda path: path.touch()),
    "JPEG cut short": ("half.jpg", lambda path: path.write_bytes(jpeg()[:700])),
    "text file named `.jpg`": ("text.jpg", lambda path: path.write_text("no picture")),
    "file without permission to read": ("secret.jpg", forbidden),
    "1 x 1 pixel": ("dot.png", lambda path: Image.new("RGB", (1, 1)).save(path)),
    "20,000 x 20,000 pixels": ("bomb.png", lambda path: path.write_bytes(bomb())),
    "32-bit grey beyond 16 bits": (
        "deeper.tif",
        lambda path: Image.fromarray(np.full((20, 20), 70_000, np.int32)).save(path),
    ),
    "EPS, which is a program": ("program.eps", lambda path: picture().save(path)),
}


def test_images_row_by_row(tmp_path, capsys, monkeypatch):
    table = rows("Images")
    assert [name for name, _, _ in table] == list(IMAGES)
    root = tmp_path / "pictures"
    root.mkdir()
    for name, write in IMAGES.values():
        write(root / name)
    if os.access(root / "secret.jpg", os.R_OK):  # the superuser may read everything
        open_file = open

        def open_as_others(path, *args, **options):
            if str(path).endswith("secret.jpg"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return open_file(path, *args, **options)

        monkeypatch.setattr("builtins.open", open_as_others)
    sources = [str(root), str(root / "gone.jpg")]
    assert predict.main(["--image", *sources, "--output", str(tmp_path / "table.csv")]) == 1
    errors = capsys.readouterr().err.splitlines()
    images = pd.read_csv(tmp_path / "table.csv")["image"]
    assert images.is_unique
    predicted = set(images)
    for title, used, line in table:
        path = root / IMAGES[title][0]
        if path.is_dir():
            path = path / "inside.png"
        if used.startswith("no"):
            (found,) = [error for error in errors if str(path) in error]
            assert re.fullmatch(pattern(line), found)
        assert (str(path) in predicted) != used.startswith(("no", "passed")), title
    assert len(errors) == sum(used.startswith("no") for _, used, _ in table)


def no_space() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


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
    "an age that is none": text(changed("age", 3, "1e999")),
    "no `lesion_id` in one row": text(changed("lesion_id", 4, "")),
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
    "a comma without quotes in a field": text(changed("localization", 0, "back, left")).replace(
        b'"', b""
    ),
    "a web page saved as CSV": b"<!DOCTYPE html>\n<html><body>Log in</body></html>\n",
    "another encoding than UTF-8": text(changed("localization", 4, "Rücken"))
    .decode()
    .encode("latin-1"),
    "one class only": text(FRAME[FRAME["dx"] == "nv"]),
    "output folder that cannot be written": text(),
    "no space left on the device": text(),
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
        raise no_space() if title.startswith("no space") else KeyboardInterrupt

    # What follows is training, which has its own tests.
    monkeypatch.setattr(train, "build", stop)
    code = train.main([*argv, "--output_dir", str(runs)])
    errors = [error for error in capsys.readouterr().err.splitlines() if error]
    assert code == (2 if outcome.startswith("exit 2") else 130)
    said = [error for error in errors if error != "train.py: stopped"]
    assert len(said) == (1 if line else 0), said
    if line:
        assert re.fullmatch(pattern(line), said[0])


@pytest.fixture(scope="module")
def stopped(sample_dir, tmp_path_factory) -> Path:
    """A run on a copy of the sample pictures that was stopped after its first epoch."""
    from models.progress import Progress

    root = tmp_path_factory.mktemp("stopped")
    shutil.copytree(sample_dir, root / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Progress, "on_epoch_end", interrupted)
        assert train.main(flags_for(root)) == 130
    (run,) = (root / "runs").iterdir()
    return run


def flags_for(root: Path) -> list[str]:
    flags = ["--model", "sequential", "--image_size", "32", "--batch_size", "8", "--epochs", "2"]
    return [*flags, "--data_dir", str(root / "data"), "--output_dir", str(root / "runs")]


def interrupted(*_, **__):
    raise KeyboardInterrupt


def without_memory(*_, **__):
    raise MemoryError


def without_space(*_):
    raise no_space()


def edit_settings(run: Path) -> None:
    record = json.loads((run / "config.json").read_text())
    record["config"]["data_dir"] = "nowhere"
    (run / "config.json").write_text(json.dumps(record))


def table_of(run: Path) -> Path:
    (path,) = (run.parent.parent / "data").glob("*.csv")
    return path


def repaint(run: Path) -> None:
    split = pd.read_csv(run / "split.csv")
    image_id = split.loc[split["split"] == "train", "image_id"].iloc[0]
    (path,) = (run.parent.parent / "data").rglob(f"{image_id}.jpg")
    picture().save(path)


def relabel(run: Path) -> None:
    frame = pd.read_csv(table_of(run))
    frame.loc[0, "dx"] = "mel" if frame.loc[0, "dx"] != "mel" else "nv"
    frame.to_csv(table_of(run), index=False)


def turn_round(run: Path) -> None:
    pd.read_csv(table_of(run))[::-1].to_csv(table_of(run), index=False)


def cut(run: Path, name: str) -> None:
    content = (run / name).read_bytes()
    (run / name).write_bytes(content[: len(content) // 2])


# What goes wrong in a new run, and what is changed in a stopped one before it is resumed.
STOPPED = {
    "Ctrl-C": ("models.progress.Progress.on_epoch_end", interrupted),
    "the loss is no number any more": None,
    "the disk is full while saving": ("models.training._write_history", without_space),
    "out of memory": ("models.progress.Progress.on_epoch_end", without_memory),
    "out of memory while decoding": ("data.pipeline.decode_images", without_memory),
}
RESUMED = {
    "`--resume`, a setting was edited": edit_settings,
    "`--resume`, an image has other pixels": repaint,
    "`--resume`, a label was changed": relabel,
    "`--resume`, the table is in another order": turn_round,
    "`--resume`, `resume.json` is damaged": lambda run: cut(run, "resume.json"),
    "`--resume`, `resume.npz` is damaged": lambda run: cut(run, "resume.npz"),
    "`--resume`, `resume.npz` is empty": lambda run: (run / "resume.npz").write_bytes(b""),
    "`--resume` of a finished run": lambda run: (run / "resume.json").unlink(),
}


def test_the_table_of_runs_is_tested_whole():
    assert [name for name, _, _ in rows("Runs")] == [*STOPPED, *RESUMED]


@pytest.mark.parametrize(("title", "outcome", "line"), rows("Runs"))
def test_runs_row_by_row(stopped, sample_dir, tmp_path, capsys, monkeypatch, title, outcome, line):
    if title in STOPPED:
        (tmp_path / "data").symlink_to(sample_dir)
        argv = flags_for(tmp_path)
        if STOPPED[title]:
            monkeypatch.setattr(*STOPPED[title])
        else:
            argv += ["--learning_rate", "1e30"]
        code = train.main(argv)
    else:
        # A run knows its data by their path: both are put back to where they were.
        root = stopped.parent.parent
        shutil.copytree(root, tmp_path / "kept")
        RESUMED[title](stopped)
        code = train.main(["--resume", str(stopped)])
        shutil.rmtree(root)
        shutil.copytree(tmp_path / "kept", root)
    assert code == (130 if outcome == "exit 130" else 2)
    said = [error for error in capsys.readouterr().err.splitlines() if error]
    assert len(said) == 1, said
    assert re.fullmatch(pattern(line), said[0])


def rewritten(path: Path, target: Path, change=None, **members: bytes) -> None:
    """Copy a model file with another configuration, and other or further members."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        content = {name: old.read(name) for name in old.namelist()}
        settings = json.loads(content["config.json"])
        if change:
            change(settings["config"])
        content["config.json"] = json.dumps(settings).encode()
        for name, value in (content | members).items():
            new.writestr(name, value)


def insert(name: str, module: str, settings) -> dict:
    return {"class_name": name, "module": module, "config": settings, "registered_name": None}


def nest(config: dict) -> None:
    inner = insert("Sequential", "keras", {"layers": [insert("Lambda", "keras.layers", {})]})
    config["layers"].insert(1, inner)


def describe(**values):
    return lambda config: config["layers"][-1]["config"]["description"].update(values)


def enlarge(config: dict) -> None:
    describe(image_size=40_000)(config)
    config["layers"][0]["config"]["batch_shape"] = [None, 40_000, 40_000, 3]


def write_bomb(path: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(1100):
                member.write(bytes(1 << 20))


def write_hdf5(path: Path, target: Path) -> None:
    with h5py.File(target, "w") as file:
        file["weights"] = np.zeros(3)


def write_damaged(path: Path, target: Path) -> None:
    content = path.read_bytes()
    target.write_bytes(content[:3000] + b"\0\0\0" + content[3003:])


def write_plain(path: Path, target: Path) -> None:
    import keras

    keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Dense(7)]).save(target)


def write_nan(path: Path, target: Path) -> None:
    from models.bundle import load_model, save_model

    model = load_model(path)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    save_model(model, target)


def changing(change):
    return lambda path, target: rewritten(path, target, change)


MODELS = {
    "none": lambda path, target: None,
    "text": lambda path, target: target.write_text("no model"),
    "HDF5 named `.keras`": write_hdf5,
    "a pickle": lambda path, target: target.write_bytes(pickle.dumps({"weights": [1, 2, 3]})),
    "cut short": lambda path, target: target.write_bytes(path.read_bytes()[:-9999]),
    "damaged inside": write_damaged,
    "one more member": lambda path, target: rewritten(path, target, **{"other.txt": b"text"}),
    "zip bomb": write_bomb,
    "Lambda layer in a nested model": changing(nest),
    "a function of another module": changing(
        lambda config: config["layers"][1]["config"].update(fn=insert("function", "os", "system"))
    ),
    "a layer that reads another file": changing(
        lambda config: config["layers"].insert(
            1, insert("StringLookup", "keras.layers", {"vocabulary": "/etc/passwd"})
        )
    ),
    "without a description": write_plain,
    "another number of outputs": changing(describe(class_names=["a", "b"])),
    "input of 40,000 pixels": changing(enlarge),
    "class names that are no text": changing(describe(class_names=list(range(7)))),
    "negative temperature": changing(describe(temperature=-1.0)),
    "weights that are no numbers": write_nan,
    "a layer of a later Keras": lambda path, target: rewritten(
        path,
        target,
        lambda config: config["layers"][1].update(class_name="LayerOfTomorrow"),
        **{"metadata.json": b'{"keras_version": "9.9.9"}'},
    ),
}


def test_the_table_of_model_files_is_tested_whole():
    assert [name for name, _ in rows("Model files")] == list(MODELS)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory) -> Path:
    from models import build_model
    from models.bundle import save_model

    path = tmp_path_factory.mktemp("model") / "good.keras"
    save_model(build_model("sequential", image_size=32, class_names=CLASS_NAMES), path)
    return path


@pytest.mark.parametrize(("title", "line"), rows("Model files"))
def test_model_files_row_by_row(small_model, tmp_path, capsys, title, line):
    picture().save(tmp_path / "a.png")
    MODELS[title](small_model, tmp_path / "model.keras")
    argv = ["--image", str(tmp_path / "a.png"), "--model_path", str(tmp_path / "model.keras")]
    assert predict.main(argv) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert re.fullmatch(pattern(line), said[0])
