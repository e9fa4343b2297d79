"""The tables of labels that a folder holds, and what it holds if there are none."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from data import DataError
from data.class_folders import count_class_folders
from data.classes import ClassScheme, is_ham10000_scheme
from data.folders import Folder
from data.given_splits import split_of_path
from data.label_tables import LabelTable, count_with_file, read_labels
from data.one_hot import NotLabelsError
from data.table_layouts import (
    LABEL_COLUMNS,
    NAMED,
    PLAIN,
    SPECIFIC,
    has_images,
    is_artifacts,
    is_ground_truth,
    is_ham10000,
    is_metadata,
    table_layout,
)
from data.tables import read_header
from support.files import join_names, list_names, walk

# Files that are neither tables nor images, but may hold some.
_CONTAINERS = (".xlsx", ".xls", ".ods", ".zip", ".gz", ".tar", ".7z", ".rar")


def find_label_tables(
    folder: Folder, classes: ClassScheme | None
) -> tuple[list[LabelTable], list[str]]:
    """Read the tables of labels of a folder.

    Those of HAM10000 and the challenges precede those of other known data sets, these precede other
    tables, and all precede one folder of images per class. But the latter precedes all but the
    first if there are two such folders of the classes of interest, or, where all classes are, the
    tables list less than half of the images.

    Args:
        folder: of the data set.
        classes: the classes of interest; None for all that there are.

    Returns:
        The tables, none if folders give the labels; and lines on those that are not used.

    Raises:
        DataError: a table cannot be used, and there is nothing else that gives labels.
    """
    headers = {path: read_header(path) for path in folder.tables}
    layouts = {path: table_layout(header, path) for path, header in headers.items()}
    specific = [path for path, layout in layouts.items() if layout in SPECIFIC]
    others = [path for path, layout in layouts.items() if layout in NAMED]
    plain = [path for path, layout in layouts.items() if layout == PLAIN]
    # Columns of any name, of which the content tells whether they are classes.
    unknown = [
        path
        for path, layout in layouts.items()
        if not layout
        and has_images(headers[path])
        and not is_metadata(path)
        and not is_artifacts(path)
    ]
    if specific:
        return _read_specific(specific, folder, classes)
    if others:
        tables, notes = _read_others(others, [], folder, classes)
        return tables, [*notes, *_unused(plain, folder)]
    if plain or (unknown and not is_ham10000_scheme(classes)):
        return _read_others(plain, unknown, folder, classes)
    return _read_specific([path for path in layouts if is_ground_truth(path)], folder, classes)


def _read_specific(
    paths: Sequence[Path], folder: Folder, classes: ClassScheme | None
) -> tuple[list[LabelTable], list[str]]:
    """Read tables of HAM10000 and the challenges."""
    has_own = any(map(is_ham10000, paths))
    tables, notes, errors = [], [], []
    for path in paths:
        try:
            tables.append(read_labels(path, classes, stems=folder.stems))
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


def _read_others(
    paths: Sequence[Path], unknown: Sequence[Path], folder: Folder, classes: ClassScheme | None
) -> tuple[list[LabelTable], list[str]]:
    """Read tables of other layouts, unless folders give the labels."""
    class_folders = count_class_folders(folder, classes)
    if classes is not None and class_folders > 1:
        return [], _unused(paths, folder)
    tables, errors = [], []
    for path in [*paths, *([] if is_ham10000_scheme(classes) else unknown)]:
        try:
            tables.append(read_labels(path, classes, stems=folder.stems))
        except DataError as error:
            if path in paths and split_of_path(path, folder.root) and class_folders < 2:
                raise
            if path in paths:
                errors.append(error)
    known = {table.path: count_with_file(table.frame["image_id"], folder.stems) for table in tables}
    if class_folders > 1 and 2 * sum(known.values()) < len(folder.images):
        return [], _unused(paths, folder)
    if any(known.values()) or (class_folders and classes is not None):
        tables = [table for table in tables if known[table.path]]
    if not tables and errors and class_folders < (2 if classes is None else 1):
        raise errors[0]
    used = [table.path for table in tables]
    return tables, [
        *(f"not used: {error}" for error in errors),
        *_unused([p for p in known if p not in used], folder),
    ]


def _unused(paths: Collection[Path], folder: Folder) -> list[str]:
    names = [str(path.relative_to(folder.root)) for path in paths]
    return [f"not used as labels: {list_names(names, 6)}"] if names else []


def unknown_layout(folder: Folder, labels: Iterable[str], classes: ClassScheme | None) -> DataError:
    """Return the error that says which layouts there are, and what was found.

    Args:
        folder: of the data set.
        labels: of each image, by its folder.
        classes: the classes of interest; None for all that there are.
    """
    found = _describe(folder, labels)
    if is_ham10000_scheme(classes):
        return DataError(
            f"{folder.root}: expected HAM10000_metadata.csv or another table with the columns "
            "image_id and dx, a *_GroundTruth.csv with one column per class, or one folder of "
            f"images per class ({', '.join(sorted(classes.names))}), found {found}; name columns "
            "or folders so, or download HAM10000 with python -m data.download"
        )
    names = f" ({list_names(classes.names)})" if classes else ""
    return DataError(
        f"{folder.root}: expected a table with the column image and one of "
        f"{', '.join(LABEL_COLUMNS)}, or with one column per class, or one folder of images per "
        f"class{names}, found {found}; name columns or folders so"
    )


def _describe(folder: Folder, labels: Iterable[str]) -> str:
    """Return what was found in place of a data set."""
    headers = {path: read_header(path) for path in folder.tables}
    tables = [
        f"{path.relative_to(folder.root)} (columns {list_names(header, 8)})"
        for path, header in headers.items()
        if len(header) > 1
    ]
    counts = Counter(labels).most_common()
    images = [f"{name} ({count:,})" for name, count in counts]
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
    return join_names(found) or "neither tables nor images"
