"""The tables and the plot of all runs of a sweep."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from cluster.job import read_record
from cluster.plan import CrossValidation, Training
from metrics.numbers import INTERVAL_LEVEL, UNDEFINED, format_interval, format_number
from metrics.png import save_figure
from support.files import read_json, replacing
from training.early_stopping import EarlyStopping

# Metrics of the best epoch on the validation images, and of the predictions out of fold.
METRICS = ("accuracy", "balanced_accuracy")
_COLORS = ("#1f6feb", "#d97706")
_GRAY = "#9aa5b1"


def read_runs(trainings: Sequence[Training]) -> pd.DataFrame:
    """Read the results of the finished trainings of a sweep.

    Args:
        trainings: all; those that are not finished have no row.

    Returns:
        One row per run: `model`, `fold` (None without folds), `seed`, `best_epoch`, `epochs`,
        `accuracy` and `balanced_accuracy` of the best epoch on the validation images, `minutes`
        that the command took which finished it (None if unknown), `resumed`, and `run`, its folder.
    """
    rows = []
    for training in trainings:
        if not training.is_finished:
            continue
        run, settings = training.find_run(), training.settings
        with run.history.open(newline="", encoding="utf-8") as file:
            history = [
                {key: float(value) for key, value in row.items() if key.startswith("val_")}
                for row in csv.DictReader(file)
            ]
        best = EarlyStopping(settings.monitor, settings.patience).find_best(history)
        record = read_record(training)
        rows.append(
            {
                "model": settings.model,
                "fold": settings.fold if settings.folds else None,
                "seed": settings.seed,
                "best_epoch": best,
                "epochs": len(history),
                **{name: history[best - 1][f"val_{name}"] for name in METRICS},
                "minutes": None if record.seconds is None else round(record.seconds / 60, 2),
                "resumed": record.resumed,
                "run": str(run.folder),
            }
        )
    return pd.DataFrame(rows).astype({"fold": "Int64"} if rows else {})


def summarize_models(runs: pd.DataFrame, measured: Sequence[CrossValidation]) -> pd.DataFrame:
    """Summarize the runs of each model.

    Args:
        runs: from `read_runs`, at least one.
        measured: the cross-validations whose metrics are there.

    Returns:
        A row per model, metric and kind: `model`, `images` (`validation` for the mean of its runs,
        or `out of fold`), `seed` (None for all), `runs`, `metric`, `value`, `standard_deviation`
        (with n - 1, over the runs; None for one run or out of fold), `low` and `high` (95 %
        confidence interval of `evaluate.py`; None for a mean).
    """
    columns = ("model", "images", "seed", "runs", "metric", "value")
    rows = []
    for model, group in runs.groupby("model", sort=False):
        for metric in METRICS:
            row = (model, "validation", None, len(group), metric, group[metric].mean())
            deviation = group[metric].std(ddof=1) if len(group) > 1 else None
            rows.append(dict(zip(columns, row, strict=True)) | {"standard_deviation": deviation})
    for folds in measured:
        metrics, settings = read_json(folds.metrics), folds.members[0].settings
        for metric in METRICS:
            value, count = metrics[metric], len(folds.members)
            row = (settings.model, "out of fold", settings.seed, count, metric, value)
            low, high = metrics["intervals"][metric]
            rows.append(dict(zip(columns, row, strict=True)) | {"low": low, "high": high})
    table = pd.DataFrame(rows, columns=[*columns, "standard_deviation", "low", "high"])
    return table.astype({"seed": "Int64"})


def format_runs(runs: pd.DataFrame) -> str:
    """Format the table of runs for the terminal."""
    heads = ["model", "fold", "seed", "best epoch", "accuracy", "balanced acc.", "minutes"]
    rows = [
        [
            row.model,
            UNDEFINED if pd.isna(row.fold) else f"{row.fold:.0f}",
            str(row.seed),
            f"{row.best_epoch} of {row.epochs}",
            format_number(row.accuracy),
            format_number(row.balanced_accuracy),
            (UNDEFINED if pd.isna(row.minutes) else f"{row.minutes:.1f}")
            + (" (resumed)" if row.resumed else ""),
        ]
        for row in runs.itertuples()
    ]
    return _align([heads, *rows])


def format_models(models: pd.DataFrame) -> str:
    """Format the table of models for the terminal."""
    heads = [
        "model",
        "images",
        "seed",
        "runs",
        "metric",
        "value",
        "std. dev.",
        f"{INTERVAL_LEVEL} CI",
    ]
    rows = [
        [
            row.model,
            row.images,
            "all" if pd.isna(row.seed) else f"{row.seed:.0f}",
            str(row.runs),
            row.metric.replace("_", " "),
            format_number(row.value),
            UNDEFINED if pd.isna(row.standard_deviation) else format_number(row.standard_deviation),
            UNDEFINED if pd.isna(row.low) else format_interval((row.low, row.high)),
        ]
        for row in models.itertuples()
    ]
    return _align([heads, *rows])


def plot_sweep(runs: pd.DataFrame, models: pd.DataFrame) -> Figure:
    """Plot the metrics of all runs by model.

    Args:
        runs: from `read_runs`.
        models: from `summarize_models`.

    Returns:
        A figure with a panel per metric: a point per run, the mean, and out of fold the interval.
    """
    names = list(dict.fromkeys(runs["model"]))
    figure = Figure(figsize=(4 + 2.2 * len(names), 4.5), layout="constrained")
    for axes, metric in zip(figure.subplots(1, 2), METRICS, strict=True):
        rows = models[models["metric"] == metric]
        for x, name in enumerate(names):
            values = runs.loc[runs["model"] == name, metric]
            axes.plot([x] * len(values), values, "o", color=_GRAY, label="run")
            own = rows[rows["model"] == name]
            mean = own.loc[own["images"] == "validation", "value"]
            axes.plot([x], mean, "_", ms=24, mew=2, color=_COLORS[0], label="mean of the runs")
            for i, row in enumerate(own[own["images"] == "out of fold"].itertuples()):
                # Side by side, right of the runs.
                axes.errorbar(
                    x + 0.15 + 0.06 * i,
                    row.value,
                    yerr=[[row.value - row.low], [row.high - row.value]],
                    fmt="D",
                    ms=4,
                    capsize=3,
                    color=_COLORS[1],
                    label=f"out of fold, {INTERVAL_LEVEL} CI",
                )
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_title(metric.replace("_", " ").capitalize(), loc="left", fontsize=11)
        axes.grid(axis="y", color="#e5e7eb")
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower left", ncols=3, frameon=False)
    return figure


def write_summary(folder: Path, runs: pd.DataFrame, models: pd.DataFrame) -> list[Path]:
    """Write both tables and the plot into a folder; returns their files."""
    tables = {"runs.csv": runs, "models.csv": models}
    for name, table in tables.items():
        with replacing(folder / name) as temporary:
            table.to_csv(temporary, index=False)
    plot = folder / "sweep.png"
    save_figure(plot_sweep(runs, models), plot)
    return [*(folder / name for name in tables), plot]


def _align(rows: list[list[str]]) -> str:
    """Return rows as lines, the columns as wide as their longest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
