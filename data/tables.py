"""Label tables and image files: what the layouts in `data.sources` have in common."""

import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pandas as pd

from data import DataError, DataWarning
from data.images import IMAGE_SUFFIXES
from support.files import one_line, walk

_TABLE_SUFFIXES = (".csv", ".tab", ".tsv", ".txt", "")
_MISSING_AGES = ("", "na", "nan", "none", "null", "unknown")


def list_files(root: Path) -> tuple[list[Path], list[str]]:
    """List the possible tables and the images of a folder and its subfolders, in a fixed order."""
    tables: list[Path] = []
    images: list[str] = []
    for folder, names in walk(root):
        for name in names:
            # macOS writes resource forks, named like the file, to the disks of other systems.
            if name.startswith("._"):
                continue
            suffix = os.path.splitext(name)[1].lower()
            if suffix in IMAGE_SUFFIXES:
                images.append(os.path.join(folder, name))
            elif suffix in _TABLE_SUFFIXES:
                tables.append(Path(folder, name))
    return tables, images


def find_table(tables: Sequence[Path], *, stem: str, columns: Collection[str]) -> Path | None:
    """Return the first table of a given name, else the first with given columns, else None.

    Args:
        tables: candidates.
        stem: file name without suffix, lower case.
        columns: columns that a table of another name must have.
    """
    for path in tables:
        if path.stem.lower() == stem:
            return path
    for path in tables:
        if set(columns) <= set(_read_header(path)[0]):
            return path
    return None


def _read_header(path: Path) -> tuple[list[str], str]:
    """Return the column names and the separator of a table."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        line = file.readline(100_000).strip()
    separator = "\t" if "\t" in line else ","
    return [name.strip().strip('"') for name in line.split(separator)], separator


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Read a table in UTF-8, separated by commas or tabs, with any line endings.

    Args:
        path: the file.
        columns: columns that it must have.

    Returns:
        Its rows; all values are str without surrounding spaces, empty where a value is missing.

    Raises:
        DataError: it is not such a table, lacks a column or has no rows.
    """
    found, separator = _read_header(path)
    if found == [""]:
        raise DataError(f"{path}: expected column names in line 1, received none; copy it again")
    if found[0].startswith("<"):
        raise DataError(
            f"{path}: expected a table, received a web page; download the file itself, not its page"
        )
    if not set(columns) <= set(found):
        raise DataError(
            f"{path}: expected the columns {' and '.join(columns)}, received "
            f"{', '.join(found)[:200]}; check that it is the right file"
        )
    try:
        with warnings.catch_warnings():
            # pandas drops the last field of a row that has too many: the others would be wrong.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=separator,
                dtype=str,
                encoding="utf-8-sig",
                keep_default_na=False,
                index_col=False,
            )
    except pd.errors.ParserWarning as error:
        raise DataError(
            f"{path}: expected {len(found)} values in each row, received more; put values that "
            "contain the separator in quotes"
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: expected text in UTF-8, received the byte "
            f"0x{error.object[error.start]:02x}; save the table as UTF-8"
        ) from error
    # Most errors of pandas are ValueErrors.
    except (ValueError, OverflowError, MemoryError) as error:
        raise DataError(
            f"{path}: cannot be read as a table: {' '.join(str(error).split())[:200]}; correct the "
            "line or copy the file again"
        ) from error
    if frame.empty:
        raise DataError(f"{path}: expected one row per image, received none; copy it again")
    frame.columns = frame.columns.str.strip()
    return frame.apply(lambda column: column.str.strip())


def check_unique(frame: pd.DataFrame, table: Path) -> None:
    """Check that no image is listed twice.

    Args:
        frame: rows of a table with a column `image_id`, still under the index of the file.
        table: where the rows come from.

    Raises:
        DataError: an image is listed twice.
    """
    repeated = frame.loc[frame["image_id"].duplicated(), "image_id"]
    if len(repeated):
        raise DataError(
            f"{table}: expected each image once, received {repeated.iloc[0]} again in line "
            f"{line_number(repeated)}; remove the wrong rows ({len(repeated)} in total)"
        )


def line_number(rows: pd.DataFrame | pd.Series) -> int:
    """Return the line of the first of some rows in the file that `read_table` read."""
    return rows.index[0] + 2


def fill_lesion_ids(frame: pd.DataFrame, source: Path) -> None:
    """Make each image without a lesion_id its own lesion, with a warning.

    Args:
        frame: with `image_id` and, optionally, `lesion_id`, empty where unknown; changed.
        source: where the rows come from.
    """
    if "lesion_id" not in frame:
        frame["lesion_id"] = ""
    unknown = frame["lesion_id"] == ""
    if unknown.any():
        warn(
            f"{source}: {unknown.sum():,} of {len(frame):,} images have no lesion_id: each counts "
            "as its own lesion, and images of one lesion can end up in both training and test"
        )
        frame.loc[unknown, "lesion_id"] = frame.loc[unknown, "image_id"]


def to_years(ages: pd.Series, source: Path) -> pd.Series:
    """Convert ages to numbers, with a warning for those that are not.

    Args:
        ages: str; empty or a word such as `unknown` where an age is missing.
        source: where they come from.

    Returns:
        float64 in 0..150, or NaN.
    """
    years = pd.to_numeric(ages, errors="coerce").astype(float)
    years = years.where(years.between(0, 150))
    wrong = ages[years.isna() & ~ages.str.lower().isin(_MISSING_AGES)]
    if len(wrong):
        warn(
            f"{source}: ages that are not a number of years, such as {wrong.iloc[0][:200]!r}, are "
            f"treated as unknown ({len(wrong)} in total)"
        )
    return years


def add_paths(frame: pd.DataFrame, images: Iterable[str], table: Path) -> None:
    """Add the path of each image, a missing value where there is no file.

    Args:
        frame: with `image_id`; gets a column `path`.
        images: image files, named `<image_id>.<suffix>`; of two for one image the first counts.
        table: where the rows come from.

    Raises:
        DataError: none of the images has a file.
    """
    paths: dict[str, str] = {}
    for path in images:
        paths.setdefault(Path(path).stem, path)
    frame["path"] = [paths.get(image_id) for image_id in frame["image_id"]]
    if frame["path"].isna().all():
        raise DataError(
            f"{table}: expected image files such as {frame['image_id'].iloc[0]}.jpg in the same "
            f"folder or below, found none of the {len(frame)} listed; copy the image folders there"
        )


def warn(message: str) -> None:
    """Issue a one-line `DataWarning` that points to the caller's caller."""
    warnings.warn(one_line(message), DataWarning, stacklevel=3)
