"""The table of predictions that all commands write; needs pandas only where one is written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from metrics.prediction import prediction_set_names
from support import InputError
from support.files import csv_cell, escape_controls, replacing
from support.frames import hold_any_text

if TYPE_CHECKING:
    import pandas as pd

# Of the numbers in a table.
DECIMALS = 6


def prediction_table(
    images: Sequence[str],
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    uncertain: np.ndarray | None,
    out_of_distribution: np.ndarray | None,
    prediction_set: np.ndarray | None = None,
    disagreement: np.ndarray | None = None,
    decisions: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> pd.DataFrame:
    """Build the table of predictions that all commands write.

    Args:
        images: a name or path for each row.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        uncertain: bool `[images]`; None where the model cannot tell.
        out_of_distribution: bool `[images]`; None where the model cannot tell.
        prediction_set: bool `[images, classes]`; None if the model has no such sets.
        disagreement: float `[images]`, among the members of an ensemble; None for a single model.
        decisions: bool `[images]`, by the name of a column; see `metrics.decision`.

    Returns:
        `image`, `predicted`, `confidence` (the highest probability), `uncertain` and
        `out_of_distribution` (True, False, or None: an empty cell in CSV, null in JSON),
        `prediction_set` (class names joined by a space, the most probable one first, or None),
        perhaps `disagreement` and the decisions, and one `prob_<class>` column per class; numbers
        have six decimals.
    """
    # Imported here because predictions without a table do not need pandas, which is slow to import.
    import pandas as pd

    hold_any_text(pd)
    table = pd.DataFrame({"image": list(images)})
    table["predicted"] = [class_names[i] for i in y_prob.argmax(axis=1)]
    sets = None
    if prediction_set is not None:
        pairs = zip(y_prob, prediction_set, strict=True)
        sets = [" ".join(prediction_set_names(*pair, class_names)) for pair in pairs]
    y_prob = np.round(y_prob.astype(np.float64), DECIMALS)
    table["confidence"] = y_prob.max(axis=1)
    table["uncertain"] = uncertain
    table["out_of_distribution"] = out_of_distribution
    table["prediction_set"] = sets
    if disagreement is not None:
        table["disagreement"] = np.round(disagreement, DECIMALS)
    table = table.assign(**decisions)
    columns = [f"prob_{name}" for name in class_names]
    return pd.concat([table, pd.DataFrame(y_prob, columns=columns)], axis=1)


class PredictionWriter:
    """Writes prediction tables, one after the other, to a CSV or JSON file.

    A context manager: the file appears when the block ends, unless it raises. Names come from
    anybody: control characters are escaped, and in CSV a cell that begins with `=`, `+`, `-` or `@`
    gets an apostrophe in front, since spreadsheets would take it for a formula.

    Args:
        path: ends in `.csv` or `.json` (a list of objects).
        decimals: of the numbers in CSV.

    Raises:
        InputError: the path has another suffix.
    """

    def __init__(self, path: str | os.PathLike, *, decimals: int = DECIMALS) -> None:
        self.path, self.decimals = Path(path), decimals
        if self.path.suffix not in (".csv", ".json"):
            raise InputError(
                f"expected a file name ending in .csv or .json, received {str(path)!r}"
            )
        self.rows = 0

    def __enter__(self) -> PredictionWriter:
        self._context = self._open()
        self._file = self._context.__enter__()
        return self

    def __exit__(self, *exception) -> None:
        self._context.__exit__(*exception)

    @contextlib.contextmanager
    def _open(self) -> Iterator:
        options = {"encoding": "utf-8", "newline": ""}
        with replacing(self.path) as temporary, temporary.open("w", **options) as file:
            yield file
            if self.path.suffix == ".json":
                file.write("\n]\n" if self.rows else "[]\n")

    def write(self, table: pd.DataFrame) -> None:
        """Append the rows of a table from `prediction_table`."""
        if table.empty:
            return
        if self.path.suffix == ".csv":
            table = table.map(lambda cell: csv_cell(cell) if isinstance(cell, str) else cell)
            table = table.rename(columns=csv_cell)
            numbers = f"%.{self.decimals}f"
            table.to_csv(self._file, index=False, header=self.rows == 0, float_format=numbers)
        else:
            for i, row in enumerate(table.to_dict(orient="records"), start=self.rows):
                # Escaped as JSON does it: reading the file gives the names as they are.
                line = escape_controls(json.dumps(row, ensure_ascii=False))
                self._file.write(("[\n" if i == 0 else ",\n") + line)
        self.rows += len(table)
