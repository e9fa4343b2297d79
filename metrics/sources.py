"""Metrics by the source of the images: measured, and shown in the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.calibration import BINS, calibration_metrics
from metrics.classification import SMALL_SUBGROUP, classification_metrics
from metrics.markup import format_name, format_row, format_table, with_interval
from metrics.numbers import format_count, format_number
from metrics.prediction import short_names

_KEYS = ("accuracy", "balanced_accuracy")
# Whether a model was trained on a source.
TRAINED_ON = {True: "yes", False: "no", None: "unknown"}
# Longest name of a source in the table that `evaluate.py` prints.
_NAME_WIDTH = 22


def source_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    melanoma: str | None,
    sources: Sequence[str],
    trained_on: Mapping[str, bool | None],
    groups: Sequence,
) -> dict[str, dict]:
    """Measure predictions for the images of each source.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        melanoma: the class of melanomas; None without one.
        sources: the source of each image; empty if it makes no difference.
        trained_on: by source, whether the model was trained on it; None if unknown.
        groups: the lesion of each image.

    Returns:
        By source, the one with the most images first: `trained_on`; `images`; `small` (fewer than
        `SMALL_SUBGROUP` images); `classes`, how many occur; `accuracy`; `balanced_accuracy` over
        the classes that occur; `melanoma_roc_auc`, one-vs-rest, None unless there are melanomas and
        others, left out without the class; `expected_calibration_error`; and `intervals` of all
        these metrics but the last.
    """
    y_true, groups = np.asarray(y_true), np.asarray(groups)
    names = np.asarray(sources, dtype=str)
    tasks = {} if melanoma is None else {"melanoma": (melanoma,)}
    found = {}
    for name, count in sorted(zip(*np.unique(names, return_counts=True), strict=True), key=_rank):
        rows = np.flatnonzero(names == name)
        metrics = classification_metrics(
            y_true[rows], y_prob[rows], class_names, binary_tasks=tasks, groups=groups[rows]
        )
        auc = {"melanoma_roc_auc": metrics["melanoma"]["roc_auc"]} if tasks else {}
        calibration = calibration_metrics(y_true[rows], y_prob[rows])
        found[str(name)] = {
            "trained_on": trained_on.get(name),
            "images": int(count),
            "small": bool(count < SMALL_SUBGROUP),
            "classes": len(np.unique(y_true[rows])),
            **{key: metrics[key] for key in _KEYS},
            **auc,
            "expected_calibration_error": calibration["expected_calibration_error"],
            "intervals": {key: metrics["intervals"][key] for key in (*_KEYS, *auc)},
        }
    return found


def _rank(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def format_source_section(sources: Mapping[str, dict]) -> str:
    """Return the section of the report as HTML.

    Args:
        sources: from `source_metrics`, at least one.
    """
    heads = ["Source", "Trained on", "Images", "Classes", "Accuracy", "Balanced accuracy"]
    has_melanoma = "melanoma_roc_auc" in next(iter(sources.values()))
    keys = (*_KEYS, "melanoma_roc_auc") if has_melanoma else _KEYS
    heads += ["Melanoma ROC AUC"] if has_melanoma else []
    rows = []
    for name, row in sources.items():
        cells = [format_name(name), TRAINED_ON[row["trained_on"]]]
        cells += [format_count(row["images"]), format_count(row["classes"])]
        cells += [with_interval(row[key], row["intervals"][key]) for key in keys]
        cells.append(format_number(row["expected_calibration_error"]))
        rows.append(format_row(cells, small=row["small"]))
    auc = unknown = ""
    if has_melanoma:
        auc = "Melanoma ROC AUC is that of melanoma versus all other classes of the source. "
    if any(row["trained_on"] is None for row in sources.values()):
        unknown = " Unknown: the model file names no sources."
    return (
        "<p>Images of one source share cameras and clinics, so a model can do worse on "
        f"images of a source that it was not trained on.{unknown}</p>"
        "<p>Balanced accuracy is the mean recall of the classes that occur in the source; their "
        f"number differs. {auc}ECE is the expected calibration error ({BINS} bins). Sources of "
        f"fewer than {SMALL_SUBGROUP} images are gray: too small for reliable estimates.</p>"
        + format_table([*heads, "ECE"], rows, stacked=True)
    )


def format_source_lines(sources: Mapping[str, dict]) -> list[str]:
    """Return the lines of the table that `evaluate.py` prints.

    Args:
        sources: from `source_metrics`, at least one.
    """
    names = short_names(list(sources), _NAME_WIDTH)
    width = max(8, *map(len, names))
    keys = _source_columns(sources)
    heads = "".join(f"{head:>{size}}" for head, size in keys.values())
    lines = [f"{'source':<{width}}{'trained on':>12}{'images':>8}{heads}"]
    for name, row in zip(names, sources.values(), strict=True):
        cells = "".join(f"{format_number(row[key]):>{size}}" for key, (_, size) in keys.items())
        images = format_count(row["images"])
        lines.append(f"{name:<{width}}{TRAINED_ON[row['trained_on']]:>12}{images:>8}{cells}")
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
