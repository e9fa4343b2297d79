"""Label tables with one column per class."""

import re
from pathlib import Path

import pandas as pd

from data import DataError
from data.class_names import spelling
from data.ham10000 import CLASS_NAMES
from data.labels import ISIC_CLASSES
from data.table_layouts import class_columns, is_ground_truth, other_columns
from data.tables import Table
from support.files import list_names

_ONE = r"1([.,]0*)?|true|yes|t|y"
_ZERO = r"0([.,]0*)?|false|no|f|n|"


class NotLabelsError(DataError):
    """A table that looks like labels by its columns only, such as one of probabilities."""


def read_one_hot(table: Table, *, with_own: bool) -> list[str]:
    """Return the name of the column that is 1 in each row.

    Args:
        table: with one column per class, 1 for the class of each image and 0 for the others.
        with_own: whether classes of any name are preferred to those of the challenges.

    Raises:
        NotLabelsError: most rows choose no class.
        DataError: there are no such columns, or a row cannot be used.
    """
    if with_own and (labels := read_own_one_hot(table)):
        return labels
    try:
        return _read_diagnoses(table)
    except DataError:
        # It may have further classes beside those known.
        if len(class_columns(table.header)) > 1 and (labels := read_own_one_hot(table)):
            return labels
        raise


def read_own_one_hot(table: Table) -> list[str] | None:
    """Return the name of the column that is 1 in each row of a table with classes of any name.

    Returns:
        One per row; None if there are not two columns that hold only 0 and 1, and 1 in exactly one
        of them in each row.
    """
    columns = {}
    for name in other_columns(table.header):
        if table.header.count(name) == 1:
            values = pd.Series(table.column(name))
            is_one = values.str.fullmatch(_ONE, flags=re.IGNORECASE)
            if (is_one | values.str.fullmatch(_ZERO, flags=re.IGNORECASE)).all():
                columns[name] = is_one
    if len(columns) < 2 or len({*map(spelling, columns)}) < len(columns):
        return None
    ones = pd.DataFrame(columns)
    if not (ones.sum(axis=1) == 1).all():
        return None
    return [str(name).strip() for name in ones.idxmax(axis=1)]


def _read_diagnoses(table: Table) -> list[str]:
    """Return the column of a diagnosis that is 1 in each row."""
    columns = class_columns(table.header)
    if len(columns) < 2:
        raise DataError(
            f"{table.path}: expected one column per class, such as {', '.join(ISIC_CLASSES)}, "
            f"received {list_names(table.header)}; check that it is the right file"
        )
    values = pd.DataFrame(index=table.lines)
    for name in (name for names in columns.values() for name in names):
        values[name] = table.column(name)
    is_one = values.apply(lambda column: column.str.fullmatch(_ONE, flags=re.IGNORECASE))
    is_zero = values.apply(lambda column: column.str.fullmatch(_ZERO, flags=re.IGNORECASE))
    _check_same_names(values, table.path)
    # A column `other` need not be one of a one-hot encoding.
    columns = {
        label: names
        for label, names in columns.items()
        if label in CLASS_NAMES or (is_one | is_zero)[names].all(axis=None)
    }
    used = [name for names in columns.values() for name in names]
    values, is_one, is_zero = values[used], is_one[used], is_zero[used]
    by_class = pd.DataFrame({label: is_one[names].any(axis=1) for label, names in columns.items()})
    is_right = (by_class.sum(axis=1) == 1) & (is_one | is_zero).all(axis=1)
    if not is_right.all():
        # Probabilities are the output of a model, not labels.
        is_labels = is_ground_truth(table.path) or is_right.mean() > 0.5
        raise (DataError if is_labels else NotLabelsError)(
            f"{table.path}: expected 1 for one class of each image and 0 for the others, received "
            f"{list_names(values[~is_right].iloc[0])} in line {values.index[~is_right][0]}; "
            f"correct or remove such rows ({(~is_right).sum()} in total)"
        )
    return [str(name).strip() for name in is_one.idxmax(axis=1)]


def _check_same_names(values: pd.DataFrame, path: Path) -> None:
    """Refuse columns such as `Melanoma` and `melanoma` with different values."""
    first_of: dict[str, str] = {}
    for name in values:
        first = first_of.setdefault(spelling(name), name)
        if (values[first] != values[name]).any():
            raise DataError(
                f"{path}: expected one column {first}, received {first!r} and {name!r} with "
                "different values; rename or remove the wrong one"
            )
