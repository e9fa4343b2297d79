"""The sections of the report that no other module of the metrics has, as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from metrics.calibration import BINS
from metrics.classification import (
    FEWEST_POSITIVES,
    SMALL_SUBGROUP,
    SPECIFICITIES,
    sensitivity_key,
)
from metrics.confirmation import format_histology_section
from metrics.explanation import format_legend
from metrics.intervals import LESIONS, RESAMPLES, UNKNOWN_LESIONS
from metrics.markup import format_name, format_row, format_table, jpeg_url, with_interval
from metrics.numbers import (
    INTERVAL_LEVEL,
    format_count,
    format_interval,
    format_level,
    format_number,
    format_percent,
)
from metrics.prediction import UNKNOWN_MALIGNANT, class_label


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
        warnings: a word or two for each warning of the prediction.
    """

    image_id: str
    true: str
    predicted: str
    confidence: float
    image: np.ndarray
    overlay: np.ndarray | None
    warnings: Sequence[str] = ()


def format_summary(metrics: dict) -> str:
    """Return the tiles at the top of the report."""
    majority, fraction = escape(metrics["majority_class"]), metrics["majority_fraction"]
    tiles = {
        "balanced_accuracy": ("Balanced accuracy", "mean recall over classes"),
        "accuracy": ("Accuracy", f"majority class ({majority}): {format_number(fraction)}"),
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
        f'<div class="tiles">{cells}</div><p class="muted">Below each value is its '
        f"{INTERVAL_LEVEL} confidence interval: percentile bootstrap with "
        f"{format_count(RESAMPLES)} resamples of "
        f"{escape(grouping)}.{note}</p>"
    )


def format_class_section(metrics: dict, context: ReportContext) -> str:
    """Return the table of the metrics of each class."""
    keys = ("precision", "recall", "f1", "roc_auc", "average_precision")
    rows = [
        [
            format_name(class_label(name, context.names)),
            *(_with_own_interval(row, key) for key in keys),
            format_count(row["support"]),
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


def format_screening_section(metrics: dict, context: ReportContext) -> str:
    """Return the table of the binary tasks."""
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
    heads += [
        f"Sensitivity at {format_level(specificity)} specificity" for specificity in SPECIFICITIES
    ]
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


def format_calibration_section(metrics: dict) -> str:
    """Return the table of the calibration metrics, with and without the temperature."""
    calibration = metrics["calibration"]
    temperature = calibration["temperature"]
    labels = {
        "expected_calibration_error": f"Expected calibration error (ECE, {BINS} bins)",
        "brier_score": "Brier score (0 to 2)",
        "negative_log_likelihood": "Negative log-likelihood",
    }
    columns = {f"Temperature {format_number(temperature)}": calibration["after"]}
    note = "The probabilities are not calibrated: the temperature is 1."
    if temperature != 1:
        columns = {"Temperature 1 (uncalibrated)": calibration["before"]} | columns
        note = (
            "The probabilities are calibrated by temperature scaling: the logits are divided by a "
            f"temperature of {format_number(temperature)}, fitted on validation images. They hold "
            "for images like these; on those from other clinics, it is usually overconfident."
        )
    rows = [
        [label, *(format_number(values[key]) for values in columns.values())]
        for key, label in labels.items()
    ]
    return (
        f"<p>{note} ECE is the mean gap between confidence and accuracy; lower is better for all "
        "three metrics.</p>" + format_table(["Metric", *columns], rows)
    )


def format_prevalence_section(metrics: dict, context: ReportContext) -> str:
    """Return the table of how often each class occurs and how often it is predicted."""
    keys = ("true", "mean_probability", "predicted")
    rows = [
        [context.full_name(name), *(format_number(row[key]) for key in keys)]
        for name, row in metrics["calibration"]["prevalence"].items()
    ]
    return (
        "<p>Training that favors rare classes, such as with class weights, raises their "
        "probabilities above their prevalence; temperature scaling does not correct this.</p>"
        + format_table(
            ["Class", "True prevalence", "Mean probability", "Predicted prevalence"], rows
        )
    )


def format_subgroup_section(metrics: dict, context: ReportContext) -> str:
    """Return the table of the subgroups, and the metrics of confirmed lesions."""
    keys = {"accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy"}
    heads, note = ["Subgroup", "Images"], ""
    if context.malignant:
        heads.append("Malignant")
        keys["malignant_sensitivity"] = "Sensitivity (malignant)"
        note = (
            "Sensitivity (malignant) is the fraction of malignant images for which any malignant "
            "class is predicted; it is gray where fewer than "
            f"{FEWEST_POSITIVES} are malignant. "
        )
    heads += keys.values()
    body = []
    for column, subgroups in metrics["subgroups"].items():
        name = context.full_name(column)
        body.append(f'<tr class="group"><td colspan="{len(heads)}">{name}</td></tr>')
        for value, row in subgroups.items():
            cells = [context.full_name(value), format_count(row["images"])]
            if context.malignant:
                cells.append(format_count(row["malignant_images"]))
            cells += [with_interval(row[key], row["intervals"][key]) for key in keys]
            if context.malignant and row["malignant_images"] < FEWEST_POSITIVES:
                cells[-1] = f'<span class="few">{cells[-1]}</span>'
            body.append(format_row(cells, small=row["small"]))
    if not body:
        return "<p>Not measured: the data has no columns for them.</p>"
    return (
        f"<p>{note}Balanced accuracy is the mean recall of the classes that occur in the "
        f"subgroup. Subgroups of fewer than {SMALL_SUBGROUP} images are gray: too small for "
        "reliable estimates.</p>"
        + format_table(heads, body)
        + format_histology_section(metrics, metrics["histology"])
    )


def format_gallery(errors: Sequence[Misclassification], context: ReportContext) -> str:
    """Return the images of the most confident errors."""
    if not errors:
        return "<p>None.</p>"
    cards = []
    for error in errors:
        image_id = escape(error.image_id)
        images = f'<img alt="{image_id}" src="{jpeg_url(error.image)}">'
        if error.overlay is not None:
            alt = f"Grad-CAM heat map of {image_id}"
            images += f'<img alt="{alt}" src="{jpeg_url(error.overlay)}">'
        cards.append(
            f"<figure>{images}<figcaption>{image_id}<br>true: {context.full_name(error.true)}<br>"
            f"predicted: {context.full_name(error.predicted)} ({format_percent(error.confidence)})"
            + "".join(f"<br>warning: {escape(text)}" for text in error.warnings)
            + "</figcaption></figure>"
        )
    note, legend = "One image per lesion, sorted by confidence.", ""
    if errors[0].overlay is not None:
        note += " Left: model input. Right: Grad-CAM heat map for the predicted class."
        legend = format_legend()
    return f'<p>{note}</p>{legend}<div class="gallery">{"".join(cards)}</div>'
