"""The evaluation report as one HTML file that needs no network and no other file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from metrics.artifacts import format_artifact_section
from metrics.bootstrap import LESIONS, RESAMPLES, UNKNOWN_LESIONS
from metrics.calibration import BINS
from metrics.classification import SMALL_SUBGROUP, SPECIFICITIES, sensitivity_key
from metrics.comparison import format_comparison_section
from metrics.confirmation import format_histology
from metrics.conformal import format_set_section
from metrics.decision_curve import format_decision_section
from metrics.folds import format_fold_section
from metrics.localization import format_localization_section
from metrics.markup import (
    encode_jpeg,
    format_interval,
    format_name,
    format_number,
    format_plot,
    format_row,
    format_table,
    with_interval,
)
from metrics.occlusion import format_occlusion_section
from metrics.operating_points import format_operating_section
from metrics.prediction import UNKNOWN_MALIGNANT, class_label
from metrics.selective import format_selective_section
from metrics.sources import format_source_section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINARY_TASKS = {"malignant": "Malignant vs. benign", "melanoma": "Melanoma vs. all others"}
_STYLE_SHEET = Path(__file__).with_name("page.css")


@dataclass(frozen=True)
class ReportContext:
    """What a report says besides the metrics.

    Attributes:
        title: title of the page.
        facts: where the metrics come from, by label: model, training data, evaluation data.
        notes: sentences to read first.
        names: full names of classes, subgroup columns and subgroups, by their short names.
        malignant: the malignant classes; empty if unknown.
        binary_tasks: a label for each binary task of the metrics that is shown.
    """

    title: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    names: Mapping[str, str]
    malignant: Sequence[str]
    binary_tasks: Mapping[str, str]

    def full_name(self, name: str) -> str:
        """Return the full name of a class or subgroup as HTML, or the name itself."""
        return format_name(self.names.get(name, name))


@dataclass(frozen=True)
class Misclassification:
    """A confident error, for the gallery.

    Attributes:
        image_id: name of the image.
        true: true class.
        predicted: predicted class.
        confidence: probability of the predicted class.
        image: uint8 `[height, width, 3]`, the input of the model.
        overlay: uint8 of the same shape, the image under its heat map; None without one.
    """

    image_id: str
    true: str
    predicted: str
    confidence: float
    image: np.ndarray
    overlay: np.ndarray | None


def binary_task_labels(malignant: Sequence[str], melanoma: str | None) -> dict[str, str]:
    """Return the binary tasks to show, with their labels; one of them where both are the same."""
    is_same = tuple(malignant) == (melanoma,)
    return {k: label for k, label in _BINARY_TASKS.items() if not (is_same and k == "malignant")}


def build_page(
    metrics: dict,
    context: ReportContext,
    *,
    figures: Mapping[str, Figure],
    errors: Sequence[Misclassification] = (),
) -> str:
    """Build the page.

    Args:
        metrics: the content of `metrics.json`.
        context: what the page says besides the metrics.
        figures: from `plot_evaluation`.
        errors: the images of the gallery.

    Returns:
        HTML that contains its style sheet and images.
    """
    sections = {
        **_if_measured("Folds", metrics["folds"], format_fold_section),
        "Per-class metrics": _per_class(metrics, context)
        + format_plot(figures["confusion_matrix"], "Confusion matrix"),
        "ROC curves": "<p>One curve per class, one-vs-rest.</p>"
        + format_plot(figures["roc"], "ROC curves"),
        "Screening metrics": _screening(metrics, context),
        "Operating points fixed on validation": format_operating_section(
            metrics["operating_points"], context.binary_tasks
        ),
        "Calibration": _calibration(metrics)
        + format_plot(figures["reliability"], "Reliability diagram"),
        "Prediction sets": format_set_section(metrics["prediction_sets"], context.names),
        "Selective prediction": format_selective_section(metrics["selective_prediction"])
        + format_plot(figures["risk_coverage"], "Risk-coverage curve"),
        "Decision curve": _decision(metrics, figures),
        "Predicted versus true prevalence": _prevalence(metrics, context),
        "Subgroups": _subgroups(metrics, context),
        **_if_measured("Other sources", metrics["sources"], format_source_section),
        **_if_measured("Artifacts", metrics["artifacts"], format_artifact_section),
        **_if_measured("Occlusion", metrics["occlusion"], format_occlusion_section),
        **_if_measured("Comparison", metrics["comparison"], format_comparison_section),
        "Grad-CAM localization (pointing game)": format_localization_section(
            metrics["pointing_game"]
        ),
        "Most confident errors": _gallery(errors, context),
    }
    title = escape(context.title)
    facts = "".join(
        f"<tr><td>{escape(label)}</td><td>{escape(text)}</td></tr>"
        for label, text in context.facts.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{_STYLE_SHEET.read_text(encoding="utf-8")}</style>
</head>
<body>
<h1>{title}</h1>
{"".join(f'<p class="notice">{escape(note)}</p>' for note in context.notes)}
<div class="scroll"><table class="facts">{facts}</table></div>
{_summary(metrics)}
{"".join(f"<section><h2>{name}</h2>{html}</section>" for name, html in sections.items())}
</body>
</html>
"""


def _summary(metrics: dict) -> str:
    majority, fraction = escape(metrics["majority_class"]), metrics["majority_fraction"]
    tiles = {
        "balanced_accuracy": ("Balanced accuracy", "mean recall over classes"),
        "accuracy": ("Accuracy", f"majority class ({majority}): {fraction:.3f}"),
        "macro_roc_auc": ("Macro ROC AUC", "one-vs-rest, mean over classes"),
        "macro_f1": ("Macro F1", "mean F1 over classes"),
    }
    cells = "".join(
        f'<div class="tile">{label}<b>{format_number(metrics[key])}</b>'
        f"<span>{format_interval(metrics['intervals'].get(key))}</span><span>{note}</span></div>"
        for key, (label, note) in tiles.items()
    )
    grouping = metrics["grouping"]
    note = "" if grouping == LESIONS else f" {UNKNOWN_LESIONS}"
    return (
        f'<div class="tiles">{cells}</div><p class="muted">Ranges are 95% confidence intervals: '
        f"percentile bootstrap with {RESAMPLES:,} resamples of {escape(grouping)}.{note}</p>"
    )


def _per_class(metrics: dict, context: ReportContext) -> str:
    keys = ("precision", "recall", "f1", "roc_auc", "average_precision")
    rows = [
        [
            format_name(class_label(name, context.names)),
            *(_with_own_interval(row, key) for key in keys),
            f"{row['support']:,}",
        ]
        for name, row in metrics["per_class"].items()
    ]
    heads = ["Class", "Precision", "Recall", "F1", "ROC AUC", "Average precision", "Support"]
    return (
        "<p>Recall is the sensitivity, precision the positive predictive value. ROC AUC and "
        "average precision, which summarizes the precision-recall curve, are one-vs-rest. Support "
        "is the number of images.</p>" + format_table(heads, rows)
    )


def _with_own_interval(row: Mapping, key: str) -> str:
    if key not in row["intervals"]:
        return format_number(row[key])
    return with_interval(row[key], row["intervals"][key])


def _screening(metrics: dict, context: ReportContext) -> str:
    intervals = metrics["intervals"]
    rows = []
    for task in [name for name in context.binary_tasks if name in metrics]:
        values = metrics[task]
        auc = with_interval(values["roc_auc"], intervals.get(f"{task}_roc_auc"))
        row = [escape(context.binary_tasks[task]), auc]
        for specificity in SPECIFICITIES:
            value = values["sensitivity_at_specificity"][f"{specificity:.2f}"]
            row.append(with_interval(value, intervals.get(sensitivity_key(task, specificity))))
        rows.append(row)
    heads = ["Task", "ROC AUC"]
    heads += [f"Sensitivity at {specificity:.0%} specificity" for specificity in SPECIFICITIES]
    malignant = "; ".join(context.full_name(name) for name in context.malignant)
    note = f"Malignant classes: {malignant}." if malignant else UNKNOWN_MALIGNANT
    if not rows:
        return f"<p>Not measured. {note}</p>"
    return (
        f"<p>{note}</p>"
        "<p>The score of a task is the sum of the probabilities of its positive classes. "
        "Sensitivity at a given specificity is read from the ROC curve of these images, so its "
        "threshold is chosen after the test; those of the next section were fixed before.</p>"
        + format_table(heads, rows)
    )


def _calibration(metrics: dict) -> str:
    calibration = metrics["calibration"]
    temperature = calibration["temperature"]
    labels = {
        "expected_calibration_error": f"Expected calibration error (ECE, {BINS} bins)",
        "brier_score": "Brier score (0 to 2)",
        "negative_log_likelihood": "Negative log-likelihood",
    }
    columns = {f"Temperature {temperature:.3f}": calibration["after"]}
    note = "The probabilities are not calibrated: the temperature is 1."
    if temperature != 1:
        columns = {"Temperature 1 (uncalibrated)": calibration["before"]} | columns
        note = (
            "The probabilities are calibrated by temperature scaling: the logits are divided by a "
            f"temperature of {temperature:.3f}, fitted on validation images. They hold for images "
            "like these; on those of other clinics, confidence is usually too high."
        )
    rows = [
        [label, *(format_number(values[key]) for values in columns.values())]
        for key, label in labels.items()
    ]
    return (
        f"<p>{note} ECE is the mean gap between confidence and accuracy; lower is better for all "
        "three metrics.</p>" + format_table(["Metric", *columns], rows)
    )


def _prevalence(metrics: dict, context: ReportContext) -> str:
    keys = ("true", "mean_probability", "predicted")
    rows = [
        [context.full_name(name), *(f"{row[key]:.1%}" for key in keys)]
        for name, row in metrics["calibration"]["prevalence"].items()
    ]
    return (
        "<p>Training that favors rare classes, such as with class weights, raises their "
        "probabilities above their prevalence; temperature scaling does not correct this.</p>"
        + format_table(
            ["Class", "True prevalence", "Mean probability", "Predicted prevalence"], rows
        )
    )


def _subgroups(metrics: dict, context: ReportContext) -> str:
    keys = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}
    heads, note = ["Subgroup", "Images"], ""
    if context.malignant:
        heads.append("Malignant")
        keys["malignant_sensitivity"] = "Sensitivity (malignant)"
        note = (
            "Sensitivity (malignant) is the fraction of malignant images for which any malignant "
            "class is predicted. "
        )
    heads += keys.values()
    body = []
    for column, subgroups in metrics["subgroups"].items():
        name = context.full_name(column)
        body.append(f'<tr class="group"><td colspan="{len(heads)}">{name}</td></tr>')
        for value, row in subgroups.items():
            cells = [context.full_name(value), f"{row['images']:,}"]
            if context.malignant:
                cells.append(f"{row['malignant_images']:,}")
            cells += [with_interval(row[key], row["intervals"][key]) for key in keys]
            body.append(format_row(cells, small=row["small"]))
    if not body:
        return "<p>Not measured: the data has no columns for them.</p>"
    return (
        f"<p>{note}Balanced accuracy is the mean recall of the classes that occur in the "
        f"subgroup. Subgroups of fewer than {SMALL_SUBGROUP} images are gray: too small for "
        "reliable estimates.</p>"
        + format_table(heads, body)
        + format_histology(metrics, metrics["histology"])
    )


def _decision(metrics: dict, figures: Mapping[str, Figure]) -> str:
    section = format_decision_section(metrics["decision_curve"])
    if "decision_curve" not in figures:
        return section
    return section + format_plot(figures["decision_curve"], "Decision curve")


def _if_measured(
    heading: str, metrics: Mapping, build_section: Callable[[Mapping], str]
) -> dict[str, str]:
    return {heading: build_section(metrics)} if metrics else {}


def _gallery(errors: Sequence[Misclassification], context: ReportContext) -> str:
    if not errors:
        return "<p>None.</p>"
    cards = []
    for error in errors:
        image_id = escape(error.image_id)
        images = f'<img alt="{image_id}" src="{encode_jpeg(error.image)}">'
        if error.overlay is not None:
            alt = f"Grad-CAM heat map of {image_id}"
            images += f'<img alt="{alt}" src="{encode_jpeg(error.overlay)}">'
        cards.append(
            f"<figure>{images}<figcaption>{image_id}<br>true: {context.full_name(error.true)}<br>"
            f"predicted: {context.full_name(error.predicted)} ({error.confidence:.0%})"
            "</figcaption></figure>"
        )
    legend = "One image per lesion, sorted by confidence."
    if errors[0].overlay is not None:
        legend += " Left: model input. Right: Grad-CAM heat map for the predicted class."
    return f'<p>{legend}</p><div class="gallery">{"".join(cards)}</div>'
