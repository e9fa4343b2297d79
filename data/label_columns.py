"""Label tables with one diagnosis per row: which column holds it, and which class it is."""

from collections.abc import Sequence

from data import DataError, isic_archive
from data.classes import ClassScheme
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
from data.tables import Table, find_columns
from support.files import list_names

# The label of images of the ISIC Archive that have none; they are never used.
NO_DIAGNOSIS = "no diagnosis"
_TARGETS = {"0": "benign", "1": "malignant", "0.0": "benign", "1.0": "malignant"}
_EXPECTED = {HAM10000: "dx", PAD: "diagnostic"}


def is_ham10000_scheme(classes: ClassScheme | None) -> bool:
    """Tell whether classes are the seven of HAM10000."""
    return classes is not None and set(classes.names) == set(CLASS_NAMES)


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
    has_images = any(find_columns(table.header, name) for name in IMAGE_COLUMNS[layout])
    if (
        not names
        or not has_images
        or (layout == HAM10000 and is_ham10000_scheme(classes) and not is_strict)
    ):
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
    found: dict[str, tuple[list[str], list[str]]] = {}
    for name in names:
        labels = table.column(name)
        if layout == ISIC_2020 and name == "target":
            labels = [_TARGETS.get(label, label) for label in labels]
        found[name] = labels, classes_of(labels, classes)
        if classes is not None and find_columns(table.header, "isic_id"):
            # A download from the ISIC Archive before 2025, with names that only the Archive uses.
            pairs = zip(*found[name], strict=True)
            found[name] = (
                labels,
                [
                    name or classes.find(isic_archive.find_class(label) or "") or ""
                    for label, name in pairs
                ],
            )
    name = max(found, key=lambda name: sum(map(bool, found[name][1])))
    labels, class_names = found[name]
    wrong = [i for i, label in enumerate(class_names if is_strict else labels) if not label]
    if wrong:
        line, count = table.lines[wrong[0]], len(wrong)
        received = repr(labels[wrong[0]][:200]) if labels[wrong[0]] else "none"
        if is_strict:
            raise DataError(
                f"{table.path}: expected dx to be one of {', '.join(CLASS_NAMES)}, received "
                f"{received} in line {line}; correct or remove such rows ({count} in total)"
            )
        raise DataError(
            f"{table.path}: expected a label in each row of the column {name}, received none in "
            f"line {line}; add it or remove such rows ({count} in total)"
        )
    return name, labels, class_names


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


def classes_of(labels: Sequence[str], classes: ClassScheme | None) -> list[str]:
    """Return the class of each label, empty where it has none; the label itself without classes."""
    if classes is None:
        return list(labels)
    class_of = {label: classes.find(label) or "" for label in {*labels}}
    return [class_of[label] for label in labels]


def read_archive(table: Table, classes: ClassScheme | None) -> tuple[list[str], list[str]]:
    """Read the most specific diagnosis of each image of the ISIC Archive, and its class.

    Args:
        table: with the columns `diagnosis_1`, `diagnosis_2`, ..., from general to specific.
        classes: the first diagnosis of a row, from specific to general, that names one of these
            counts; for a class of HAM10000, the most specific alone, see `data.isic_archive`. None
            for the most specific as it is.

    Returns:
        The label of each row, `NO_DIAGNOSIS` where there is none; and its class, empty where it has
        none.
    """
    images = table.column(*IMAGE_COLUMNS[ARCHIVE])
    columns = []
    while values := table.column(f"diagnosis_{len(columns) + 1}"):
        columns.append(values)
    labels, found = [], []
    for image, values in zip(images, zip(*columns, strict=True), strict=True):
        names = isic_archive.row_labels(values)
        labels.append(names[0] if names else NO_DIAGNOSIS)
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
