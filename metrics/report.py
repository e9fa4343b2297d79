"""The files of an evaluation: metrics as JSON, predictions as a table, plots, an HTML page."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics.markup import format_number
from metrics.prediction import short_names, shorten
from support import InputError
from support.files import csv_cell, escape_controls, make_folder, replacing, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Longest name of a class in the table that `evaluate.py` prints.
_CLASS_WIDTH = 30
_SOURCE_WIDTH = 22
# Whether a model was trained on a source.
TRAINED_ON = {True: "yes", False: "no", None: "unknown"}
# The rows of the summary that `evaluate.py` prints.
_SUMMARY = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC AUC",
}


def prediction_table(
    images: Sequence[str],
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    uncertain: np.ndarray | None,
    out_of_distribution: np.ndarray | None,
) -> pd.DataFrame:
    """Build the table of predictions that all commands write.

    Args:
        images: a name or path for each row.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        uncertain: bool `[images]`; None where the model cannot tell.
        out_of_distribution: bool `[images]`; None where the model cannot tell.

    Returns:
        `image`, `predicted`, `confidence` (the highest probability), `uncertain` and
        `out_of_distribution` (True, False, or None: an empty cell in CSV, null in JSON), and one
        `prob_<class>` column per class; probabilities have six decimals.
    """
    # Imported here because predictions without a table do not need pandas, which is slow to import.
    import pandas as pd

    table = pd.DataFrame({"image": list(images)})
    table["predicted"] = [class_names[i] for i in y_prob.argmax(axis=1)]
    y_prob = np.round(y_prob.astype(np.float64), 6)
    table["confidence"] = y_prob.max(axis=1)
    table["uncertain"] = uncertain
    table["out_of_distribution"] = out_of_distribution
    columns = [f"prob_{name}" for name in class_names]
    return pd.concat([table, pd.DataFrame(y_prob, columns=columns)], axis=1)


class PredictionWriter:
    """Writes prediction tables, one after the other, to a CSV or JSON file.

    A context manager: the file appears when the block ends, unless it raises. Names come from
    anybody: control characters are escaped, and in CSV a cell that begins with `=`, `+`, `-` or `@`
    gets an apostrophe in front, since spreadsheets would take it for a formula.

    Args:
        path: ends in `.csv` or `.json` (a list of objects).

    Raises:
        InputError: the path has another suffix.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = Path(path)
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
            table.to_csv(self._file, index=False, header=self.rows == 0, float_format="%.6f")
        else:
            for i, row in enumerate(table.to_dict(orient="records"), start=self.rows):
                # Escaped as JSON does it: reading the file gives the names as they are.
                line = escape_controls(json.dumps(row, ensure_ascii=False))
                self._file.write(("[\n" if i == 0 else ",\n") + line)
        self.rows += len(table)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def write_report(
    output_dir: str | os.PathLike,
    *,
    metrics: dict,
    predictions: pd.DataFrame,
    figures: dict[str, Figure],
    page: str,
) -> None:
    """Write `metrics.json`, `predictions.csv`, `report.html` and the figures into a folder.

    Args:
        output_dir: created if it does not exist; files of the same names are replaced.
        metrics: from `classification_metrics`, with further entries.
        predictions: from `prediction_table`, with further columns.
        figures: by the name of the PNG file, without its suffix.
        page: from `build_page`.
    """
    folder = make_folder(output_dir)
    write_text(folder / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    write_text(folder / "report.html", page)
    with PredictionWriter(folder / "predictions.csv") as writer:
        writer.write(predictions)
    for name, figure in figures.items():
        save_figure(figure, folder / f"{name}.png")


def format_metrics(metrics: dict) -> str:
    """Format `evaluation_metrics` as the tables that `evaluate.py` prints."""
    names = short_names(list(metrics["per_class"]), _CLASS_WIDTH)
    width = max(8, *map(len, names))
    lines = [
        f"{'class':<{width}}{'precision':>10}{'recall':>8}{'F1':>8}{'ROC AUC':>9}{'support':>9}"
    ]
    for name, row in zip(names, metrics["per_class"].values(), strict=True):
        values = [_format(row[key]) for key in ("precision", "recall", "f1", "roc_auc")]
        cells = "{:>10}{:>8}{:>8}{:>9}{:>9}".format(*values, row["support"])
        lines.append(f"{name:<{width}}{cells}")
    lines.append("")
    intervals = metrics.get("intervals", {})
    majority = f"  majority class {shorten(metrics['majority_class'], _CLASS_WIDTH)}"
    width = max(22, len(majority))
    if intervals:
        lines.append(f"{'':<{width + 8}}   95% CI")
    for key, label in _SUMMARY.items():
        interval = intervals.get(key)
        suffix = f"   {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
        lines.append(f"{label:<{width}}{_format(metrics[key]):>8}{suffix}")
        if key == "accuracy":
            lines.append(f"{majority:<{width}}{metrics['majority_fraction']:>8.3f}")
    lines.append(f"{'images':<{width}}{metrics['images']:>8}")
    if sources := metrics.get("sources"):
        lines += ["", *format_sources(sources)]
    return "\n".join(lines)


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def format_sources(sources: Mapping[str, dict]) -> list[str]:
    """Return the lines of the table that `evaluate.py` prints.

    Args:
        sources: from `metrics.sources.source_metrics`, at least one.
    """
    names = short_names(list(sources), _SOURCE_WIDTH)
    width = max(8, *map(len, names))
    keys = _source_columns(sources)
    heads = "".join(f"{head:>{size}}" for head, size in keys.values())
    lines = [f"{'source':<{width}}{'trained on':>12}{'images':>8}{heads}"]
    for name, row in zip(names, sources.values(), strict=True):
        cells = "".join(f"{format_number(row[key]):>{size}}" for key, (_, size) in keys.items())
        lines.append(f"{name:<{width}}{TRAINED_ON[row['trained_on']]:>12}{row['images']:>8}{cells}")
    note = "balanced: mean recall of the classes that occur in the source"
    return [*lines, f"({note}; ECE: expected calibration error)"]


def _source_columns(sources: Mapping[str, dict]) -> dict[str, tuple[str, int]]:
    """Return the heading and width of each metric."""
    keys = {
        "accuracy": ("accuracy", 10),
        "balanced_accuracy": ("balanced", 10),
        "melanoma_roc_auc": ("mel. AUC", 10),
        "expected_calibration_error": ("ECE", 7),
    }
    return {key: value for key, value in keys.items() if key in next(iter(sources.values()))}
