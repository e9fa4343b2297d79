"""The measured part of a model card, in Markdown, from the metrics of an evaluation.

Structured after Mitchell et al., *Model Cards for Model Reporting* (2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from metrics.classification import SMALL_SUBGROUP, SUMMARY_METRICS
from metrics.numbers import (
    INTERVAL_LEVEL,
    UNDEFINED,
    format_count,
    format_interval,
    format_level,
    format_number,
)
from metrics.operating_points import format_point
from metrics.prediction import class_label
from support.files import one_line

_TASKS = {"malignant": "malignant versus benign", "melanoma": "melanoma versus all others"}
_CALIBRATION = {
    "expected_calibration_error": "expected calibration error",
    "brier_score": "Brier score (0 to 2)",
    "negative_log_likelihood": "negative log-likelihood",
}
_BY_HAND = (
    "devices, clinics and years of the images, skin types, and how diagnoses were confirmed",
    "who may use the model, for what, and under which license: at least that of its images",
    "results on images of other clinics and on photographs without a dermatoscope",
    "who answers questions about it",
)


@dataclass(frozen=True)
class CardModel:
    """What a card says about the model itself.

    Attributes:
        title: its name.
        facts: by label, such as its file and what it was trained on.
        names: what its classes are called, by their names; of a class without a title its name.
        malignant: the malignant classes; empty if unknown.
        melanoma: the class of melanomas; None without one.
        class_counts: by split, the number of its images by class; empty if unknown.
        sources: number of training images by source; empty if unknown.
        warnings: sentences on what it cannot do.
        group_names: what subgroup columns and subgroups are called, by their names.
    """

    title: str
    facts: Mapping[str, str]
    names: Mapping[str, str]
    malignant: Sequence[str]
    melanoma: str | None
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    sources: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    group_names: Mapping[str, str] = field(default_factory=dict)


def build_card(metrics: Mapping, model: CardModel) -> str:
    """Build the card.

    Args:
        metrics: the content of `metrics.json`.
        model: what the card says about the model itself.
    """
    sections = {
        "Model": _table(["", ""], model.facts.items()),
        "Intended use": _intended_use(model),
        "Data": _data(metrics, model),
        "Metrics": _metrics(metrics),
        "Operating points": _operating_points(metrics),
        "Calibration": _calibration(metrics),
        "Subgroups and sources": _groups(metrics, model.group_names),
        "Artifacts and occlusion": _artifacts(metrics),
        "Warnings": _warnings(metrics, model),
        "To be added by hand": "\n".join(f"- {line};" for line in _BY_HAND)[:-1] + ".",
    }
    body = "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items())
    return f"# Model card: {_text(model.title)}\n\n{body}\n"


def find_worst(groups: Mapping[str, Mapping]) -> str | None:
    """Return the group of lowest balanced accuracy among those that are neither small nor unknown.

    Args:
        groups: by name, rows with `small` and `balanced_accuracy`.

    Returns:
        None if there are fewer than two.
    """
    fit = {
        name: row["balanced_accuracy"]
        for name, row in groups.items()
        if not row["small"] and name != "unknown" and row["balanced_accuracy"] is not None
    }
    return min(fit, key=fit.__getitem__) if len(fit) > 1 else None


def _intended_use(model: CardModel) -> str:
    classes = ", ".join(_text(name) for name in model.names.values())
    return (
        "Research and teaching. **It is not a medical device**: no study has evaluated it on "
        "patients. Do not use it for any decision about a patient, be it diagnosis, triage or "
        "reassurance, nor for images of another kind than those of its training. It knows these "
        f"classes only ({classes}) and always predicts one of them."
    )


def _data(metrics: Mapping, model: CardModel) -> str:
    counts = {**model.class_counts, "evaluated": _supports(metrics)}
    rows = [
        [_class(name, model), *(format_count(split.get(name, 0)) for split in counts.values())]
        for name in metrics["per_class"]
    ]
    totals = [format_count(sum(split.values())) for split in counts.values()]
    parts = [_table(["images of", *counts], [*rows, ["all", *totals]])]
    if not model.class_counts:
        parts.append("How many images of each class it was trained on is not in the model file.")
    if model.sources:
        ranked = sorted(model.sources.items(), key=lambda item: -item[1])
        rows = [[_text(name), format_count(count)] for name, count in ranked]
        parts.append(_table(["source of training images", "images"], rows))
    return "\n\n".join(parts)


def _supports(metrics: Mapping) -> dict[str, int]:
    return {name: row["support"] for name, row in metrics["per_class"].items()}


def _metrics(metrics: Mapping) -> str:
    intervals = metrics["intervals"]
    facts = metrics["facts"]
    rows = [
        [label, *_values(metrics[key], intervals.get(key))]
        for key, label in SUMMARY_METRICS.items()
    ]
    majority = f"accuracy of always predicting {_text(metrics['majority_class'])}"
    rows.insert(1, [majority, format_number(metrics["majority_fraction"]), ""])
    for task, label in _TASKS.items():
        if task in metrics:
            values = _values(metrics[task]["roc_auc"], intervals.get(f"{task}_roc_auc"))
            rows.append([f"ROC AUC, {label}", *values])
    per_class = [
        [
            _text(name),
            format_number(row["precision"]),
            _with_interval(row["recall"], row["intervals"]["recall"]),
            format_number(row["f1"]),
            format_number(row["roc_auc"]),
            format_count(row["support"]),
        ]
        for name, row in metrics["per_class"].items()
    ]
    return "\n\n".join(
        [
            f"Measured on {_text(facts['Evaluated on'])}. The {INTERVAL_LEVEL} confidence "
            f"intervals are from a bootstrap over {_text(metrics['grouping'])}.",
            _table(["metric", "value", f"{INTERVAL_LEVEL} confidence interval"], rows),
            _table(["class", "precision", "recall", "F1", "ROC AUC", "images"], per_class),
        ]
    )


def _operating_points(metrics: Mapping) -> str:
    if not metrics["operating_points"]:
        return "None: the model has no thresholds that were fixed on validation images."
    keys = ("sensitivity", "specificity", "ppv", "npv")
    rows = [
        [
            f"{task}, {format_point(name)}",
            format_number(row["threshold"]),
            *(_with_interval(row[key], row["intervals"].get(key)) for key in keys),
        ]
        for task, points in metrics["operating_points"].items()
        for name, row in points.items()
    ]
    return (
        "Thresholds that were fixed on validation images, and what they reach on these. PPV and "
        "NPV hold for the prevalence of these images.\n\n"
        + _table(["fixed on validation", "threshold", *keys[:2], "PPV", "NPV"], rows)
    )


def _calibration(metrics: Mapping) -> str:
    calibration = metrics["calibration"]
    rows = [
        [label, *(format_number(calibration[when][key]) for when in ("before", "after"))]
        for key, label in _CALIBRATION.items()
    ]
    text = _table(
        ["", "uncalibrated", f"temperature {format_number(calibration['temperature'])}"], rows
    )
    if sets := metrics["prediction_sets"]:
        text += (
            f"\n\nPrediction sets that are meant to contain the true class in "
            f"{format_level(sets['stated_coverage'])} of cases contain it in "
            f"{_with_interval(sets['coverage'], sets['intervals']['coverage'])} of these, with "
            f"{format_number(sets['mean_size'])} classes per set on average."
        )
    return text


def _groups(metrics: Mapping, names: Mapping[str, str]) -> str:
    parts = []
    tables = {
        **metrics["subgroups"],
        **({"source": metrics["sources"]} if metrics["sources"] else {}),
    }
    for column, groups in tables.items():
        title = _text(names.get(column, column).lower())
        keys = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy"}
        if any("malignant_sensitivity" in row for row in groups.values()):
            keys["malignant_sensitivity"] = "sensitivity (malignant)"
        rows = [
            [
                _text(names.get(name, name)) + (" (few)" if row["small"] else ""),
                format_count(row["images"]),
                *(_with_interval(row[key], row["intervals"][key]) for key in keys),
            ]
            for name, row in groups.items()
        ]
        if (worst := find_worst(groups)) is not None:
            value, name = groups[worst]["balanced_accuracy"], _text(names.get(worst, worst))
            parts.append(f"**Worst by {title}: {name}**, balanced accuracy {format_number(value)}.")
        parts.append(_table([title, "images", *keys.values()], rows))
    if not parts:
        return "Not measured: the data has no columns for them."
    return "\n\n".join(
        [
            "Balanced accuracy is the mean recall of the classes that occur in a group, which "
            f"differ; groups of fewer than {SMALL_SUBGROUP} images (few) prove little.",
            *parts,
        ]
    )


def _artifacts(metrics: Mapping) -> str:
    parts = []
    if artifacts := metrics["artifacts"]:
        rows = [
            [
                f"{_text(name.replace('_', ' '))}, {which}" + (" (few)" if row["small"] else ""),
                format_count(row["images"]),
                *(
                    _with_interval(row.get(key), row["intervals"].get(key))
                    for key in ("accuracy", "balanced_accuracy", "melanoma_roc_auc")
                ),
            ]
            for name, both in artifacts.items()
            for which, row in both.items()
        ]
        heads = ["artifact", "images", "accuracy", "balanced accuracy", "melanoma ROC AUC"]
        parts.append(_table(heads, rows))
    if occlusion := metrics["occlusion"]:
        views = {"whole": "whole image", "lesion": "lesion", "surroundings": "its surroundings"}
        rows = []
        for view, label in views.items():
            found = occlusion[view]
            keys = ("accuracy", "balanced_accuracy")
            rows.append([label, *(_with_interval(found[k], found["intervals"][k]) for k in keys)])
        shown = f"only visible, {format_count(occlusion['images'])} images"
        heads = [shown, "accuracy", "balanced accuracy"]
        parts.append(_table(heads, rows))
    return "\n\n".join(parts) or "Not measured: neither a table of artifacts nor lesion masks."


def _warnings(metrics: Mapping, model: CardModel) -> str:
    lines = [*metrics["notes"], *model.warnings]
    row = metrics["per_class"].get(model.melanoma) if model.melanoma else None
    if row and row["recall"] is not None:
        missed = row["support"] - round(row["recall"] * row["support"])
        lines.append(
            f"False reassurance: of the {format_count(row['support'])} melanomas among the images "
            f"of these metrics, it predicts another class for {format_count(missed)}."
        )
    if row and row["precision"] is not None:
        lines.append(
            "Needless excision: of 100 predictions of melanoma, "
            f"{100 * (1 - row['precision']):.0f} are wrong on these images, and more where "
            "melanomas are rarer."
        )
    if not model.malignant:
        lines.append("It is not known which of its classes are malignant.")
    return "\n".join(f"- {_text(line)}" for line in dict.fromkeys(lines))


def _class(name: str, model: CardModel) -> str:
    return _text(class_label(name, model.names))


def _values(value: float | None, interval: Sequence[float] | None) -> list[str]:
    return [format_number(value), "" if value is None else format_interval(interval)]


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    return UNDEFINED if value is None else f"{format_number(value)} ({format_interval(interval)})"


def _text(text: str) -> str:
    """Return text from anybody as Markdown that is shown as it is, in one line."""
    plain = escape(one_line(str(text)), quote=False)
    return "".join(f"\\{letter}" if letter in "\\|*_`[]#" else letter for letter in plain)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
