"""Tables of metadata beside those of labels: what they add to the images."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from data import warn
from data.label_tables import image_ids
from data.table_layouts import CHALLENGE, IMAGE_COLUMNS, METADATA_COLUMNS, metadata_columns
from data.tables import Table, find_columns, has_any, read_header, read_table
from support.files import list_names

# What stands for an unknown lesion, patient or age, besides an empty cell.
_UNKNOWN = ("unknown", "unk", "unspecified", "not known", "not specified")
_NEGATIVE = r"-\d+(\.0*)?"


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
    names = [name for column in columns for name in METADATA_COLUMNS[column]]
    used = []
    for path in tables:
        header = read_header(path)
        if not has_any(header, names) or not has_any(header, IMAGE_COLUMNS[CHALLENGE]):
            continue
        table = read_table(path)
        ids = _image_column(table, frame["image_id"])
        known = pd.Series(ids).isin(frame["image_id"])
        if not known.any():
            continue
        if not (found := metadata_columns(table, columns)):
            continue
        for column, values in found.items():
            # Of several rows of an image, the first that knows the value counts.
            rows = zip(reversed(ids), reversed(values), strict=True)
            value_of = {image_id: value for image_id, value in rows if value}
            if column not in frame:
                frame[column] = ""
            new = frame["image_id"].map(value_of).fillna("")
            frame[column] = frame[column].where(frame[column] != "", new)
        used.append(path)
    return used


def describe_sources(frame: pd.DataFrame) -> list[str]:
    """Return a line on the sources of images, none if they are unknown."""
    counts = frame.get("source", pd.Series(dtype=str)).replace("", "unknown").value_counts()
    if not set(counts.index) - {"unknown"}:
        return []
    return [f"sources: {list_names([f'{name} {n:,}' for name, n in counts.items()], 6)}"]


def clean_metadata(frame: pd.DataFrame, source: Path) -> None:
    """Name each patient and lesion, and turn ages into years; warn of what is missing or wrong.

    Args:
        frame: with `image_id` and `class_name`, and perhaps `patient_id`, `lesion_id` and `age`;
            changed. Without a lesion, an image is its own one.
        source: where the rows come from.
    """
    _name_patients(frame)
    _fill_lesion_ids(frame, source)
    _check_lesions(frame, source)
    if "age" in frame:
        frame["age"] = _to_years(frame["age"], source)


def _name_patients(frame: pd.DataFrame) -> None:
    """Empty unknown patients; make numbers of lesions, such as of PAD-UFES-20, those of a patient.

    There, 23 numbers of lesions are those of two patients.

    Args:
        frame: changed; without `patient_id`, it stays as it is.
    """
    if "patient_id" not in frame:
        return
    patients = frame["patient_id"].mask(_are_unknown(frame["patient_id"]), "")
    frame["patient_id"] = patients
    if "lesion_id" in frame:
        is_number = frame["lesion_id"].str.fullmatch(r"\d+") & patients.ne("")
        frame["lesion_id"] = frame["lesion_id"].mask(is_number, patients + "_" + frame["lesion_id"])


def _check_lesions(frame: pd.DataFrame, source: Path) -> None:
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


def _fill_lesion_ids(frame: pd.DataFrame, source: Path) -> None:
    """Make each image without a lesion_id its own lesion, with a warning.

    Args:
        frame: with `image_id` and, optionally, `lesion_id`; changed. A negative number or a word
            such as `unknown` is no lesion_id.
        source: where the rows come from.
    """
    if "lesion_id" not in frame:
        frame["lesion_id"] = ""
    unknown = _are_unknown(frame["lesion_id"])
    if unknown.any():
        warn(
            f"{source}: {unknown.sum():,} of {len(frame):,} images have no lesion_id: each counts "
            "as its own lesion, and images of one lesion can end up in both training and test"
        )
        frame.loc[unknown, "lesion_id"] = frame.loc[unknown, "image_id"]


def _are_unknown(ids: pd.Series) -> pd.Series:
    """Tell which ids of lesions or patients are missing: empty, a negative number, or a word."""
    return ids.eq("") | ids.str.lower().isin(_UNKNOWN) | ids.str.fullmatch(_NEGATIVE)


def _to_years(ages: pd.Series, source: Path) -> pd.Series:
    """Convert ages to numbers, with a warning for those that are not.

    Args:
        ages: str, possibly with a decimal comma; empty or a word such as `unknown` where an age is
            missing.
        source: where they come from.

    Returns:
        float64 in 0..150, or NaN.
    """
    numbers = ages.str.replace(r"^(\d+),(\d{1,2})$", r"\1.\2", regex=True)
    years = pd.to_numeric(numbers, errors="coerce").astype(float)
    years = years.where(years.between(0, 150))
    wrong = ages[years.isna() & ages.ne("") & ~ages.str.lower().isin(_UNKNOWN)]
    if len(wrong):
        warn(
            f"{source}: ages that are not a number of years, such as {wrong.iloc[0][:200]!r}, are "
            f"treated as unknown ({len(wrong)} in total)"
        )
    return years


def _image_column(table: Table, wanted: pd.Series) -> list[str]:
    """Return the ids of the column that names most of the images."""
    candidates = [
        image_ids(table.column(name))
        for name in IMAGE_COLUMNS[CHALLENGE]
        if find_columns(table.header, name)
    ]
    known = set(wanted)
    return max(candidates, key=lambda ids: sum(name in known for name in ids))
