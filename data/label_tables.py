"""The two kinds of label tables: one diagnosis per row, and one column per class."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from data import DataError
from data.ham10000 import CLASS_NAMES
from data.images import IMAGE_SUFFIXES
from data.labels import ISIC_CLASSES, find_class, is_diagnosis
from data.tables import Table, check_unique, find_columns, list_names, read_header, read_table, warn

HAM10000 = "HAM10000"
CHALLENGE = "ISIC challenge"

IMAGE_COLUMNS = {
    HAM10000: ("image_id", "image", "isic_id", "image_name", "img_id", "filename", "file_name"),
    CHALLENGE: ("image", "image_id", "isic_id", "image_name", "img_id", "filename", "file_name"),
}
# What is known of an image besides its label: names in HAM10000, then in the challenges.
METADATA_COLUMNS = {
    "lesion_id": ("lesion_id",),
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "age": ("age", "age_approx"),
    "sex": ("sex",),
    "localization": ("localization", "anatom_site_general"),
}
# Columns in which a data set may give its split.
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "dataset")
_ONE = r"1([.,]0*)?|true|yes|t|y"
_ZERO = r"0([.,]0*)?|false|no|f|n|"


class NotLabelsError(DataError):
    """A table that looks like labels by its columns only, such as one of probabilities."""


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A table of labels.

    Attributes:
        path: its file.
        layout: `HAM10000` or `CHALLENGE`.
        frame: `image_id`, `image` (as it is written), `label` (as it is written), and the columns
            of `METADATA_COLUMNS` that there are, and those of `SPLIT_COLUMNS` with a training
            split; one row per image, under the lines of the file.
    """

    path: Path
    layout: str
    frame: pd.DataFrame

    def labels(self) -> list[tuple[str, str]]:
        """Return the images, with their folders, and the classes, in an order to compare tables."""
        classes = [find_class(label) or label for label in self.frame["label"]]
        images = map(_whole_name, self.frame["image"])
        return sorted(zip(images, classes, strict=True))


def table_layout(header: Sequence[str], path: Path) -> str:
    """Return the layout of a table of labels, by its name or its columns; empty for others."""
    if is_ham10000(path):
        return HAM10000
    if not any(find_columns(header, name) for name in IMAGE_COLUMNS[HAM10000]):
        return ""
    if find_columns(header, "dx"):
        return HAM10000
    return CHALLENGE if len(_class_columns(header)) > 1 else ""


def is_ham10000(path: Path) -> bool:
    """Tell whether a table is named as that of HAM10000."""
    return path.stem.lower() == "ham10000_metadata"


def is_ground_truth(path: Path) -> bool:
    """Tell whether a table is named as the labels of a challenge are."""
    return path.stem.lower().replace("_", "").endswith("groundtruth")


def is_metadata(path: Path) -> bool:
    """Tell whether a table is named as the metadata of a challenge are."""
    return path.stem.lower().replace("_", "").endswith(("lesiongroupings", "metadata"))


def read_labels(path: Path) -> LabelTable:
    """Read a table of labels of either kind.

    Args:
        path: its file.

    Raises:
        NotLabelsError: there are columns for classes, but most rows choose none of them.
        DataError: it is not such a table, or a row cannot be used.
    """
    layout = table_layout(read_header(path), path)
    table = read_table(path)
    if layout == HAM10000:
        labels = _read_diagnoses(table)
    elif layout or is_ground_truth(path):
        layout, labels = CHALLENGE, _read_one_hot(table)
    else:
        raise DataError(
            f"{path}: expected the columns image_id and dx, or image and one column per class "
            f"({', '.join(ISIC_CLASSES)}), received {list_names(table.header)}; check that it is "
            "the right file, or rename its columns"
        )
    images = _image_column(table, layout)
    frame = pd.DataFrame({"image": images, "label": labels}, index=table.lines)
    for name, names in METADATA_COLUMNS.items():
        if (values := table.column(*names)) is not None:
            frame[name] = values
    for name in SPLIT_COLUMNS:
        if len(find_columns(table.header, name)) == 1:
            splits = table.column(name)
            if any(split.lower() in ("train", "training") for split in splits):
                frame[name] = splits
    frame.insert(0, "image_id", image_ids(frame["image"].tolist()))
    # Columns that the project does not need are not in the frame.
    same = frame.duplicated()
    if same.any():
        example = frame.loc[same, "image_id"].iloc[0]
        warn(f"{path}: duplicate rows, such as {example}, are skipped ({same.sum()} in total)")
        frame = frame[~same]
    check_unique(frame, path)
    return LabelTable(path, layout, frame)


def image_ids(images: Sequence[str]) -> list[str]:
    """Return the ids of images: their names without folders and suffix, where these are unique.

    Args:
        images: as a table names them, such as `ISIC_1`, `ISIC_1.jpg` or `images/ISIC_1.jpg`.

    Returns:
        In Unicode's composed form; with the folders if two have the same name in different ones.
    """
    whole = [_whole_name(image) for image in images]
    # What leads out of the folder has no name inside it.
    stems = [name if ".." in name.split("/") else PurePosixPath(name).name for name in whole]
    names_of: dict[str, set[str]] = {}
    for stem, name in zip(stems, whole, strict=True):
        names_of.setdefault(stem, set()).add(name)
    return [
        stem if len(names_of[stem]) == 1 else name for stem, name in zip(stems, whole, strict=True)
    ]


def _whole_name(image: str) -> str:
    """Return the name of an image with its folders, but without its suffix."""
    name = unicodedata.normalize("NFC", image).replace("\\", "/")
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name


def _image_column(table: Table, layout: str) -> list[str]:
    images = table.column(*IMAGE_COLUMNS[layout])
    if images is None:
        raise DataError(
            f"{table.path}: expected a column {IMAGE_COLUMNS[layout][0]}, received "
            f"{list_names(table.header)}; check that it is the right file"
        )
    if "" in images:
        raise DataError(
            f"{table.path}: expected an image id in each row, received none in line "
            f"{table.lines[images.index('')]}; add it or remove the row "
            f"({images.count('')} in total)"
        )
    return images


def _read_diagnoses(table: Table) -> list[str]:
    """Return the column `dx`, which has to name classes."""
    labels = table.column("dx")
    if labels is None or table.column(*IMAGE_COLUMNS[HAM10000]) is None:
        raise DataError(
            f"{table.path}: expected the columns image_id and dx, received "
            f"{list_names(table.header)}; check that it is the right file"
        )
    wrong = [index for index, label in enumerate(labels) if not find_class(label)]
    if wrong:
        received = repr(labels[wrong[0]][:200]) if labels[wrong[0]] else "none"
        raise DataError(
            f"{table.path}: expected dx to be one of {', '.join(CLASS_NAMES)}, received {received} "
            f"in line {table.lines[wrong[0]]}; correct or remove such rows ({len(wrong)} in total)"
        )
    return labels


def _class_columns(header: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of each class and of other diagnoses, those named as codes alone."""
    columns: dict[str, list[str]] = {}
    for name in dict.fromkeys(header):
        if is_diagnosis(name):
            columns.setdefault(find_class(name) or name, []).append(name)
    return {
        label: [name for name in names if name in ISIC_CLASSES]
        or [name for name in names if name == label]
        or names
        for label, names in columns.items()
    }


def _read_one_hot(table: Table) -> list[str]:
    """Return the name of the column that is 1 in each row."""
    columns = _class_columns(table.header)
    if len(columns) < 2:
        raise DataError(
            f"{table.path}: expected one column per class, such as {', '.join(ISIC_CLASSES)}, "
            f"received {list_names(table.header)}; check that it is the right file"
        )
    values = pd.DataFrame(index=table.lines)
    for name in (name for names in columns.values() for name in names):
        values[name] = table.column(name)
    is_one = values.apply(lambda column: column.str.fullmatch(_ONE, flags=re.IGNORECASE))
    is_zero = values.apply(lambda column: column.str.fullmatch(_ZERO, flags=re.IGNORECASE))
    _check_same_names(values, table.path)
    # A column `other` need not be one of a one-hot encoding.
    columns = {
        label: names
        for label, names in columns.items()
        if label in CLASS_NAMES or (is_one | is_zero)[names].all(axis=None)
    }
    used = [name for names in columns.values() for name in names]
    values, is_one, is_zero = values[used], is_one[used], is_zero[used]
    by_class = pd.DataFrame({label: is_one[names].any(axis=1) for label, names in columns.items()})
    is_right = (by_class.sum(axis=1) == 1) & (is_one | is_zero).all(axis=1)
    if not is_right.all():
        # Probabilities are the output of a model, not labels.
        is_labels = is_ground_truth(table.path) or is_right.mean() > 0.5
        raise (DataError if is_labels else NotLabelsError)(
            f"{table.path}: expected 1 for one class of each image and 0 for the others, received "
            f"{list_names(values[~is_right].iloc[0])} in line {values.index[~is_right][0]}; "
            f"correct or remove such rows ({(~is_right).sum()} in total)"
        )
    return [str(name).strip() for name in is_one.idxmax(axis=1)]


def _check_same_names(values: pd.DataFrame, path: Path) -> None:
    """Refuse columns such as `Melanoma` and `melanoma` with different values."""
    first_of: dict[str, str] = {}
    for name in values:
        first = first_of.setdefault(name.strip().casefold(), name)
        if (values[first] != values[name]).any():
            raise DataError(
                f"{path}: expected one column {first}, received {first!r} and {name!r} with "
                "different values; rename or remove the wrong one"
            )
