"""Every row of the label tables and of the classes in docs/inputs.md."""

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from input_rows import assert_printed, each_row, jpeg, raise_interrupt, read_rows
from PIL import Image

import train
from data.ham10000 import CLASS_NAMES

pytestmark = pytest.mark.usefixtures("shallow_baseline", "without_notes")

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
