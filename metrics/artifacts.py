"""Metrics with and without each artifact, such as hair or a ruler: measured, and shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metrics.classification import SMALL_SUBGROUP, subgroup_metrics
from metrics.intervals import confidence_intervals, optional, widen_intervals
from metrics.markup import format_name, format_row, format_table, with_interval
from metrics.numbers import format_count
from metrics.ranking import roc_auc
from support.files import capitalize

_NAMES = {True: "with", False: "without", None: "unknown"}
_SHOWN = ("with", "without")
_HEADS = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}
_AUC = "melanoma_roc_auc"


def artifact_metrics(
    y_true: np.ndarray,
    y_prob: np.ndarray,
    class_names: Sequence[str],
    *,
    melanoma: str | None,
    artifacts: Mapping[str, Sequence[bool | None]],
    groups: Sequence,
) -> dict[str, dict[str, dict]]:
    """Measure predictions for the images with and without each artifact.

    Args:
        y_true: int `[images]`, indices into `class_names`.
        y_prob: float `[images, classes]`.
        class_names: names of the columns of `y_prob`.
        melanoma: the class of melanomas; None without one.
        artifacts: by name, whether it is in each image; None where that is unknown.
        groups: the lesion of each image.

    Returns:
        By artifact, for the images `with` and `without` it, where there are any: `images`, `small`
        (fewer than `SMALL_SUBGROUP`), `accuracy`, `balanced_accuracy`, with the class `melanomas`,
        their number, and `melanoma_roc_auc`, one-vs-rest, None unless there are melanomas and
        others; and 95 % `intervals` of these metrics, None for a ROC AUC of 0 or 1, of which no
        resample differs.
    """
    y_true, groups = np.asarray(y_true), np.asarray(groups)
    columns = {name: [_NAMES[value] for value in values] for name, values in artifacts.items()}
    found = subgroup_metrics(
        y_true, y_prob, class_names, malignant=(), columns=columns, groups=groups
    )
    for name, values in columns.items():
        found[name] = {value: found[name][value] for value in _SHOWN if value in found[name]}
        for value, row in found[name].items() if melanoma is not None else ():
            rows = np.flatnonzero(np.asarray(values) == value)
            index = list(class_names).index(melanoma)
            positive, score = y_true[rows] == index, y_prob[rows, index]

            def weighted(weights, positive=positive, score=score) -> dict[str, np.ndarray]:
                return {_AUC: roc_auc(positive, score, weights)}

            row["melanomas"] = int(positive.sum())
            row[_AUC] = optional(weighted(np.ones((1, len(rows))))[_AUC][0])
            intervals = confidence_intervals(weighted, groups[rows])
            row["intervals"] |= widen_intervals(row, intervals, {})
    return found


def format_artifact_section(artifacts: Mapping[str, Mapping[str, dict]]) -> str:
    """Return the section of the report as HTML.

    Args:
        artifacts: from `artifact_metrics`, at least one.
    """
    has_melanoma = any(_AUC in row for rows in artifacts.values() for row in rows.values())
    heads = ["Artifact", "Images", *(["Melanomas"] if has_melanoma else []), *_HEADS.values()]
    keys = [*_HEADS, *([_AUC] if has_melanoma else [])]
    heads += ["Melanoma ROC AUC"] if has_melanoma else []
    body = []
    for name, rows in artifacts.items():
        title = format_name(capitalize(name.replace("_", " ")))
        body.append(f'<tr class="group"><td colspan="{len(heads)}">{title}</td></tr>')
        for value, row in rows.items():
            cells = [value, format_count(row["images"])]
            cells += [format_count(row["melanomas"])] if has_melanoma else []
            cells += [with_interval(row[key], row["intervals"][key]) for key in keys]
            body.append(format_row(cells, small=row["small"]))
    return (
        "<p>Artifacts as the data folder's table gives them. A difference need not come from the "
        "artifact itself: clinics draw ink around suspicious lesions, and a ruler or a dark corner "
        "goes with a device, so that images with and without it differ in their classes, too. "
        "Images of which the table says nothing are left out.</p>"
        "<p>Balanced accuracy is the mean recall of the classes that occur in the row. Rows of "
        f"fewer than {SMALL_SUBGROUP} images are gray: too small for reliable estimates.</p>"
        + format_table(heads, body)
    )
