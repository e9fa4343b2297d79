import io
import re
from pathlib import Path

import numpy as np
import pytest

from metrics.calibration import calibration_metrics, reliability
from metrics.evaluation import Evaluation, evaluation_metrics
from metrics.explanation import legend_colors, plot_explanation
from metrics.plots import (
    plot_confusion_matrix,
    plot_evaluation,
    plot_learning_curves,
    plot_precision_recall,
    plot_reliability,
    plot_roc,
)


def test_the_confusion_matrix_shows_fraction_and_count_of_each_cell():
    figure = plot_confusion_matrix(np.array([[3, 1], [0, 0]]), ("a", "b"), title="title")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["75 %", "3", "25 %", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a\nn=4", "b\nn=0"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Predicted class", "True class")


def test_the_learning_curves_mark_the_best_epoch():
    keys = ("loss", "accuracy", "balanced_accuracy")
    history = [
        {"epoch": epoch, "phase": phase, "learning_rate": 1e-3}
        | {prefix + key: epoch / 10 for key in keys for prefix in ("", "val_")}
        for epoch, phase in ((1, "head"), (2, "fine-tune"), (3, "fine-tune"))
    ]
    figure = plot_learning_curves(history, best_epoch=2, title="run")
    assert len(figure.axes) == 4
    marker = figure.axes[0].lines[2]
    assert (marker.get_xdata()[0], marker.get_ydata()[0]) == (2, 0.2)
    assert marker.get_label() == "best epoch 2"
    assert figure.axes[3].lines[0].get_ydata().tolist() == [1e-3] * 3


def test_the_roc_plot_has_a_curve_for_each_class_that_occurs():
    y_prob = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.5, 0.4, 0.1]])
    axes = plot_roc(np.array([0, 1, 0, 1]), y_prob, ("a", "b", "c")).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["a  1.000  n=2", "b  1.000  n=2"]
    assert [text.get_text() for text in axes.texts] == ["a", "b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("1 - specificity", "Sensitivity")


def test_classes_with_spaces_or_an_underscore_in_front_are_in_the_legend_and_on_their_curves():
    y_prob = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.6, 0.3, 0.1], [0.1, 0.3, 0.6]])
    names = ("_a", "n  1", "n  2")
    axes = plot_roc(np.array([0, 1, 0, 2]), y_prob, names).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["_a  1.000  n=2", "n  1  1.000  n=1", "n  2  1.000  n=1"]
    assert [text.get_text() for text in axes.texts] == ["_a", "n  1", "n  2"]


def test_precision_is_plotted_over_recall_from_the_highest_score_on():
    # Of three images of b, the first and third of all five.
    y_true, score = np.array([1, 0, 1, 0, 1]), np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    axes = plot_precision_recall(y_true, np.stack([1 - score, score], axis=1), ("a", "b")).axes[0]
    points = set(zip(*np.round(axes.lines[1].get_data(), 3), strict=True))
    assert points >= {(0.333, 1.0), (0.667, 0.667), (1.0, 0.6)}
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    # (1 + 2/3 + 3/5) / 3
    assert labels[1] == "b  0.756  n=3"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("Recall", "Precision")


def test_a_name_on_a_curve_is_at_the_upper_end_of_a_step():
    y_prob = np.array([[0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.5, 0.5]])
    axes = plot_roc(np.array([0, 1, 0, 1]), y_prob, ("a", "b")).axes[0]
    assert [text.get_position()[1] for text in axes.texts] == [1, 1]


@pytest.mark.parametrize("plot", [plot_roc, plot_precision_recall])
def test_a_single_class_gives_an_empty_plot(plot):
    axes = plot(np.zeros(2, int), np.full((2, 2), 0.5), ("a", "b")).axes[0]
    assert axes.get_legend() is None


def test_each_reliability_diagram_shows_its_calibration_error():
    y_true, y_prob = np.array([0, 1]), np.array([[0.9, 0.1], [0.9, 0.1]])
    figure = plot_reliability({"before": reliability(y_true, y_prob)}, title="title")
    assert calibration_metrics(y_true, y_prob)["expected_calibration_error"] == pytest.approx(0.4)
    assert figure.axes[0].get_title(loc="left") == "before: ECE 0.400"
    assert len(figure.axes) == 2


LONG_NAMES = [f"{'a long name of a class, ' * 8}{i}" for i in range(30)]


def test_many_classes_with_long_names_have_readable_plots():
    rng = np.random.default_rng(0)
    figure = plot_confusion_matrix(rng.integers(0, 9, (30, 30)), LONG_NAMES, title="title")
    assert max(figure.get_size_inches()) < 13
    axes = figure.axes[0]
    # Percentages alone, where there are images.
    assert all(text.get_text().isdigit() for text in axes.texts)
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(labels)) == 30
    assert max(map(len, labels)) <= 24
    assert {label.get_rotation() for label in axes.get_xticklabels()} == {90}
    figure.savefig(io.BytesIO(), format="png", dpi=20)
    more = plot_confusion_matrix(np.eye(50, dtype=int), LONG_NAMES + LONG_NAMES[:20])
    assert list(more.axes[0].texts) == []


def test_the_title_of_a_small_confusion_matrix_fits_into_the_figure():
    figure = plot_confusion_matrix(np.eye(2, dtype=int), ("a", "b"), title="t" * 40)
    figure.draw_without_rendering()
    assert figure._suptitle.get_window_extent().x1 < figure.bbox.x1


def test_of_many_roc_curves_the_lowest_are_named():
    rng = np.random.default_rng(0)
    y_true = np.repeat(np.arange(30), 4)
    # The higher the index of a class, the better it is told apart.
    y_prob = rng.random((120, 30)) + np.eye(30)[y_true] * np.arange(30) / 30
    for count, named in ((30, 10), (14, 14), (8, 8)):
        rows = y_true < count
        axes = plot_roc(y_true[rows], y_prob[rows][:, :count], LONG_NAMES[:count]).axes[0]
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        curves = axes.lines[:named]
        assert (
            len({f"{line.get_color()} {line._unscaled_dash_pattern}" for line in curves}) == named
        )
        assert len(axes.lines) == 1 + count
        if count == 30:
            assert labels[-1] == "20 classes of higher ROC AUC"
            areas = [float(label.split("  ")[1]) for label in labels[:-1]]
            assert areas == sorted(areas)
        else:
            assert len(labels) == count
        axes.figure.draw_without_rendering()
        assert axes.get_legend().get_window_extent().x1 <= axes.figure.bbox.x1


@pytest.mark.parametrize(("temperature", "panels"), [(2.0, 2), (1.0, 1)])
def test_an_uncalibrated_model_has_one_reliability_diagram(temperature, panels):
    y_true, y_prob = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    evaluation = Evaluation(
        class_names=("a", "b"),
        y_true=y_true,
        y_prob=y_prob,
        uncalibrated=y_prob,
        temperature=temperature,
        lesion_ids=["1", "2"],
        subgroups={},
    )
    metrics = evaluation_metrics(evaluation)
    figures = plot_evaluation(evaluation, metrics, title="title")
    names = ["confusion_matrix", "roc", "precision_recall", "reliability", "risk_coverage"]
    assert list(figures) == names
    assert len(figures["reliability"].axes) == 2 * panels


@pytest.mark.parametrize("folder", ["app/static", "metrics"])
def test_the_legend_of_both_style_sheets_has_the_colors_of_the_heat_map(folder):
    style_sheet = (Path(__file__).parent.parent / folder / "page.css").read_text(encoding="utf-8")
    (ramp,) = re.findall(r"linear-gradient\(to right, (#[0-9a-f, #]+)\)", style_sheet)
    colors = [tuple(bytes.fromhex(text.strip("#").ljust(8, "f"))) for text in ramp.split(", ")]
    assert np.abs(np.array(colors) / 255 - legend_colors(5)).max() < 0.003


def test_an_explanation_has_a_legend_and_the_warnings():
    image, warnings = np.zeros((4, 4, 3), np.uint8), ["Low confidence (28 %). " + "word " * 40]
    figure = plot_explanation(image, image, title="a", warnings=warnings)
    assert figure.texts[-1].get_text().replace("\n", " ") == warnings[0].strip()
    assert [text.get_text() for text in figure.axes[2].texts] == ["less", "more evidence"]
    assert figure.get_figheight() > plot_explanation(image, image, title="a").get_figheight()


@pytest.mark.parametrize(("empty", "label"), [(False, "evidence"), (True, "no evidence")])
def test_an_explanation_says_whether_there_is_evidence_for_the_class(empty, label):
    image = np.zeros((4, 4, 3), np.uint8)
    figure = plot_explanation(image, image, title="a$b$c.jpg", empty=empty)
    labels = [axes.get_xlabel() for axes in figure.axes[:2]]
    assert labels == ["Model input", f"Grad-CAM: {label} for this class"]
    assert figure.get_suptitle() == "a$b$c.jpg"


def test_a_name_with_dollar_signs_is_no_formula():
    name, image = "$\\foo$", np.zeros((4, 4, 3), np.uint8)
    y_true, y_prob = np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]])
    keys = ("loss", "accuracy", "balanced_accuracy")
    row = {prefix + key: 0.5 for key in keys for prefix in ("", "val_")}
    history = [row | {"epoch": i, "phase": f"{name}{i}", "learning_rate": 1.0} for i in (1, 2)]
    for figure in (
        plot_confusion_matrix(np.eye(2, dtype=int), (name, "b"), title=name),
        plot_roc(y_true, y_prob, (name, "b"), title=name),
        plot_reliability({name: reliability(y_true, y_prob)}, title=name),
        plot_explanation(image, image, title=name),
        plot_learning_curves(history, best_epoch=1, title=name),
    ):
        figure.savefig(io.BytesIO(), format="png", dpi=20)


def test_a_title_that_is_no_valid_text_is_drawn():
    image = np.zeros((4, 4, 3), np.uint8)
    plot_explanation(image, image, title="\udcff").savefig(io.BytesIO(), format="png", dpi=20)
