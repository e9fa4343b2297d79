"""The evaluation report as one HTML file that needs no network and no other file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from metrics.artifacts import format_artifact_section
from metrics.comparison import format_comparison_section
from metrics.decision_curve import format_decision_section
from metrics.folds import format_fold_section
from metrics.localization import format_localization_section
from metrics.markup import format_plot
from metrics.occlusion import format_occlusion_section
from metrics.operating_points import format_operating_section
from metrics.prediction_sets import format_prediction_set_section
from metrics.sections import (
    Misclassification,
    ReportContext,
    format_calibration_section,
    format_class_section,
    format_gallery,
    format_prevalence_section,
    format_screening_section,
    format_subgroup_section,
    format_summary,
)
from metrics.selective import format_selective_section
from metrics.sources import format_source_section

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINARY_TASKS = {"malignant": "Malignant vs. benign", "melanoma": "Melanoma vs. all others"}
_PERCENT = re.compile(r"(?<=\d) %")
_STYLE_SHEET = Path(__file__).with_name("page.css")


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
        "Per-class metrics": format_class_section(metrics, context)
        + format_plot(figures["confusion_matrix"], "Confusion matrix"),
        "ROC and precision-recall curves": "<p>One curve per class, one-vs-rest.</p>"
        + format_plot(figures["roc"], "ROC curves")
        + format_plot(figures["precision_recall"], "Precision-recall curves"),
        "Screening metrics": format_screening_section(metrics, context),
        "Operating points fixed on validation": format_operating_section(
            metrics["operating_points"], context.binary_tasks
        ),
        "Calibration": format_calibration_section(metrics)
        + format_plot(figures["reliability"], "Reliability diagram"),
        "Prediction sets": format_prediction_set_section(metrics["prediction_sets"], context.names),
        "Selective prediction": format_selective_section(metrics["selective_prediction"])
        + format_plot(figures["risk_coverage"], "Risk-coverage curve"),
        "Decision curve": format_decision_section(metrics["decision_curve"])
        + (
            format_plot(figures["decision_curve"], "Decision curve")
            if "decision_curve" in figures
            else ""
        ),
        "Predicted versus true prevalence": format_prevalence_section(metrics, context),
        "Subgroups": format_subgroup_section(metrics, context),
        **_if_measured("Other sources", metrics["sources"], format_source_section),
        **_if_measured("Artifacts", metrics["artifacts"], format_artifact_section),
        **_if_measured("Occlusion", metrics["occlusion"], format_occlusion_section),
        **_if_measured("Comparison", metrics["comparison"], format_comparison_section),
        "Grad-CAM localization (pointing game)": format_localization_section(
            metrics["pointing_game"]
        ),
        "Most confident errors": format_gallery(errors, context),
    }
    return _fill(context, format_summary(metrics), sections)


def _fill(context: ReportContext, summary: str, sections: Mapping[str, str]) -> str:
    """Return the page with its head, summary, table of contents and sections."""
    title = escape(context.title)
    facts = "".join(
        f"<tr><td>{escape(label)}</td><td>{escape(text)}</td></tr>"
        for label, text in context.facts.items()
    )
    contents = "".join(f'<li><a href="#{_anchor(name)}">{name}</a></li>' for name in sections)
    body = "".join(
        f'<section id="{_anchor(name)}"><h2>{name}</h2>{html}</section>'
        for name, html in sections.items()
    )
    # A line may not end between a number and its percent sign.
    summary, body = (_PERCENT.sub("\u00a0%", html) for html in (summary, body))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{_STYLE_SHEET.read_text(encoding="utf-8")}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{"".join(f'<p class="notice">{escape(note)}</p>' for note in context.notes)}
<table class="facts">{facts}</table>
{summary}
<nav aria-labelledby="contents"><h2 id="contents">Contents</h2><ol>{contents}</ol></nav>
{body}
</main>
</body>
</html>
"""


def _anchor(heading: str) -> str:
    """Return a heading as the name that addresses refer to."""
    return "-".join(re.findall(r"[a-z]+", heading.lower()))


def _if_measured(
    heading: str, metrics: Mapping, build_section: Callable[[Mapping], str]
) -> dict[str, str]:
    return {heading: build_section(metrics)} if metrics else {}
