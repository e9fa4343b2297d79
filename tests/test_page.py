import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from evaluations import NAMES, make_evaluation, measure_parts
from matplotlib.figure import Figure

from metrics.comparison import mcnemar_test
from metrics.evaluation import evaluation_metrics
from metrics.page import binary_task_labels, build_page
from metrics.sections import Misclassification, ReportContext
from metrics.sources import source_metrics

CONTEXT = ReportContext(
    title="tiny: evaluation on 40 images",
    facts={"Model": "runs/<tiny>/model.keras"},
    notes=["Not a medical device."],
    names={"mel": "melanoma", "nv": "melanocytic nevus", "sex": "Sex"},
    malignant=("mel",),
    binary_tasks={"malignant": "Malignant vs. benign"},
)
PLOTS = (
    "confusion_matrix",
    "roc",
    "precision_recall",
    "reliability",
    "risk_coverage",
    "decision_curve",
)
FIGURES = {name: Figure() for name in PLOTS}
HEADINGS = [
    "Per-class metrics",
    "ROC and precision-recall curves",
    "Screening metrics",
    "Operating points fixed on validation",
    "Calibration",
    "Prediction sets",
    "Selective prediction",
    "Decision curve",
    "Predicted versus true prevalence",
    "Subgroups",
    "Grad-CAM localization (pointing game)",
    "Most confident errors",
]


class Structure(HTMLParser):
    """Checks that tags are balanced and collects tables as lists of rows of cell texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def metrics() -> dict:
    """The metrics of 40 images in two classes, the first image misclassified."""
    evaluation = make_evaluation(
        40,
        0,
        subgroups={"sex": ["male"] * 35 + ["female"] * 5},
        thresholds={"malignant": {"specificity_0.90": 0.5}},
        set_coverage=0.9,
        histology=[i % 4 < 3 for i in range(40)],
    )
    evaluation = replace(evaluation, sets=evaluation.y_prob > 0.15)
    metrics = evaluation_metrics(evaluation, malignant=("mel",), melanoma="mel")
    metrics["pointing_game"] = {
        "images": 38,
        "without_lesion": 2,
        "hit_fraction": 0.75,
        "energy_fraction": 0.5,
        "chance": 0.25,
    }
    return metrics


@pytest.fixture(scope="module")
def errors() -> list[Misclassification]:
    pixels = np.zeros((8, 8, 3), np.uint8)
    return [Misclassification("<ISIC_1>", "mel", "nv", 0.9, pixels, pixels)]


def build(metrics: dict, context: ReportContext = CONTEXT, errors=()) -> str:
    return build_page(metrics, context, figures=FIGURES, errors=errors)


def test_the_page_has_the_headings_of_the_field_in_order(metrics):
    assert re.findall("<h2>(.*?)</h2>", build(metrics)) == HEADINGS


def test_the_page_needs_no_other_file_and_no_script(metrics, errors):
    page = build(metrics, errors=errors)
    sources = re.findall(r"""src=["']([^"']{0,20})""", page)
    assert len(sources) == 8
    assert all(source.startswith("data:image/") for source in sources)
    assert not re.search(r"url\(|@import|<script|<link|https?:", page)
    assert "max-width: 60rem" in page


def test_the_contents_lead_to_each_section(metrics):
    page = build(metrics)
    links = re.findall(r'<a href="#([a-z-]+)">(.*?)</a>', page)
    assert [heading for _, heading in links] == HEADINGS
    assert [anchor for anchor, _ in links] == re.findall('<section id="([a-z-]+)">', page)
    assert re.findall('href="(?!#)', page) == []


def test_what_scrolls_can_be_reached_with_the_keyboard(metrics):
    page = build(metrics)
    regions = re.findall('<div class="scroll"(.*?)>', page)
    assert len(regions) == page.count("<table>") + page.count('<table class="stacked">') + 6
    assert all('tabindex="0" role="group" aria-label="' in region for region in regions)


def test_tables_hold_the_metrics_under_full_names(metrics, errors):
    facts, per_class, tasks, points, calibration, sets, *others = Structure(
        build(metrics, errors=errors)
    ).tables
    selective, decisions, prevalence, subgroups, histology, pointing = others
    assert facts == [["Model", "runs/<tiny>/model.keras"]]
    # 19 of 20 melanomas rank first, the last below all 20 nevi.
    low, high = metrics["per_class"]["mel"]["intervals"]["recall"]
    recall = f"0.950{low:.3f} to {high:.3f}"
    assert per_class[1] == ["melanoma (mel)", "1.000", recall, "0.974", "0.950", "0.975", "20"]
    assert tasks[1][0] == "Malignant vs. benign"
    assert tasks[1][1].startswith("0.950")
    assert points[1] == ["Malignant vs. benign"]
    assert points[2][0] == "90\u00a0% specificity: 0.500"
    assert [cell[:5] for cell in points[2][1:]] == ["0.950", "1.000", "1.000", "0.952"]
    assert calibration[0] == ["Metric", "Temperature 1 (uncalibrated)", "Temperature 1.250"]
    assert sets[1][:2] == ["all classes", "40"]
    assert sets[1][2].startswith("0.975")
    assert sets[3][0] == "melanoma (mel)"
    assert selective[1] == ["100.0\u00a0%", "0.800", "0.025", "0.050", "0.000"]
    # At 30 %, it treats 19 of the 20 melanomas, and no nevus.
    assert decisions[4][0] == "30\u00a0%"
    assert decisions[4][1].startswith("0.475")
    assert decisions[4][-1] == "model"
    assert prevalence[1] == ["melanoma", "0.500", "0.483", "0.475"]
    assert histology[0] == ["Metric", "All 40 images", "30 images with histopathology"]
    assert [row[0] for row in histology[1:4]] == [
        *("Accuracy", "Balanced accuracy", "Macro ROC AUC")
    ]
    assert [cell[:5] for cell in histology[1][1:]] == ["0.975", "0.967"]
    assert subgroups[1] == ["Sex"]
    assert subgroups[2][:3] == ["female", "5", "2"]
    assert [row[1] for row in pointing[1:]] == ["0.750", "0.500", "0.250"]


def test_all_tables_write_numbers_in_the_same_way(metrics, errors):
    cells = [
        cell
        for table in Structure(build(metrics, errors=errors)).tables
        for row in table
        for cell in row
    ]
    numbers = [number for cell in cells for number in re.findall(r"[0-9.,]*[0-9](?:.%)?", cell)]
    assert len(numbers) > 100
    written = r"\d{1,3}(,\d{3})*|(\d\.\d{3})+|\d+(\.\d)?\u00a0%"
    assert [number for number in numbers if not re.fullmatch(written, number)] == []


def test_the_accuracy_stands_beside_its_interval_and_the_majority_class(metrics):
    low, high = metrics["intervals"]["accuracy"]
    page = build(metrics)
    assert f"<b>0.975</b><span>{low:.3f} to {high:.3f}</span>" in page
    assert "majority class (mel): 0.500" in page


def test_the_page_says_what_was_resampled(metrics):
    assert "1,000 resamples of lesions.</p>" in build(metrics)
    page = build(metrics | {"grouping": "near-duplicates, as lesions are unknown"})
    assert "1,000 resamples of near-duplicates, as lesions are unknown. Images of one" in page


def test_small_subgroups_are_gray(metrics):
    assert '<tr class="small"><td>female' in build(metrics)
    assert "<tr><td>male" in build(metrics)


def test_text_from_outside_is_escaped(metrics, errors):
    page = build(
        metrics, replace(CONTEXT, title="<b>", names={"mel": "<i>"}, notes=["<u>"]), errors
    )
    for text in ("<b>&", "<i>", "<u>", "<tiny>", "<ISIC_1>"):
        assert text not in page
    assert "&lt;ISIC_1&gt;" in page


def test_errors_are_shown_with_and_without_heat_maps(metrics, errors):
    page = build(metrics, errors=errors)
    assert "true: melanoma<br>predicted: melanocytic nevus (90.0\u00a0%)" in page
    assert 'alt="Grad-CAM heat map of' in page
    plain = build(metrics, errors=[replace(errors[0], overlay=None)])
    assert 'alt="Grad-CAM heat map of' not in plain
    assert "Right: Grad-CAM" not in plain
    assert 'class="legend"' in page
    assert 'class="legend"' not in plain


def test_errors_carry_the_warnings_of_their_prediction(metrics, errors):
    page = build(metrics, errors=[replace(errors[0], warnings=("out of distribution",))])
    assert "(90.0\u00a0%)<br>warning: out of distribution</figcaption>" in page


def test_what_was_not_measured_is_said(metrics):
    calibration = metrics["calibration"] | {"temperature": 1.0}
    page = build({**metrics, "calibration": calibration, "pointing_game": None})
    assert "not calibrated: the temperature is 1" in page
    assert "Temperature 1 (uncalibrated)" not in page
    assert "Not measured: there are no lesion masks" in page
    assert "<p>None.</p>" in page


def test_undefined_metrics_are_a_dash(metrics):
    task = {"roc_auc": None, "sensitivity_at_specificity": dict.fromkeys(("0.80", "0.90", "0.95"))}
    intervals = metrics["intervals"] | {"macro_f1": None}
    page = build({**metrics, "malignant": task, "macro_f1": None, "intervals": intervals})
    assert Structure(page).tables[2][1][1:] == ["-"] * 4
    assert "Macro F1<b>-</b><span>no interval</span>" in page


def test_without_known_malignant_classes_the_page_measures_no_malignancy(metrics):
    subgroups = {"sex": {"female": dict(metrics["subgroups"]["sex"]["female"])}}
    for key in ("malignant_images", "malignant_sensitivity"):
        del subgroups["sex"]["female"][key]
    unknown = {k: v for k, v in metrics.items() if k not in ("malignant", "melanoma")}
    unknown |= {"operating_points": {}, "decision_curve": [], "histology": {}}
    unknown["subgroups"] = subgroups
    context = replace(CONTEXT, malignant=())
    page = build(unknown, context)
    assert re.findall("<h2>(.*?)</h2>", page) == HEADINGS
    assert "Not measured. It is not known which classes of this model are malignant." in page
    assert page.lower().count("malignant") == 2
    assert Structure(page).tables[-2][0] == ["Subgroup", "Images", "Accuracy", "Balanced accuracy"]
    # Melanomas are measured all the same.
    tasks = {"malignant": "Malignant vs. benign", "melanoma": "Melanoma vs. all others"}
    page = build(unknown | {"melanoma": metrics["melanoma"]}, replace(context, binary_tasks=tasks))
    assert [row[0] for row in Structure(page).tables[2]] == ["Task", "Melanoma vs. all others"]
    assert "<p>It is not known which classes of this model are malignant.</p>" in page


def test_sources_have_a_section_of_their_own_after_the_subgroups(metrics):
    y_true = np.arange(40) % 2
    sources = source_metrics(
        y_true,
        np.eye(2)[y_true] * 0.6 + 0.2,
        NAMES,
        melanoma="mel",
        sources=["rosendahl"] * 35 + ["new"] * 5,
        trained_on={"rosendahl": True, "new": False},
        groups=range(40),
    )
    page = build(metrics | {"sources": sources})
    index = HEADINGS.index("Subgroups") + 1
    headings = [*HEADINGS[:index], "Other sources", *HEADINGS[index:]]
    assert re.findall("<h2>(.*?)</h2>", page) == headings
    table = Structure(page).tables[11]
    assert table[0][:6] == [
        *("Source", "Trained on", "Images", "Classes", "Accuracy", "Balanced accuracy")
    ]
    assert table[0][6:] == ["Melanoma ROC AUC", "ECE"]
    assert table[1][:4] == ["rosendahl", "yes", "35", "2"]
    assert table[1][4:] == ["1.0000.901 to 1.000", *["1.000no interval"] * 2, "0.200"]
    assert table[2][:4] == ["new", "no", "5", "2"]


def test_artifacts_and_occlusion_have_sections_where_they_are_measured(metrics):
    page = build(metrics | measure_parts(40, "gel_bubble", 35))
    index = HEADINGS.index("Subgroups") + 1
    headings = [*HEADINGS[:index], "Artifacts", "Occlusion", *HEADINGS[index:]]
    assert re.findall("<h2>(.*?)</h2>", page) == headings
    artifact_rows, occlusion_rows = Structure(page).tables[11:13]
    assert artifact_rows[1] == ["Gel bubble"]
    assert [row[:3] for row in artifact_rows[2:]] == [["with", "35", "18"], ["without", "5", "2"]]
    assert [row[0] for row in occlusion_rows[1:]] == [
        *("Whole image", "Only the lesion", "Only its surroundings")
    ]
    assert [row[1][:5] for row in occlusion_rows[1:]] == ["1.000", "1.000", "0.000"]


def test_a_comparison_has_a_section_that_says_what_was_not_compared(metrics):
    row = {"this": 0.75, "other": 0.5, "difference": 0.25, "interval": (0.125, 0.375)}
    comparison = {"other": "<b>/predictions.csv", "images": 40, "only_this": 0, "only_other": 3}
    comparison |= {"metrics": {"accuracy": row}, "mcnemar": mcnemar_test(12, 2)}
    page = build(metrics | {"comparison": comparison})
    index = HEADINGS.index("Subgroups") + 1
    headings = [*HEADINGS[:index], "Comparison", *HEADINGS[index:]]
    assert re.findall("<h2>(.*?)</h2>", page) == headings
    table = Structure(page).tables[11]
    assert table[1] == ["Accuracy", "0.750", "0.500", "+0.2500.125 to 0.375"]
    assert "&lt;b&gt;/predictions.csv" in page
    assert "the 40 images that both predict (not compared: 3 only of the other)" in page
    assert "McNemar's test (exact binomial): p = 0.013; of 12 lesions, this model" in page


def test_one_binary_task_is_shown_where_both_are_the_same():
    assert list(binary_task_labels(("mel",), "mel")) == ["melanoma"]
    for malignant, melanoma in ((("mel", "bcc"), "mel"), ((), None), (("a",), None)):
        assert list(binary_task_labels(malignant, melanoma)) == ["malignant", "melanoma"]


def test_a_class_without_a_title_is_named_once(metrics):
    page = build(metrics, replace(CONTEXT, names={}))
    assert [row[0] for row in Structure(page).tables[1]] == ["Class", "mel", "nv"]


def test_a_very_long_word_in_a_name_may_be_broken(metrics):
    page = build(metrics, replace(CONTEXT, names={"mel": f"melanoma {'x' * 45}&"}))
    word = f"{'x' * 20}<wbr>{'x' * 20}<wbr>{'x' * 5}&amp;"
    assert f"<td>melanoma {word}</td>" in page
