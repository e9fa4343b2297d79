"""Label tables: which image has which label, whatever the layout."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from data import DataError, warn
from data.classes import HAM10000 as HAM10000_CLASSES
from data.classes import ClassScheme, classes_of, is_ham10000_scheme
from data.decoders import IMAGE_SUFFIXES
from data.folders import stem_key, without_downsampled
from data.label_columns import (
    describe_columns,
    label_columns,
    read_archive,
    read_diagnoses,
)
from data.labels import ISIC_CLASSES
from data.one_hot import NotLabelsError, read_one_hot, read_own_one_hot
from data.table_layouts import (
    ARCHIVE,
    CHALLENGE,
    IMAGE_COLUMNS,
    ISIC_2019,
    LABEL_COLUMNS,
    PLAIN,
    SPLIT_COLUMNS,
    has_images,
    is_ground_truth,
    metadata_columns,
    table_layout,
)
from data.tables import Table, check_unique, find_columns, read_header, read_table
from support.files import list_names


@dataclass(frozen=True, eq=False)
class LabelTable:
    """A table of labels.

    Attributes:
        path: its file.
        layout: one of those of `data.table_layouts`.
        columns: which columns were taken, to follow its name; empty if the layout says it.
        frame: `image_id`, `image` (as it is written), `label` (as it is written), `class_name` (the
            class of the label; empty if it has none), and the columns of `METADATA_COLUMNS` that
            there are, `image_type` of the ISIC Archive, and those of `SPLIT_COLUMNS` with a
            training split; one row per image, under the lines of the file.
    """

    path: Path
    layout: str
    columns: str
    frame: pd.DataFrame

    def labels(self) -> list[tuple[str, str]]:
        """Return the images, with their folders, and the classes, in an order to compare tables."""
        classes = self.frame["class_name"].where(
            self.frame["class_name"] != "", self.frame["label"]
        )
        return sorted(zip(map(_whole_name, self.frame["image"]), classes, strict=True))


def read_labels(
    path: Path,
    classes: ClassScheme | None = HAM10000_CLASSES,
    *,
    stems: Collection[str] = (),
) -> LabelTable:
    """Read a table of labels of any layout.

    Args:
        path: its file.
        classes: the classes of interest; None for all that the table has.
        stems: of the `data.folders.Folder`, to tell which of several columns names the images.

    Raises:
        NotLabelsError: there are columns for classes, but most rows choose none of them.
        DataError: it is not such a table, or a row cannot be used.
    """
    layout = _layout(path, classes)
    table = read_table(path)
    label_column = ""
    if layout == ARCHIVE:
        labels, found = read_archive(table, classes)
    elif layout in (CHALLENGE, ISIC_2019) or (layout == PLAIN and not label_columns(table.header)):
        labels = _read_one_hot(table, layout, classes)
        found = classes_of(labels, classes)
    else:
        label_column, labels, found = read_diagnoses(table, layout, classes)
    image_column, images = _read_images(table, layout, stems)
    frame = pd.DataFrame(
        {"image": images, "label": labels, "class_name": found}, index=table.lines, dtype=str
    )
    for name, values in metadata_columns(table).items():
        frame[name] = values
    if layout == ARCHIVE and (values := table.column("image_type")) is not None:
        frame["image_type"] = values
    for name in SPLIT_COLUMNS:
        if len(find_columns(table.header, name)) == 1:
            splits = table.column(name)
            if any(split.lower() in ("train", "training") for split in splits):
                frame[name] = splits
    frame.insert(0, "image_id", image_ids(frame["image"].tolist()))
    # Columns that the project does not need are not in the frame. Of several sources of an image,
    # the first counts.
    same = frame.drop(columns="source", errors="ignore").duplicated()
    if same.any():
        example = frame.loc[same, "image_id"].iloc[0]
        warn(f"{path}: duplicate rows, such as {example}, are skipped ({same.sum()} in total)")
        frame = frame[~same]
    check_unique(frame, path)
    return LabelTable(
        path, layout, describe_columns(table, layout, image_column, label_column), frame
    )


def _layout(path: Path, classes: ClassScheme | None) -> str:
    """Return the layout of a table that should have labels.

    Raises:
        DataError: it has none.
    """
    header = read_header(path)
    if layout := table_layout(header, path):
        return layout
    if is_ground_truth(path) and is_ham10000_scheme(classes):
        return CHALLENGE
    if has_images(header) and not is_ham10000_scheme(classes):
        return PLAIN
    raise DataError(
        f"{path}: expected the columns image_id and dx, or image and one column per class "
        f"({', '.join(ISIC_CLASSES)}), received {list_names(header)}; check that it is the right "
        "file, or rename its columns"
    )


def image_ids(images: Sequence[str]) -> list[str]:
    """Return the ids of images: their names without folders and suffix, where these are unique.

    Args:
        images: as a table names them, such as `ISIC_1`, `ISIC_1.jpg` or `images/ISIC_1.jpg`.

    Returns:
        In Unicode's composed form; with the folders if two have the same name in different ones.
        Without `_downsampled`, which ISIC 2019 has at the end of some names.
    """
    whole = [_whole_name(image) for image in images]
    # What leads out of the folder has no name inside it.
    stems = [name if ".." in name.split("/") else PurePosixPath(name).name for name in whole]
    known = {*stems}
    short = [without_downsampled(stem) for stem in stems]
    stems = [name if name not in known else stem for name, stem in zip(short, stems, strict=True)]
    names_of: dict[str, set[str]] = {}
    for stem, name in zip(stems, whole, strict=True):
        names_of.setdefault(stem, set()).add(name)
    return [
        stem if len(names_of[stem]) == 1 else name for stem, name in zip(stems, whole, strict=True)
    ]


def count_with_file(image_ids: Iterable[str], stems: Collection[str]) -> int:
    """Count the images that have a file.

    Args:
        image_ids: as `image_ids` returns them.
        stems: of a `data.folders.Folder`.
    """
    return sum(stem_key(PurePosixPath(name).name) in stems for name in image_ids)


def _whole_name(image: str) -> str:
    """Return the name of an image with its folders, but without its suffix."""
    name = unicodedata.normalize("NFC", image).replace("\\", "/")
    stem, dot, suffix = name.rpartition(".")
    return stem if f"{dot}{suffix}".lower() in IMAGE_SUFFIXES else name


def _read_one_hot(table: Table, layout: str, classes: ClassScheme | None) -> list[str]:
    if layout != PLAIN:
        return read_one_hot(table, with_own=not is_ham10000_scheme(classes))
    labels = read_own_one_hot(table)
    if labels is None:
        raise NotLabelsError(
            f"{table.path}: expected a column with labels, such as {', '.join(LABEL_COLUMNS)}, or "
            "columns with 1 for the class of each image and 0 for the others, received "
            f"{list_names(table.header)}; rename a column, or check that it is the right file"
        )
    return labels


def _read_images(table: Table, layout: str, stems: Collection[str]) -> tuple[str, list[str]]:
    """Return the column that names the images: the first, or the one that fits the files best."""
    names = [name for name in IMAGE_COLUMNS[layout] if find_columns(table.header, name)]
    if not names:
        raise DataError(
            f"{table.path}: expected a column {IMAGE_COLUMNS[layout][0]}, received "
            f"{list_names(table.header)}; check that it is the right file"
        )
    name = names[0]
    if layout == PLAIN and len(names) > 1:
        name = max(names, key=lambda name: count_with_file(image_ids(table.column(name)), stems))
    images = table.column(name)
    if "" in images:
        raise DataError(
            f"{table.path}: expected an image id in each row, received none in line "
            f"{table.lines[images.index('')]}; add it or remove the row "
            f"({images.count('')} in total)"
        )
    return name, images
