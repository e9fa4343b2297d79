"""Label tables with one diagnosis per row: which column holds it, and which class it is."""

from collections.abc import Sequence

from data import DataError, isic_archive
from data.classes import ClassScheme, classes_of, is_ham10000_scheme
from data.ham10000 import CLASS_NAMES
from data.labels import find_class
from data.table_layouts import (
    ARCHIVE,
    HAM10000,
    IMAGE_COLUMNS,
    ISIC_2020,
    LABEL_COLUMNS,
    PAD,
    PLAIN,
)
from data.tables import Table, find_columns, has_any
from support.files import list_names

# The label of images of the ISIC Archive that have none; they are never used.
_NO_DIAGNOSIS = "no diagnosis"
_TARGETS = {"0": "benign", "1": "malignant", "0.0": "benign", "1.0": "malignant"}
_EXPECTED = {HAM10000: "dx", PAD: "diagnostic"}


def label_columns(header: Sequence[str]) -> list[str]:
    """Return the columns that may hold the label of a row, the preferred first."""
    return [name for name in LABEL_COLUMNS if find_columns(header, name)]


def read_diagnoses(
    table: Table, layout: str, classes: ClassScheme | None
) -> tuple[str, list[str], list[str]]:
    """Choose the column that holds the label of each row, and read it.

    Args:
        table: with at least one column of `LABEL_COLUMNS`.
        layout: of the table.
        classes: the column in which most rows name one of these is chosen, the first of several;
            None for the usual column of the layout, else the first. In HAM10000 with its own
            classes, it is `dx`, and each row has to name a class.

    Returns:
        The name of the column; the label of each row, as it is written; and its class, empty where
        it has none.

    Raises:
        DataError: a row has no label.
    """
    names = label_columns(table.header)
    is_strict = is_ham10000_scheme(classes) and "dx" in names
    has_columns = names and has_any(table.header, IMAGE_COLUMNS[layout])
    if not has_columns or (layout == HAM10000 and is_ham10000_scheme(classes) and not is_strict):
        # Named as the table of HAM10000.
        raise DataError(
            f"{table.path}: expected the columns image_id and dx, received "
            f"{list_names(table.header)}; check that it is the right file"
        )
    if is_strict:
        names = ["dx"]
    elif classes is None:
        usual = "target" if layout == ISIC_2020 else _EXPECTED.get(layout)
        names = [usual] if usual in names else names[:1]
    columns = {name: _read_column(table, layout, name, classes) for name in names}
    chosen = max(columns, key=lambda name: sum(map(bool, columns[name][1])))
    labels, class_names = columns[chosen]
    _check_rows(table, chosen, labels, class_names if is_strict else None)
    return chosen, labels, class_names


def _read_column(
    table: Table, layout: str, name: str, classes: ClassScheme | None
) -> tuple[list[str], list[str]]:
    """Return the labels in a column, and their classes, empty where there is none."""
    labels = table.column(name)
    if layout == ISIC_2020 and name == "target":
        labels = [_TARGETS.get(label, label) for label in labels]
    class_names = classes_of(labels, classes)
    if classes is not None and find_columns(table.header, "isic_id"):
        # A download from the ISIC Archive before 2025, with names that only the Archive uses.
        class_names = [
            found or classes.find(isic_archive.find_class(label) or "") or ""
            for label, found in zip(labels, class_names, strict=True)
        ]
    return labels, class_names


def _check_rows(
    table: Table, name: str, labels: Sequence[str], class_names: Sequence[str] | None
) -> None:
    """Check that each row of a column has a label, and if classes are given, one of HAM10000.

    Raises:
        DataError: a row has none.
    """
    checked = labels if class_names is None else class_names
    wrong = [i for i, value in enumerate(checked) if not value]
    if not wrong:
        return
    line, count = table.lines[wrong[0]], len(wrong)
    if class_names is None:
        raise DataError(
            f"{table.path}: expected a label in each row of the column {name}, received none in "
            f"line {line}; add it or remove such rows ({count} in total)"
        )
    label = labels[wrong[0]]
    raise DataError(
        f"{table.path}: expected dx to be one of {', '.join(CLASS_NAMES)}, received "
        f"{repr(label[:200]) if label else 'none'} in line {line}; correct or remove such rows "
        f"({count} in total)"
    )


def describe_columns(table: Table, layout: str, image_column: str, label_column: str) -> str:
    """Return which columns of a table were taken, unless its layout says it.

    Args:
        table: whose columns they are.
        layout: of the table.
        image_column: that names the images.
        label_column: that holds the label of each row; empty with one column per class.
    """
    images, labels = (
        table.header[find_columns(table.header, name)[0]].strip() if name else ""
        for name in (image_column, label_column)
    )
    if layout == PLAIN:
        return f"images: {images}, " + (f"labels: {labels}" if labels else "one column per class")
    return "" if label_column in ("", _EXPECTED.get(layout)) else f"labels: {labels}"


def read_archive(table: Table, classes: ClassScheme | None) -> tuple[list[str], list[str]]:
    """Read the most specific diagnosis of each image of the ISIC Archive, and its class.

    Args:
        table: with the columns `diagnosis_1`, `diagnosis_2`, ..., from general to specific.
        classes: the first diagnosis of a row, from specific to general, that names one of these
            counts; for a class of HAM10000, the most specific alone, see `data.isic_archive`. None
            for the most specific as it is.

    Returns:
        The label of each row, `_NO_DIAGNOSIS` where there is none; and its class, empty where it
        has none.
    """
    images = table.column(*IMAGE_COLUMNS[ARCHIVE])
    columns = []
    while values := table.column(f"diagnosis_{len(columns) + 1}"):
        columns.append(values)
    labels, found = [], []
    for image, values in zip(images, zip(*columns, strict=True), strict=True):
        names = isic_archive.row_labels(values)
        labels.append(names[0] if names else _NO_DIAGNOSIS)
        if classes is None or not names:
            found.append(names[0] if names else "")
        else:
            found.append(_class_of_row(names, image, classes) or "")
    return labels, found


def _class_of_row(names: Sequence[str], image: str, classes: ClassScheme) -> str | None:
    """Return the class of a row of the Archive by its diagnoses, the most specific first."""
    if found := classes.find_name(names[0]):
        return found
    diagnosis = isic_archive.find_class(":".join(reversed(names)), image_id=image)
    if diagnosis and (found := classes.find(diagnosis)):
        return found
    for name in names:
        # What the explicit table of the Archive decides is not decided by words again.
        if found := classes.find_name(name) if find_class(name) else classes.find(name):
            return found
        is_scc = not diagnosis and name.casefold().startswith("squamous cell carcinoma")
        if is_scc and (found := classes.find("squamous cell carcinoma")):
            return found
    return None
