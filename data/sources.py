"""Reading data sets: one reader per layout, one table for all of them."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data import DataError
from data.ham10000 import CLASS_NAMES, DIAGNOSES
from data.tables import (
    add_paths,
    check_unique,
    fill_lesion_ids,
    find_table,
    line_number,
    list_files,
    read_table,
    to_years,
    warn,
)
from support.files import one_line

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
# Columns in the metadata of the challenges, and their names in HAM10000.
_ISIC_COLUMNS = {
    "image": "image_id",
    "diagnosis_confirm_type": "dx_type",
    "age_approx": "age",
    "anatom_site_general": "localization",
}
# Further names of folders, and the class of each.
_SYNONYMS = {
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
_METADATA_COLUMNS = ("lesion_id", "dx_type", "age", "sex", "localization")


@dataclass(frozen=True)
class Dataset:
    """A data set of any layout.

    Attributes:
        frame: one row per image: `image_id`, `lesion_id`, `label` (one of `CLASS_NAMES`), `path`
            (str, missing where there is no file), and those of `dx_type`, `age` (years, float64),
            `sex` and `localization` that the data set has.
        layout: description of the layout that was recognized.
        notes: lines on classes that were renamed or skipped.
    """

    frame: pd.DataFrame
    layout: str
    notes: tuple[str, ...] = ()


def read_dataset(data_dir: str | os.PathLike) -> Dataset:
    """Recognize the layout of a data set and read its labels.

    The layouts, in the order in which they are tried: a table with the columns of HAM10000; a
    table of an ISIC challenge, with one column per class and, optionally, a
    `*_LesionGroupings.csv` or `*_Metadata.csv` beside it; one folder of images per class.

    Args:
        data_dir: the folder; searched with all its subfolders.

    Returns:
        The images, labeled with the classes of HAM10000; images of other classes are skipped.

    Raises:
        DataError: the folder does not exist, has another layout or cannot be used.
    """
    root = Path(data_dir)
    if not root.is_dir():
        raise DataError(
            f"expected a folder of images and labels, found no folder {str(data_dir)!r}; download "
            f"HAM10000 with python -m data.download --output_dir {data_dir}, or choose another "
            "folder"
        )
    tables, images = list_files(root)
    table = find_table(tables, stem="ham10000_metadata", columns=("image_id", "dx"))
    if table:
        return _read_ham10000(table, images)
    ground_truths = [path for path in tables if path.stem.lower().endswith("_groundtruth")]
    if ground_truths:
        return _read_challenge(root, ground_truths, tables, images)
    return _read_class_folders(root, images)


def drop_missing(frame: pd.DataFrame, data_dir: str | os.PathLike) -> tuple[pd.DataFrame, str]:
    """Drop the rows without an image file.

    Args:
        frame: of a `Dataset`.
        data_dir: its folder, for the message.

    Returns:
        The other rows, under a new index; and a line that counts and names the skipped images,
        empty if there are none.
    """
    missing = frame.loc[frame["path"].isna(), "image_id"].tolist()
    if not missing:
        return frame, ""
    names = ", ".join(missing[:10]) + (f" and {len(missing) - 10:,} more" if missing[10:] else "")
    line = (
        f"skipped {len(missing):,} of {len(frame):,} labels: no image file in {data_dir}: {names}"
    )
    return frame[frame["path"].notna()].reset_index(drop=True), one_line(line)


def _read_ham10000(table: Path, images: list[str]) -> Dataset:
    """Read HAM10000's own table; all columns but `image_id` and `dx` are optional."""
    frame = read_table(table, ("image_id", "dx")).rename(columns={"dx": "label"})
    frame["label"] = frame["label"].str.lower()
    unknown = frame.loc[~frame["label"].isin(CLASS_NAMES), "label"]
    if len(unknown):
        raise DataError(
            f"{table}: expected dx to be one of {', '.join(CLASS_NAMES)}, received "
            f"{unknown.iloc[0]!r} in line {line_number(unknown)}; correct or remove such rows "
            f"({len(unknown)} in total)"
        )
    same = frame.duplicated()
    if same.any():
        example = frame.loc[same, "image_id"].iloc[0]
        warn(f"{table}: duplicate rows, such as {example}, are skipped ({same.sum()} in total)")
        frame = frame[~same]
    check_unique(frame, table)
    frame = frame.reset_index(drop=True)
    fill_lesion_ids(frame, table)
    diagnoses = frame.groupby("lesion_id")["label"].nunique()
    if (diagnoses > 1).any():
        warn(
            f"{table}: lesions with more than one diagnosis, such as {diagnoses.idxmax()}, stay in "
            f"one split, and each image keeps its own diagnosis ({(diagnoses > 1).sum()} in total)"
        )
    if "age" in frame:
        frame["age"] = to_years(frame["age"], table)
    columns = ("image_id", "lesion_id", "label", "dx_type", "age", "sex", "localization")
    frame = frame[[name for name in columns if name in frame]].copy()
    add_paths(frame, images, table)
    return Dataset(frame, f"HAM10000, {table.name}")


def _read_challenge(
    root: Path, ground_truths: list[Path], tables: list[Path], images: list[str]
) -> Dataset:
    """Read the table of an ISIC challenge, and the metadata beside it."""
    if len({path.read_bytes() for path in ground_truths}) > 1:
        names = ", ".join(str(path.relative_to(root)) for path in ground_truths)
        raise DataError(
            f"{root}: expected one table of labels, received {names}; move each into its own "
            "folder, with its images"
        )
    table = ground_truths[0]
    frame = _read_ground_truth(table)
    names = [name for name in ISIC_CLASSES if (frame["label"] == name).any()]
    endings = ("_lesiongroupings", "_metadata")
    metadata_tables = [path for path in tables if path.stem.lower().endswith(endings)]
    if metadata_tables:
        # The tables of several parts of a challenge may be in one folder.
        metadata = pd.concat(read_table(path, ("image",)) for path in metadata_tables)
        metadata = metadata.rename(columns=_ISIC_COLUMNS).drop_duplicates("image_id")
        columns = [name for name in _METADATA_COLUMNS if name in metadata]
        frame = frame.merge(metadata[["image_id", *columns]], on="image_id", how="left")
    frame = frame.fillna("")
    add_paths(frame, images, table)
    fill_lesion_ids(frame, table)
    if "age" in frame:
        frame["age"] = to_years(frame["age"], table)
    files = " and ".join(path.name for path in (table, *metadata_tables))
    return _rename_classes(frame, names, f"ISIC challenge, {files}", root)


def _read_ground_truth(table: Path) -> pd.DataFrame:
    """Read a table with one column per class; returns `image_id` and `label`, in its own words."""
    rows = read_table(table, ("image",))
    classes = [name for name in rows if name in ISIC_CLASSES]
    if len(classes) < 2:
        raise DataError(
            f"{table}: expected one column per class, such as {', '.join(ISIC_CLASSES)}, received "
            f"{', '.join(rows)[:200]}"
        )
    is_one = rows[classes].apply(lambda column: column.str.fullmatch(r"1(\.0*)?"))
    wrong = rows.loc[is_one.sum(axis=1) != 1, classes]
    if len(wrong):
        raise DataError(
            f"{table}: expected 1 for one class of each image and 0 for the others, received "
            f"{', '.join(wrong.iloc[0])} in line {line_number(wrong)}; correct or remove such rows "
            f"({len(wrong)} in total)"
        )
    frame = rows[["image"]].rename(columns=_ISIC_COLUMNS)
    frame["label"] = is_one.idxmax(axis=1)
    check_unique(frame, table)
    return frame


def _read_class_folders(root: Path, images: list[str]) -> Dataset:
    """Take the name of an image's folder as its label."""
    frame = pd.DataFrame({"path": images}, dtype=str)
    frame["label"] = [Path(path).parent.name for path in images]
    frame["image_id"] = [_as_text(Path(path).stem) for path in images]
    # If the files are numbered from 1 in each folder, the folder becomes part of the id.
    ambiguous = frame["image_id"].duplicated(keep=False)
    frame.loc[ambiguous, "image_id"] = [
        _as_text(Path(path).relative_to(root).with_suffix("").as_posix())
        for path in frame.loc[ambiguous, "path"]
    ]
    names = list(dict.fromkeys(frame["label"]))
    if not any(_find_class(name) for name in names):
        raise DataError(
            f"{root}: expected HAM10000_metadata.csv or another table with the columns image_id "
            "and dx, a *_GroundTruth.csv, or one folder of images per class "
            f"({', '.join(CLASS_NAMES)}), found none of them; put them there, or download HAM10000 "
            "with python -m data.download"
        )
    fill_lesion_ids(frame, root)
    return _rename_classes(frame, names, "one folder per class", root)


def _as_text(name: str) -> str:
    """Return a file name, which need not be UTF-8, as text that can be written to a table."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _rename_classes(frame: pd.DataFrame, names: Iterable[str], layout: str, root: Path) -> Dataset:
    """Replace labels by the classes of HAM10000; skip and count those without one."""
    class_of = {name: _find_class(name) for name in names}
    counts = frame["label"].value_counts()
    pairs = [f"{name} = {label}" for name, label in class_of.items() if label]
    notes = [f"classes: {', '.join(pairs)}"]
    skipped = ", ".join(f"{counts[name]:,} {name}" for name, label in class_of.items() if not label)
    if skipped:
        notes.append(f"skipped, not a class of HAM10000: {skipped}")
    frame = frame.assign(label=frame["label"].map(class_of))
    frame = frame[frame["label"].notna()].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"{root}: expected images of the classes of HAM10000, received {skipped}")
    return Dataset(frame, layout, tuple(notes))


def _find_class(name: str) -> str | None:
    """Return the class of HAM10000 that a name stands for, None if there is none."""
    if name.upper() in ISIC_CLASSES:
        return ISIC_CLASSES[name.upper()]
    words = re.sub(r"[^a-z]+", " ", name.lower().replace("'", "")).strip()
    by_name = {diagnosis.replace("'", ""): label for label, diagnosis in DIAGNOSES.items()}
    return {**by_name, **_SYNONYMS}.get(words)
