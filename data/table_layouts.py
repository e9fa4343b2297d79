"""The layouts of label tables: how their columns are named, and which layout a table has."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.isic_archive import is_archive
from data.labels import ISIC_CLASSES, find_class, is_diagnosis
from data.tables import Table, find_columns, has_any

HAM10000 = "HAM10000"
CHALLENGE = "ISIC challenge"
ISIC_2019 = "ISIC 2019"
ISIC_2020 = "ISIC 2020"
ARCHIVE = "ISIC Archive"
PAD = "PAD-UFES-20"
PLAIN = "table"
# Layouts that no other table has by chance; they precede the others.
SPECIFIC = (HAM10000, CHALLENGE, ISIC_2019)
NAMED = (ARCHIVE, ISIC_2020, PAD)

_IMAGE_NAMES = ("image_id", "isic_id", "image_name", "img_id", "filename", "file_name")
IMAGE_COLUMNS = {
    HAM10000: ("image_id", "image", *_IMAGE_NAMES[1:]),
    CHALLENGE: ("image", *_IMAGE_NAMES),
    ISIC_2019: ("image", *_IMAGE_NAMES),
    ISIC_2020: ("image_name",),
    ARCHIVE: ("isic_id",),
    PAD: ("img_id",),
    PLAIN: (
        "image",
        "image_id",
        "filename",
        "file",
        "img_id",
        "isic_id",
        "image_name",
        "file_name",
        "path",
    ),
}
# Columns with a diagnosis, in the order in which they are preferred.
LABEL_COLUMNS = (
    "dx",
    "label",
    "class",
    "diagnosis",
    "diagnostic",
    "target",
    "category",
    "benign_malignant",
)
# What is known of an image besides its label: names in HAM10000, in the challenges and the Archive,
# and in PAD-UFES-20. The source is a `dataset` in the table of HAM10000 on the Dataverse.
METADATA_COLUMNS = {
    "lesion_id": ("lesion_id",),
    "patient_id": ("patient_id", "patient"),
    "dx_type": ("dx_type", "diagnosis_confirm_type"),
    "age": ("age", "age_approx"),
    "sex": ("sex", "gender"),
    "localization": (
        "localization",
        "anatom_site_general",
        "anatom_site_general_challenge",
        "region",
    ),
    "source": ("source", "dataset", "attribution"),
}
# Columns in which a data set may give its split.
SPLIT_COLUMNS = ("split", "set", "subset", "partition", "fold", "dataset")
# What they call the splits, in lower case.
SPLIT_OF = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
# A column with more values says something else, such as an address for each image.
MAX_SOURCES = 100
# The index that pandas writes, and R.
_INDEX_COLUMN = re.compile(r"|unnamed:? ?\d*|index|rownames?|x\.?\d*", re.IGNORECASE)


def table_layout(header: Sequence[str], path: Path) -> str:
    """Return the layout of a table of labels, by its name or its columns; empty for others."""
    if is_ham10000(path):
        return HAM10000
    if has_any(header, IMAGE_COLUMNS[HAM10000]):
        if find_columns(header, "dx"):
            return HAM10000
        columns = class_columns(header)
        if len(columns) > 1:
            is_2019 = {"SCC", "UNK", "AK"} & {name for names in columns.values() for name in names}
            return ISIC_2019 if is_2019 else CHALLENGE
    if is_archive(header):
        return ARCHIVE
    if all(find_columns(header, name) for name in ("image_name", "target")) and has_any(
        header, ("patient_id", "benign_malignant")
    ):
        return ISIC_2020
    if all(find_columns(header, name) for name in ("img_id", "diagnostic")):
        return PAD
    has_labels = has_images(header) and has_any(header, LABEL_COLUMNS)
    return PLAIN if has_labels else ""


def has_images(header: Sequence[str]) -> bool:
    """Tell whether a table has a column that may name images."""
    return has_any(header, IMAGE_COLUMNS[PLAIN])


def is_ham10000(path: Path) -> bool:
    """Tell whether a table is named as that of HAM10000."""
    return path.stem.lower() == "ham10000_metadata"


def is_ground_truth(path: Path) -> bool:
    """Tell whether a table is named as the labels of a challenge are."""
    return path.stem.lower().replace("_", "").endswith("groundtruth")


def is_metadata(path: Path) -> bool:
    """Tell whether a table is named as the metadata of a challenge or of HAM10000 are."""
    name = path.stem.lower().replace("_", "")
    return name.endswith(("lesiongroupings", "metadata")) or name.startswith("ham10000metadata")


def is_artifacts(path: Path) -> bool:
    """Tell whether a table is named as one of artifacts in images, such as hair and rulers."""
    return path.stem.lower() in ("artifacts", "artefacts")


def class_columns(header: Sequence[str]) -> dict[str, list[str]]:
    """Return the columns of each class and of each other diagnosis.

    Of several columns of one class, those named by an ISIC code count alone, else the one named as
    the class.
    """
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


def metadata_columns(
    table: Table, columns: Iterable[str] = METADATA_COLUMNS
) -> dict[str, list[str]]:
    """Return what a table knows of its images besides their labels.

    Args:
        table: any table.
        columns: those of `METADATA_COLUMNS` that are wanted.

    Returns:
        The values of each of these columns that the table has, empty where one is missing.
    """
    found = {}
    for name in columns:
        values = _find_source(table) if name == "source" else table.column(*METADATA_COLUMNS[name])
        if values is not None:
            found[name] = values
    return found


def _find_source(table: Table) -> list[str] | None:
    """Return the source of each image; None if there is none, or the columns mean something else.

    A column `dataset` may give the split, and one with this name twice is no reason to refuse a
    table that has all that is needed.
    """
    for name in METADATA_COLUMNS["source"]:
        if len(find_columns(table.header, name)) == 1:
            values = table.column(name)
            found = {*values} - {""}
            is_split = any(value.lower() in SPLIT_OF for value in found)
            if found and len(found) <= MAX_SOURCES and not is_split:
                return values
    return None


def other_columns(header: Sequence[str]) -> list[str]:
    """Return the columns that are neither images nor metadata, a split or an index."""
    known = [*IMAGE_COLUMNS[PLAIN], *SPLIT_COLUMNS]
    known += [name for names in METADATA_COLUMNS.values() for name in names]
    taken = {index for name in known for index in find_columns(header, name)}
    return [
        name
        for index, name in enumerate(header)
        if index not in taken and not _INDEX_COLUMN.fullmatch(name.strip())
    ]
