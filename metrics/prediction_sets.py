"""Prediction sets: how often they contain the true class, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.classification import SMALL_SUBGROUP
from metrics.intervals import confidence_intervals, fraction_interval
from metrics.markup import format_name, format_row, format_table, with_interval
from metrics.numbers import format_count, format_level, format_number
from metrics.prediction import class_label

_KEYS = ("coverage", "mean_size", "one_class_fraction")


def prediction_set_metrics(
    y_true: np.ndarray,
    sets: np.ndarray,
    class_names: Sequence[str],
    *,
    stated_coverage: float,
    groups: Sequence,
    sources: Sequence[str] = (),
) -> dict:
    """Measure prediction sets; each lesion counts once, however many images it has.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        sets: bool `[images, classes]`, which classes are in the set of each image.
        class_names: names of the columns of `sets`.
        stated_coverage: fraction of cases in which the sets are meant to contain the true class.
        groups: the lesion of each image.
        sources: the source of each image; empty if it makes no difference.

    Returns:
        `stated_coverage`; of all images, and under `per_class` and `sources` of those of each class
        and source that occurs, `images`, `small` (fewer than `SMALL_SUBGROUP` images), `coverage`
        (fraction whose set contains the true class), `mean_size` (classes in the set),
        `one_class_fraction` (sets of one class), and `intervals` of these, 95 %: by the bootstrap
        over lesions, of the coverage see `fraction_interval`.
    """
    y_true, groups, size = np.asarray(y_true), np.asarray(groups), sets.sum(axis=1)
    values = np.stack([sets[np.arange(len(y_true)), y_true], size, size == 1], axis=1)
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    fraction = 1 / counts[index]

    def measure(rows: np.ndarray) -> dict:
        def weighted(weights: np.ndarray) -> dict[str, np.ndarray]:
            weights = weights * fraction[rows]
            total = weights.sum(axis=1)
            means = np.full((len(weights), len(_KEYS)), np.nan)
            np.divide(weights @ values[rows], total[:, None], out=means, where=total[:, None] > 0)
            return dict(zip(_KEYS, means.T, strict=True))

        found = {key: float(value[0]) for key, value in weighted(np.ones((1, len(rows)))).items()}
        intervals = confidence_intervals(weighted, groups[rows])
        hits = values[rows, 0]
        if hits.all() or not hits.any():
            found["coverage"] = float(hits[0])  # its weighted mean may miss 1 by a rounding error
        intervals["coverage"] = fraction_interval(
            found["coverage"], groups[rows], intervals["coverage"]
        )
        small = len(rows) < SMALL_SUBGROUP
        return {"images": len(rows), "small": small, **found, "intervals": intervals}

    names = np.asarray(sources, str)
    found_sources, sizes = np.unique(names, return_counts=True)
    return {
        "stated_coverage": stated_coverage,
        **measure(np.arange(len(y_true))),
        "per_class": {
            class_names[i]: measure(np.flatnonzero(y_true == i)) for i in np.unique(y_true)
        },
        "sources": {
            str(name): measure(np.flatnonzero(names == name))
            for name in found_sources[np.argsort(-sizes, kind="stable")]
        },
    }


def format_prediction_set_line(sets: Mapping) -> str:
    """Return the line that `evaluate.py` prints.

    Args:
        sets: from `prediction_set_metrics`.
    """
    return (
        f"prediction sets: {format_number(sets['coverage'])} contain the true class "
        f"(target {format_number(sets['stated_coverage'])}), "
        f"{format_number(sets['mean_size'])} classes per set on average"
    )


def format_prediction_set_section(sets: Mapping, names: Mapping[str, str]) -> str:
    """Return the section of the report as HTML.

    Args:
        sets: from `prediction_set_metrics`; empty if the model has no sets.
        names: full names of classes, by their names.
    """
    if not sets:
        return (
            "<p>Not measured: the model has no prediction sets that were fitted to validation "
            "images.</p>"
        )
    heads = ["Images of", "Images", "Coverage", "Mean size", "One class only"]
    rows = [_format_row("all classes", sets)]
    for title, part in (("Class", "per_class"), ("Source", "sources")):
        if sets[part]:
            rows.append(f'<tr class="group"><td colspan="{len(heads)}">{title}</td></tr>')
        for name, row in sets[part].items():
            label = class_label(name, names) if part == "per_class" else name
            rows.append(_format_row(label, row))
    return (
        "<p>A prediction set contains the true class in "
        f"{format_level(sets['stated_coverage'])} of cases (conformal prediction, Angelopoulos "
        "&amp; Bates 2021), on images like those of the validation split, to which it was fitted. "
        "On others, such as those of another clinic, its coverage, the fraction of sets that "
        "contain the true class, can be lower. A class of few validation lesions has the threshold "
        "of all classes together, so that its own coverage can be lower, too.</p>"
        "<p>Each lesion counts once, however many images it has.</p>" + format_table(heads, rows)
    )


def _format_row(name: str, row: Mapping) -> str:
    cells = [format_name(name), format_count(row["images"])]
    cells.append(with_interval(row["coverage"], row["intervals"]["coverage"]))
    cells += [format_number(row["mean_size"]), format_number(row["one_class_fraction"])]
    return format_row(cells, small=row["small"])
