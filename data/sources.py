"""Reading data sets: one reader per layout, one table for all of them."""

import os
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from data import DataError
from data.class_folders import read_class_folders
from data.folders import TABLE_SUFFIXES, Folder, describe_masks, list_folder, match_images
from data.given_splits import choose_tables, read_split_column, split_of_images, split_of_path
from data.ham10000 import CLASS_NAMES
from data.label_metadata import fill_metadata
from data.label_tables import (
    CHALLENGE,
    HAM10000,
    METADATA_COLUMNS,
    LabelTable,
    NotLabelsError,
    image_ids,
    is_ground_truth,
    is_ham10000,
    is_metadata,
    read_labels,
    table_layout,
)
from data.labels import ISIC_CLASSES, find_class
from data.tables import fill_lesion_ids, list_names, read_header, to_years, warn
from support.files import one_line, walk

_COLUMNS = {
    HAM10000: ("image_id", "lesion_id", "label", "dx_type", "age", "sex", "localization"),
    CHALLENGE: ("image_id", "label", "lesion_id", "dx_type", "age", "sex", "localization"),
}
# Files that are neither tables nor images, but may hold some.
_CONTAINERS = (".xlsx", ".xls", ".ods", ".zip", ".gz", ".tar", ".7z", ".rar")


@dataclass(frozen=True)
class Dataset:
    """A data set of any layout.

    Attributes:
        frame: one row per image: `image_id`, `lesion_id`, `label` (one of `CLASS_NAMES`), `path`
            (str, missing where there is no file), those of `dx_type`, `age` (years, float64),
            `sex` and `localization` that the data set has, and, if it gives its split, `split`
            (`train`, `val` or `test`; missing where there is no file and folders give the split).
        layout: description of the layout that was recognized.
        notes: lines on what was chosen, renamed or ignored.
        skipped: labels that are no class of HAM10000, as they are written, and how many images
            were skipped for each.
    """

    frame: pd.DataFrame
    layout: str
    notes: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)


def read_dataset(data_dir: str | os.PathLike) -> Dataset:
    """Recognize the layout of a data set and read its labels.

    The layouts, in the order in which they are tried: tables with the columns of HAM10000, or with
    one column per class as in the ISIC challenges, and optionally tables of metadata beside them;
    one folder of images per class. Several tables have to give a split, by their names, or be
    equal; that of HAM10000 itself precedes others.

    Args:
        data_dir: the folder, searched with all its subfolders; or one table of labels in it.

    Returns:
        The images, labeled with the classes of HAM10000; images of other classes are skipped.

    Raises:
        DataError: the folder does not exist, has another layout or cannot be used.
    """
    path = Path(data_dir)
    if path.is_file():
        table = read_labels(path)
        folder = list_folder(path.parent)
        if not folder.images:
            above = list_folder(path.absolute().parent.parent)
            folder = above if above.images else folder
        return _read_tables(folder, [table], [], [])
    if not path.is_dir():
        if path.suffix.lower() in TABLE_SUFFIXES[:-1]:
            raise DataError(
                f"expected a table of labels, found no file {str(path)!r}; check its name"
            )
        raise DataError(
            f"expected a folder of images and labels, found no folder {str(data_dir)!r}; download "
            f"HAM10000 with python -m data.download --output_dir {shlex.quote(str(data_dir))}, or "
            "choose another folder"
        )
    folder = list_folder(path)
    tables, notes = _read_label_tables(folder)
    if not tables:
        return _read_class_folders(folder)
    chosen, note = choose_tables(tables, folder.root)
    others = [table for table in tables if table not in chosen]
    return _read_tables(folder, chosen, others, [*notes, *([note] if note else [])])


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
    line = (
        f"skipped {len(missing):,} of {len(frame):,} labels: no image file in {data_dir}: "
        f"{list_names(missing)}"
    )
    return frame[frame["path"].notna()].reset_index(drop=True), one_line(line)


def _read_label_tables(folder: Folder) -> tuple[list[LabelTable], list[str]]:
    """Read all tables of labels; returns them and notes."""
    paths = [path for path in folder.tables if table_layout(read_header(path), path)]
    paths = paths or [path for path in folder.tables if is_ground_truth(path)]
    has_own = any(map(is_ham10000, paths))
    tables, notes, errors = [], [], []
    for path in paths:
        try:
            tables.append(read_labels(path))
        except DataError as error:
            # A foreign table is no reason to refuse HAM10000, but that of a split is one.
            is_foreign = has_own and not is_ham10000(path) and not split_of_path(path, folder.root)
            if not is_foreign and not isinstance(error, NotLabelsError):
                raise
            errors.append(error)
            notes.append(f"not used, since it has no labels: {path.relative_to(folder.root)}")
    if errors and not tables:
        raise errors[0]
    return tables, notes


def _read_tables(
    folder: Folder, tables: list[LabelTable], others: list[LabelTable], notes: list[str]
) -> Dataset:
    """Put together tables of labels, metadata and images.

    Args:
        folder: of the data set.
        tables: one table, or one per split.
        others: tables of labels that are not used as such; that of HAM10000 may hold metadata.
        notes: what has been said of the tables.
    """
    first = tables[0]
    source = first.path if len(tables) == 1 else folder.root
    frame, split_note = _join(tables, folder.root)
    lacking = [c for c in METADATA_COLUMNS if any(c not in table.frame for table in tables)]
    metadata = [
        path
        for path in folder.tables
        if is_metadata(path) and not any(path.samefile(table.path) for table in tables)
    ]
    used = fill_metadata(frame, lacking, metadata) if lacking else []
    labels = [table.path for table in others]
    unused = [path for path in metadata if path not in used and path not in labels]
    if lacking and unused:
        names = [str(path.relative_to(folder.root)) for path in unused]
        notes.append(f"tables without metadata of these images: {list_names(names, 6)}")
    for table in others:
        if is_ham10000(table.path):
            _compare_labels(frame, table, source)
            left = len(set(table.frame["image_id"]) - set(frame["image_id"]))
            if left:
                notes.append(
                    f"not used, since they are in no split: {left:,} images of {table.path.name}"
                )
    matches = match_images(frame["image"].tolist(), folder)
    frame["path"] = matches.paths
    _check_paths(frame, folder, source)
    if "split" not in frame:
        splits, split_note = split_of_images(frame["path"], folder.root)
        if splits is not None:
            frame["split"] = splits
    fill_lesion_ids(frame, source)
    _check_lesions(frame, source)
    if "age" in frame:
        frame["age"] = to_years(frame["age"], source)
    columns = [*_COLUMNS[first.layout], "path", "split"]
    layout = f"{first.layout}, {_and([*(table.path.name for table in tables), *map(_name, used)])}"
    notes = [*([split_note] if split_note else []), *notes, *matches.notes]
    return _rename_classes(frame[[c for c in columns if c in frame]], layout, notes, folder.root)


def _join(tables: list[LabelTable], root: Path) -> tuple[pd.DataFrame, str]:
    """Put the tables of a split together; returns the rows and a note on the split."""
    if len(tables) == 1:
        frame = tables[0].frame.reset_index(drop=True).drop(columns="split", errors="ignore")
        splits, name = read_split_column(tables[0])
        if splits is None:
            return frame, ""
        return frame.assign(split=splits.tolist()), f"split given by the column {name}"
    parts = [table.frame.assign(split=split_of_path(table.path, root)) for table in tables]
    names = [str(table.path.relative_to(root)) for table in tables]
    frame = pd.concat(parts, ignore_index=True).fillna("")
    frame["image_id"] = image_ids(frame["image"].tolist())
    repeated = frame["image_id"].duplicated(keep=False)
    if repeated.any():
        image_id = frame.loc[repeated, "image_id"].iloc[0]
        splits = frame.loc[frame["image_id"] == image_id, "split"]
        raise DataError(
            f"{root}: expected each image in one split, received {image_id} in {_and(splits)} "
            f"({_and(names)}); remove it from all but one "
            f"({frame.loc[repeated, 'image_id'].nunique()} in total)"
        )
    return frame, f"split given by {_and(names)}"


def _compare_labels(frame: pd.DataFrame, table: LabelTable, source: Path) -> None:
    """Warn if the table of HAM10000, from which metadata come, has other labels."""
    labels = dict(zip(table.frame["image_id"], table.frame["label"].map(find_class), strict=True))
    pairs = zip(frame["image_id"], frame["label"], strict=True)
    wrong = [i for i, label in pairs if labels.get(i, find_class(label)) != find_class(label)]
    if wrong:
        warn(
            f"{source}: {len(wrong):,} of {len(frame):,} images, such as {wrong[0]}, have another "
            f"label in {table.path}, which is not used"
        )


def _check_paths(frame: pd.DataFrame, folder: Folder, source: Path) -> None:
    """Refuse a table without images, and two rows for one file."""
    if frame["path"].isna().all():
        found = "and no others"
        if folder.images:
            example = Path(folder.images[0]).relative_to(folder.root)
            found = f"but {len(folder.images):,} others, such as {example}"
        raise DataError(
            f"{source}: expected image files such as {frame['image_id'].iloc[0]}.jpg in the same "
            f"folder or below, found none of the {len(frame)} listed, {found}; copy the image "
            "folders there"
        )
    repeated = frame[frame["path"].notna() & frame["path"].duplicated(keep=False)]
    if len(repeated):
        path = repeated["path"].iloc[0]
        images = repeated.loc[repeated["path"] == path, "image"]
        raise DataError(
            f"{source}: expected each image once, received {_and(images)} for the file {path}; "
            f"remove the wrong rows ({repeated['path'].nunique()} in total)"
        )


def _check_lesions(frame: pd.DataFrame, source: Path) -> None:
    diagnoses = frame["label"].map(find_class).groupby(frame["lesion_id"]).nunique()
    if (diagnoses > 1).any():
        warn(
            f"{source}: lesions with more than one diagnosis, such as {diagnoses.idxmax()}, stay "
            "in one split, and each image keeps its own diagnosis "
            f"({(diagnoses > 1).sum()} in total)"
        )


def _read_class_folders(folder: Folder) -> Dataset:
    """Take the name of an image's folder as its label."""
    frame = read_class_folders(folder)
    if not any(map(find_class, frame["label"].unique())):
        raise DataError(
            f"{folder.root}: expected HAM10000_metadata.csv or another table with the columns "
            "image_id and dx, a *_GroundTruth.csv with one column per class, or one folder of "
            f"images per class ({', '.join(CLASS_NAMES)}), found {_describe(folder, frame)}; name "
            "columns or folders so, or download HAM10000 with python -m data.download"
        )
    splits, note = split_of_images(frame["path"], folder.root)
    if splits is not None:
        frame["split"] = splits
    fill_lesion_ids(frame, folder.root)
    notes = [note] if note else []
    if folder.masks:
        notes.append(describe_masks(folder))
    columns = [c for c in ("path", "label", "image_id", "lesion_id", "split") if c in frame]
    return _rename_classes(frame[columns], "one folder per class", notes, folder.root)


def _describe(folder: Folder, frame: pd.DataFrame) -> str:
    """Return what was found in place of a data set."""
    headers = {path: read_header(path) for path in folder.tables}
    tables = [
        f"{path.relative_to(folder.root)} (columns {list_names(header, 8)})"
        for path, header in headers.items()
        if len(header) > 1
    ]
    counts = frame["label"].value_counts()
    images = [f"{name} ({count:,})" for name, count in counts.items()]
    others = [
        str(Path(parent, name).relative_to(folder.root))
        for parent, names in walk(folder.root)
        for name in names
        if name.lower().endswith(_CONTAINERS)
    ]
    found = [
        *([f"the tables {list_names(tables, 4)}"] if tables else []),
        *([f"images in the folders {list_names(images, 6)}"] if images else []),
        *([f"{list_names(others, 4)} (unpack archives, save workbooks as CSV)"] if others else []),
    ]
    return _and(found) or "neither tables nor images"


def _rename_classes(frame: pd.DataFrame, layout: str, notes: list[str], root: Path) -> Dataset:
    """Replace labels by the classes of HAM10000; skip and count those without one."""
    counts = frame["label"].value_counts()
    names = [*(name for name in ISIC_CLASSES if name in counts), *frame["label"].unique()]
    class_of = {name: find_class(name) for name in dict.fromkeys(names)}
    pairs = [f"{name} = {label}" for name, label in class_of.items() if label and name != label]
    skipped = {name: int(counts[name]) for name, label in class_of.items() if not label}
    frame = frame.assign(label=frame["label"].map(class_of))
    frame = frame[frame["label"].notna()].reset_index(drop=True)
    if frame.empty:
        received = list_names([f"{count:,} {name}" for name, count in skipped.items()])
        raise DataError(f"{root}: expected images of the classes of HAM10000, received {received}")
    if pairs:
        notes = [*notes, f"classes: {list_names(pairs)}"]
    return Dataset(frame, one_line(layout), tuple(map(one_line, notes)), skipped)


def _name(path: Path) -> str:
    return path.name


def _and(names: Iterable[str]) -> str:
    """Return names as in `a, b and c`."""
    *names, last = [*names] or [""]
    return f"{', '.join(names)} and {last}" if names else last
