"""The files of an evaluation: metrics as JSON, predictions as a table, plots, an HTML page."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from metrics import METRICS_FILE
from metrics.classification import SUMMARY_METRICS
from metrics.comparison import format_comparison_lines
from metrics.folds import format_fold_lines
from metrics.numbers import INTERVAL_LEVEL, format_count, format_interval, format_number
from metrics.occlusion import format_occlusion_line
from metrics.operating_points import format_operating_lines
from metrics.png import save_figure
from metrics.prediction import short_names, shorten
from metrics.prediction_sets import format_prediction_set_line
from metrics.prediction_table import PredictionWriter
from metrics.sources import format_source_lines
from support.files import make_folder, write_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Longest name of a class in the table that `evaluate.py` prints.
_CLASS_WIDTH = 30


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
        metrics: from `evaluation_metrics`, with further entries.
        predictions: from `prediction_table`, with further columns.
        figures: by the name of the PNG file, without its suffix.
        page: from `build_page`.
    """
    folder = make_folder(output_dir)
    write_text(folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")
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
        values = [format_number(row[key]) for key in ("precision", "recall", "f1", "roc_auc")]
        cells = "{:>10}{:>8}{:>8}{:>9}{:>9}".format(*values, format_count(row["support"]))
        lines.append(f"{name:<{width}}{cells}")
    lines.append("")
    intervals = metrics["intervals"]
    majority = f"  majority class {shorten(metrics['majority_class'], _CLASS_WIDTH)}"
    width = max(22, len(majority))
    lines.append(f"{'':<{width + 8}}   {INTERVAL_LEVEL} CI")
    for key, label in SUMMARY_METRICS.items():
        interval = format_interval(intervals[key])
        lines.append(f"{label:<{width}}{format_number(metrics[key]):>8}   {interval}")
        if key == "accuracy":
            lines.append(f"{majority:<{width}}{format_number(metrics['majority_fraction']):>8}")
    lines.append(f"{'images':<{width}}{format_count(metrics['images']):>8}")
    lines.append(f"({INTERVAL_LEVEL} CI: bootstrap over {metrics['grouping']})")
    if points := metrics["operating_points"]:
        lines += ["", *format_operating_lines(points)]
    if sets := metrics["prediction_sets"]:
        lines += ["", format_prediction_set_line(sets)]
    if folds := metrics["folds"]:
        lines += ["", *format_fold_lines(folds)]
    if sources := metrics["sources"]:
        lines += ["", *format_source_lines(sources)]
    if occlusion := metrics["occlusion"]:
        lines += ["", format_occlusion_line(occlusion)]
    if comparison := metrics["comparison"]:
        lines += ["", *format_comparison_lines(comparison)]
    return "\n".join(lines)
