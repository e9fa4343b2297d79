"""Tables of metadata beside those of labels: what they add to the images."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from data.label_tables import image_ids
from data.table_layouts import CHALLENGE, IMAGE_COLUMNS, METADATA_COLUMNS, metadata_columns
from data.tables import Table, are_unknown, find_columns, read_header, read_table, warn
from support.files import list_names


def fill_metadata(
    frame: pd.DataFrame, columns: Iterable[str], tables: Sequence[Path]
) -> list[Path]:
    """Add what tables of metadata know about the images.

    Args:
        frame: with `image_id`; changed: gets the missing values, empty where no table has one.
        columns: those of `METADATA_COLUMNS` that it lacks, in whole or in part.
        tables: candidates; the first that knows a value counts.

    Returns:
        The tables that know some of the images and have some of the columns.
    """
    columns = list(columns)
    used = []
    for path in tables:
        header = read_header(path)
        names = {name for column in columns for name in METADATA_COLUMNS[column]}
        if not any(find_columns(header, name) for name in names) or not any(
            find_columns(header, name) for name in IMAGE_COLUMNS[CHALLENGE]
        ):
            continue
        table = read_table(path)
        ids = _image_column(table, frame["image_id"])
        known = pd.Series(ids).isin(frame["image_id"])
        if not known.any():
            continue
        if not (found := metadata_columns(table, columns)):
            continue
        rows = pd.DataFrame({"image_id": ids, **found})
        rows = rows.drop_duplicates("image_id").set_index("image_id")
        for column in rows:
            if column not in frame:
                frame[column] = ""
            values = frame["image_id"].map(rows[column]).fillna("")
            frame[column] = frame[column].where(frame[column] != "", values)
        used.append(path)
    return used


def describe_sources(frame: pd.DataFrame) -> list[str]:
    """Return a line on the sources of images, none if they are unknown."""
    counts = frame.get("source", pd.Series(dtype=str)).replace("", "unknown").value_counts()
    if not set(counts.index) - {"unknown"}:
        return []
    return [f"sources: {list_names([f'{name} {n:,}' for name, n in counts.items()], 6)}"]


def name_patients(frame: pd.DataFrame) -> None:
    """Empty unknown patients; make numbers of lesions, such as of PAD-UFES-20, those of a patient.

    There, 23 numbers of lesions are those of two patients.

    Args:
        frame: changed; without `patient_id`, it stays as it is.
    """
    if "patient_id" not in frame:
        return
    patients = frame["patient_id"].mask(are_unknown(frame["patient_id"]), "")
    frame["patient_id"] = patients
    if "lesion_id" in frame:
        is_number = frame["lesion_id"].str.fullmatch(r"\d+") & patients.ne("")
        frame["lesion_id"] = frame["lesion_id"].mask(is_number, patients + "_" + frame["lesion_id"])


def check_lesions(frame: pd.DataFrame, source: Path) -> None:
    """Warn about lesions with more than one diagnosis.

    Args:
        frame: with `lesion_id` and `class_name`.
        source: of the labels, for the message.
    """
    known = frame[frame["class_name"] != ""]
    diagnoses = known["class_name"].groupby(known["lesion_id"]).nunique()
    if (diagnoses > 1).any():
        warn(
            f"{source}: lesions with more than one diagnosis, such as {diagnoses.idxmax()}, stay "
            "in one split, and each image keeps its own diagnosis "
            f"({(diagnoses > 1).sum()} in total)"
        )


def _image_column(table: Table, wanted: pd.Series) -> list[str]:
    """Return the ids of the column that names most of the images."""
    candidates = [
        image_ids(table.column(name))
        for name in IMAGE_COLUMNS[CHALLENGE]
        if find_columns(table.header, name)
    ]
    known = set(wanted)
    return max(candidates, key=lambda ids: sum(name in known for name in ids))
