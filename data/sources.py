"""Data sets of other layouts in the frame of HAM10000: ISIC challenges, a folder for each class."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data import DataError, one_line
from data.ham10000 import (
    CLASS_NAMES,
    DIAGNOSES,
    add_lesions,
    add_paths,
    find_table,
    list_files,
    no_folder,
    read_metadata,
    read_table,
    to_years,
)

if TYPE_CHECKING:
    import pandas as pd

# Diagnoses of the ISIC challenges, 2018: https://challenge.isic-archive.com/landing/2018/,
# 2019: https://challenge.isic-archive.com/landing/2019/. HAM10000's akiec are actinic keratoses and
# carcinomas in situ; an invasive squamous cell carcinoma (SCC) is neither.
ISIC_CLASSES: dict[str, str | None] = {
    "MEL": "mel",
    "NV": "nv",
    "BCC": "bcc",
    "AKIEC": "akiec",
    "AK": "akiec",
    "BKL": "bkl",
    "DF": "df",
    "VASC": "vasc",
    "SCC": None,
    "UNK": None,
}
# What the metadata of a challenge call the columns of HAM10000.
_ISIC_COLUMNS = {
    "image": "image_id",
    "diagnosis_confirm_type": "dx_type",
    "age_approx": "age",
    "anatom_site_general": "localization",
}
_OTHER_NAMES = {
    "nevus": "nv",
    "naevus": "nv",
    "melanocytic nevi": "nv",
    "actinic keratosis": "akiec",
    "actinic keratoses": "akiec",
    "bowens disease": "akiec",
    "seborrheic keratosis": "bkl",
    "pigmented benign keratosis": "bkl",
    "benign keratosis like lesions": "bkl",
    "squamous cell carcinoma": None,
    "unknown": None,
}


@dataclass(frozen=True)
class Dataset:
    """A data set as the rest of the project takes it.

    Attributes:
        frame: one row an image, as from `read_metadata`; `path` is None where there is no file.
        layout: what it was recognised as, in words.
        notes: lines on what was renamed or left out.
    """

    frame: "pd.DataFrame"
    layout: str
    notes: tuple[str, ...] = ()


def read_dataset(data_dir: str | os.PathLike) -> Dataset:
    """Recognise the layout of a folder and read its labels.

    In this order: a table with the columns of HAM10000; a table of an ISIC challenge, with one
    column a class, and beside it optionally a `*_LesionGroupings.csv` or `*_Metadata.csv`; a folder
    of images for each class.

    Args:
        data_dir: the folder; searched with all its subfolders.

    Returns:
        Its images, with HAM10000's names of the classes; what has no counterpart is left out.

    Raises:
        DataError: there is no such folder, its layout is none of these, or it cannot be used.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise DataError(no_folder(data_dir))
    tables, paths = list_files(root)
    table = find_table(tables)
    if table:
        return Dataset(read_metadata(root), f"HAM10000, {table.name}")
    truths = [path for path in tables if path.stem.lower().endswith("_groundtruth")]
    if truths:
        return _read_challenge(root, truths, tables, paths)
    return _read_folders(root, paths)


def _read_challenge(
    root: Path, truths: list[Path], tables: list[Path], paths: list[str]
) -> Dataset:
    """Read a table with one column a class."""
    import pandas as pd

    contents = {path.read_bytes() for path in truths}
    if len(contents) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in truths)
        raise DataError(
            f"{root} should hold one table of labels, received {names}; put each into a folder of "
            "its own, with its images"
        )
    table = truths[0]
    rows = read_table(table, ("image",))
    known = [name for name in rows if name in ISIC_CLASSES]
    if len(known) < 2:
        raise DataError(
            f"{table} should have a column for each class, such as {', '.join(ISIC_CLASSES)}, "
            f"received {', '.join(rows)[:200]}"
        )
    marks = rows[known].apply(lambda column: column.str.fullmatch(r"1(\.0*)?"))
    wrong = rows.index[marks.sum(axis=1) != 1]
    if len(wrong):
        raise DataError(
            f"{table}: one class of each image should be 1 and the others 0, received "
            f"{', '.join(rows.loc[wrong[0], known])} in line {wrong[0] + 2}; correct or remove "
            f"{len(wrong)} such rows"
        )
    frame = rows[["image"]].rename(columns=_ISIC_COLUMNS)
    frame["label"] = marks.idxmax(axis=1)
    repeated = frame.loc[frame["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise DataError(
            f"{table}: every image should stand once, {repeated.iloc[0]} comes again in line "
            f"{repeated.index[0] + 2}; remove {len(repeated)} rows"
        )
    about = [
        path for path in tables if path.stem.lower().endswith(("_lesiongroupings", "_metadata"))
    ]
    if about:
        # Those of training and of test may lie side by side.
        more = pd.concat(read_table(path, ("image",)) for path in about)
        more = more.rename(columns=_ISIC_COLUMNS).drop_duplicates("image_id")
        known_columns = ("lesion_id", "dx_type", "age", "sex", "localization")
        columns = [name for name in known_columns if name in more]
        frame = frame.merge(more[["image_id", *columns]], on="image_id", how="left")
    frame = frame.fillna("")
    add_paths(frame, paths, table)
    if "lesion_id" not in frame:
        frame["lesion_id"] = ""
    add_lesions(frame, table)
    if "age" in frame:
        frame["age"] = to_years(frame["age"], table)
    present = [name for name in known if (frame["label"] == name).any()]
    beside = "".join(f" and {path.name}" for path in about)
    return _map(frame, present, f"ISIC challenge, {table.name}{beside}", root)


def _read_folders(root: Path, paths: list[str]) -> Dataset:
    """Take the name of an image's folder for its diagnosis."""
    import pandas as pd

    frame = pd.DataFrame({"path": paths}, dtype=str)
    frame["label"] = [Path(path).parent.name for path in paths]
    frame["image_id"] = [_as_text(Path(path).stem) for path in paths]
    # Numbered anew in each folder: the folder is part of the name then.
    again = frame["image_id"].duplicated(keep=False)
    frame.loc[again, "image_id"] = [
        _as_text(Path(path).relative_to(root).with_suffix("").as_posix())
        for path in frame.loc[again, "path"]
    ]
    names = list(dict.fromkeys(frame["label"]))
    if not any(_class_of(name) for name in names):
        raise DataError(
            f"expected HAM10000_metadata.csv or another table with the columns image_id and dx, a "
            f"*_GroundTruth.csv, or a folder of images for each of {', '.join(CLASS_NAMES)} in "
            f"{root}, found none of them; put them there, or fetch HAM10000 with "
            f"python -m data.download"
        )
    frame["lesion_id"] = ""
    add_lesions(frame, root)
    return _map(frame, names, "a folder for each class", root)


def _as_text(name: str) -> str:
    """Return the name of a file, which need not be UTF-8, as text that can stand in a table."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _map(frame: "pd.DataFrame", names: Iterable[str], layout: str, root: Path) -> Dataset:
    """Give the classes HAM10000's names; leave out and count what has no counterpart."""
    class_of = {name: _class_of(name) for name in names}
    counts = frame["label"].value_counts()
    pairs = [f"{name} = {label}" for name, label in class_of.items() if label]
    notes = [f"classes: {', '.join(pairs)}"]
    left_out = [f"{counts[name]:,} {name}" for name, label in class_of.items() if not label]
    if left_out:
        notes.append(f"left out for want of a class of HAM10000: {', '.join(left_out)}")
    frame = frame.assign(label=frame["label"].map(class_of))
    frame = frame[frame["label"].notna()].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"{root} has no image of a class of HAM10000, only {', '.join(left_out)}")
    return Dataset(frame, layout, tuple(notes))


def _class_of(name: str) -> str | None:
    """Return HAM10000's name of a class, None where it has none."""
    if name.upper() in ISIC_CLASSES:
        return ISIC_CLASSES[name.upper()]
    plain = re.sub(r"[^a-z]+", " ", name.lower().replace("'", "")).strip()
    by_name = {diagnosis.replace("'", ""): label for label, diagnosis in DIAGNOSES.items()}
    return {**by_name, **_OTHER_NAMES}.get(plain)


def drop_missing(frame: "pd.DataFrame", data_dir: str | os.PathLike) -> "tuple[pd.DataFrame, str]":
    """Leave out the rows without an image.

    Args:
        frame: of a `Dataset`.
        data_dir: its folder.

    Returns:
        The others, numbered anew; and a line that counts and names what was left out, empty where
        nothing was.
    """
    missing = frame.loc[frame["path"].isna(), "image_id"].tolist()
    if not missing:
        return frame, ""
    names = ", ".join(missing[:10]) + (f" and {len(missing) - 10:,} more" if missing[10:] else "")
    line = (
        f"left out: {len(missing):,} of {len(frame):,} labels have no image file in {data_dir}: "
        f"{names}"
    )
    return frame[frame["path"].notna()].reset_index(drop=True), one_line(line)
