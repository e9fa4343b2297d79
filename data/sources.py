"""Reading data sets: one reader per layout, one table for all of them."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from data import DataError, warn
from data.class_folders import count_class_folders, read_class_folders
from data.classes import HAM10000 as HAM10000_CLASSES
from data.classes import ClassScheme, is_ham10000_scheme
from data.folders import TABLE_SUFFIXES, Folder, describe_masks, list_data_folder, list_folder
from data.found_tables import find_label_tables, unknown_layout
from data.given_splits import choose_tables, read_split_column, split_of_images, split_of_path
from data.image_matches import match_images
from data.label_metadata import clean_metadata, describe_sources, fill_metadata
from data.label_tables import LabelTable, image_ids, read_labels
from data.named_classes import name_classes
from data.table_layouts import ARCHIVE, METADATA_COLUMNS, PLAIN, is_ham10000, is_metadata
from support.files import join_names, list_names, one_line

_COLUMNS = ("image_id", "label", *METADATA_COLUMNS, "path", "split")
_DERMOSCOPIC = "dermoscopic"


@dataclass(frozen=True)
class Dataset:
    """A data set of any layout.

    Attributes:
        frame: one row per image: `image_id`, `lesion_id`, `label` (one of the names of `classes`),
            `path` (str, missing where there is no file), those of `patient_id` (empty where it is
            missing), `dx_type`, `age` (years, float64), `sex`, `localization` and `source` (the
            collection that an image comes from) that the data set has, and, if it gives its split,
            `split` (`train`, `val` or `test`; missing where there is no file and folders give the
            split).
        layout: description of the layout that was recognized.
        classes: those that were asked for, or those of the labels.
        notes: lines on what was chosen, renamed or ignored.
        skipped: labels that are none of the classes, as they are written, and how many images were
            skipped for each.
    """

    frame: pd.DataFrame
    layout: str
    classes: ClassScheme
    notes: tuple[str, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)


def read_dataset(
    data_dir: str | os.PathLike, classes: ClassScheme | None = HAM10000_CLASSES
) -> Dataset:
    """Recognize the layout of a data set and read its labels.

    The layouts, in the order in which they are tried: tables with the columns of HAM10000, or with
    one column per class as in the ISIC challenges, and optionally tables of metadata beside them;
    other tables with a column for images and one for labels, such as those of the ISIC Archive,
    ISIC 2020 and PAD-UFES-20; one folder of images per class. Several tables have to give a split,
    by their names, or be equal; that of HAM10000 itself precedes others.

    Args:
        data_dir: the folder, searched with all its subfolders; or one table of labels in it, of
            which all images are used. Of the ISIC Archive, a folder gives the dermoscopic images.
        classes: the classes of interest; None for all that the data set has.

    Returns:
        The images, labeled with these classes; images of other classes are skipped.

    Raises:
        DataError: the folder does not exist, has another layout or cannot be used.
    """
    path = Path(data_dir)
    if path.is_file():
        folder = list_data_folder(path)
        table = read_labels(path, classes, stems=folder.stems)
        return _read_tables(folder, [table], [], [], classes)
    if not path.is_dir():
        if path.suffix and path.suffix.lower() in TABLE_SUFFIXES:
            raise DataError(
                f"expected a table of labels, found no file {str(path)!r}; check its name"
            )
        raise DataError(
            f"expected a folder of images and labels, found no folder {str(data_dir)!r}; download "
            f"HAM10000 with python -m data.download --output_dir {shlex.quote(str(data_dir))}, or "
            "choose another folder"
        )
    folder = list_folder(path)
    tables, notes = find_label_tables(folder, classes)
    if not tables:
        return _read_class_folders(folder, notes, classes)
    chosen, note = choose_tables(tables, folder.root)
    others = [table for table in tables if table not in chosen]
    for index, table in enumerate(chosen):
        chosen[index], type_notes = _drop_other_types(table)
        notes += type_notes
    return _read_tables(folder, chosen, others, [*notes, note], classes)


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


def _drop_other_types(table: LabelTable) -> tuple[LabelTable, list[str]]:
    """Skip the images of the ISIC Archive that are not dermoscopic, with a line on them.

    Raises:
        DataError: no image is left.
    """
    if "image_type" not in table.frame:
        return table, []
    types = table.frame["image_type"]
    is_other = types.ne("") & types.str.lower().ne(_DERMOSCOPIC)
    if not is_other.any():
        return table, []
    counts = list_names(f"{n:,} {name}" for name, n in types[is_other].value_counts().items())
    if is_other.all():
        raise DataError(
            f"{table.path}: expected dermoscopic images, received {counts}; choose this table in "
            "place of the folder to use images of all types"
        )
    return dataclasses.replace(table, frame=table.frame[~is_other]), [
        f"skipped, since they are not dermoscopic: {counts}; choose {table.path.name} in place of "
        "the folder to use them"
    ]


def _read_tables(
    folder: Folder,
    tables: list[LabelTable],
    others: list[LabelTable],
    notes: list[str],
    classes: ClassScheme | None,
) -> Dataset:
    """Put together tables of labels, metadata and images.

    Args:
        folder: of the data set.
        tables: one table, or one per split.
        others: tables of labels that are not used as such; that of HAM10000 may hold metadata.
        notes: what has been said of the tables.
        classes: the classes of interest; None for all that there are.
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
    other_paths = [table.path for table in others]
    unused = [path for path in metadata if path not in used and path not in other_paths]
    # Hardly any data set names patients or sources.
    if set(lacking) - {"patient_id", "source"} and unused:
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
    clean_metadata(frame, source)
    layout, is_archive = _describe_layout(tables, used), first.layout == ARCHIVE
    notes = [split_note, *notes, *matches.notes]
    return _dataset(frame, layout, notes, classes, folder.root, of_archive=is_archive)


def _describe_layout(tables: Sequence[LabelTable], metadata: Sequence[Path]) -> str:
    """Return the layout, the names of its tables, and which columns were taken."""
    layout = tables[0].layout
    names = join_names(path.name for path in (*(table.path for table in tables), *metadata))
    columns = "; ".join(dict.fromkeys(table.columns for table in tables if table.columns))
    text = f"{layout} {names}" if layout == PLAIN else f"{layout}, {names}"
    return f"{text} ({columns})" if columns else text


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
            f"{root}: expected each image in one split, received {image_id} in "
            f"{join_names(splits)} ({join_names(names)}); remove it from all but one "
            f"({frame.loc[repeated, 'image_id'].nunique()} in total)"
        )
    return frame, f"split given by {join_names(names)}"


def _compare_labels(frame: pd.DataFrame, table: LabelTable, source: Path) -> None:
    """Warn if the table of HAM10000, from which metadata come, has other labels."""
    classes = dict(zip(table.frame["image_id"], table.frame["class_name"], strict=True))
    pairs = zip(frame["image_id"], frame["class_name"], strict=True)
    wrong = [image_id for image_id, name in pairs if classes.get(image_id, name) != name]
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
            f"{source}: expected each image once, received {join_names(images)} for the file "
            f"{path}; remove the wrong rows ({repeated['path'].nunique()} in total)"
        )


def _read_class_folders(folder: Folder, notes: list[str], classes: ClassScheme | None) -> Dataset:
    """Take the name of an image's folder as its label."""
    frame, folder_notes = read_class_folders(folder, classes)
    found = set(frame["class_name"]) - {""}
    # Folders of other classes than a model's are no unknown layout.
    has_others = not is_ham10000_scheme(classes) and count_class_folders(folder, None) > 1
    if len(found) < (2 if classes is None else 1) and not has_others:
        folders = [Path(path).parent.name for path in folder.images]
        raise unknown_layout(folder, folders if classes is None else frame["label"], classes)
    splits, note = split_of_images(frame["path"], folder.root)
    if splits is not None:
        frame["split"] = splits
    notes = [note, *notes, *folder_notes, *_add_metadata(frame, folder)]
    clean_metadata(frame, folder.root)
    if folder.masks:
        notes.append(describe_masks(folder))
    return _dataset(frame, "one folder per class", notes, classes, folder.root)


def _add_metadata(frame: pd.DataFrame, folder: Folder) -> list[str]:
    """Add to images in class folders what tables know of them; returns lines on the tables."""
    used, notes = [], []
    for path in folder.tables:
        try:
            used += fill_metadata(frame, METADATA_COLUMNS, [path])
        except DataError as error:
            notes.append(f"not used: {error}")
    if used:
        names = list_names([str(path.relative_to(folder.root)) for path in used], 6)
        notes.append(f"metadata of the images: {names}")
    return notes


def _dataset(
    frame: pd.DataFrame,
    layout: str,
    notes: Sequence[str],
    classes: ClassScheme | None,
    root: Path,
    *,
    of_archive: bool = False,
) -> Dataset:
    """Return a data set with the classes in place of the labels."""
    frame, scheme, class_notes, skipped = name_classes(frame, classes, root, of_archive=of_archive)
    frame = frame[[name for name in _COLUMNS if name in frame]]
    lines = [*notes, *class_notes, *describe_sources(frame)]
    notes = tuple(one_line(line) for line in lines if line)
    return Dataset(frame, one_line(layout), scheme, notes, skipped)
