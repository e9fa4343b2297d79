import json

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics as skl

from metrics.classification import classification_metrics, confusion_counts, subgroup_metrics
from metrics.plots import plot_confusion_matrix, plot_learning_curves
from metrics.report import PredictionWriter, format_metrics, prediction_table, write_report

NAMES = ("a", "b", "c")
Y_TRUE = np.array([0, 0, 0, 1, 1])
Y_PROB = np.array(
    [[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.1, 0.2, 0.7]]
)


def test_figures_of_a_hand_made_case():
    metrics = classification_metrics(Y_TRUE, Y_PROB, NAMES)
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    a, b, c = (metrics["per_class"][name] for name in NAMES)
    assert (a["precision"], a["support"]) == (1.0, 3)
    assert a["recall"] == pytest.approx(2 / 3)
    assert (b["precision"], b["recall"], b["f1"]) == (0.5, 0.5, 0.5)
    # Of the six pairs of an a and another, the probability of a ranks five rightly.
    assert a["roc_auc"] == pytest.approx(5 / 6)
    assert metrics["macro_f1"] == pytest.approx((0.8 + 0.5) / 2)
    assert (c["precision"], c["support"]) == (0.0, 0)
    assert {c[key] for key in ("recall", "f1", "roc_auc", "average_precision")} == {None}
    assert (metrics["majority_class"], metrics["majority_share"]) == ("a", 0.6)
    assert metrics["images"] == 5


def test_a_perfect_classifier_scores_one_everywhere():
    metrics = classification_metrics(np.arange(3), np.eye(3), NAMES)
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "macro_roc_auc"):
        assert metrics[name] == 1.0


def test_one_class_only_has_no_roc_auc_and_a_class_never_predicted_no_precision():
    metrics = classification_metrics(np.zeros(4, int), np.tile([0.9, 0.1, 0.0], (4, 1)), NAMES)
    assert metrics["macro_roc_auc"] is None
    assert metrics["per_class"]["b"]["precision"] is None
    assert metrics["balanced_accuracy"] == 1.0


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        classification_metrics(np.array([], int), np.zeros((0, 3)), NAMES)
    with pytest.raises(ValueError, match=r"\(5, 2\)"):
        classification_metrics(Y_TRUE, Y_PROB[:, :2], NAMES)


def test_confusion_counts_have_truth_in_rows():
    assert confusion_counts(Y_TRUE, Y_PROB, 3).tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_prediction_table_has_the_columns_of_the_contract():
    table = prediction_table(["x", "y"], Y_PROB[:2], NAMES)
    assert list(table) == ["image", "predicted", "confidence", "prob_a", "prob_b", "prob_c"]
    assert table["predicted"].tolist() == ["a", "a"]
    assert table["confidence"].tolist() == [0.8, 0.6]


@pytest.mark.parametrize("ending", ["csv", "json"])
def test_predictions_written_in_pieces_read_back_as_one_table(tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    with PredictionWriter(path) as writer:
        for part in (slice(0, 2), slice(2, 2), slice(2, 5)):
            writer.write(prediction_table(list("vwxyz")[part], Y_PROB[part], NAMES))
        assert not path.exists()
    table = pd.read_csv(path) if ending == "csv" else pd.DataFrame(json.loads(path.read_text()))
    assert table["image"].tolist() == list("vwxyz")
    assert np.allclose(table[[f"prob_{name}" for name in NAMES]], Y_PROB)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_broken_off_prediction_file_keeps_the_one_before(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), PredictionWriter(path) as writer:
        writer.write(prediction_table(["x"], Y_PROB[: 1 // 0], NAMES))
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_no_predictions_are_an_empty_list(tmp_path):
    with PredictionWriter(tmp_path / "out.json"):
        pass
    assert json.loads((tmp_path / "out.json").read_text()) == []


def test_report_holds_plain_numbers_a_table_and_a_picture(tmp_path):
    metrics = classification_metrics(Y_TRUE, Y_PROB, NAMES)
    figure = plot_confusion_matrix(confusion_counts(Y_TRUE, Y_PROB, 3), NAMES, title="t")
    write_report(
        tmp_path / "new",
        metrics=metrics,
        predictions=prediction_table(list("vwxyz"), Y_PROB, NAMES),
        figures={"confusion_matrix": figure},
        page="<!doctype html>",
    )
    written = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert written == metrics
    assert isinstance(written["accuracy"], float)
    assert (tmp_path / "new" / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "new" / "report.html").read_text() == "<!doctype html>"
    assert len(list((tmp_path / "new").iterdir())) == 4


def test_printed_table_names_every_class_and_leaves_undefined_figures_out():
    text = format_metrics(classification_metrics(Y_TRUE, Y_PROB, NAMES))
    lines = text.splitlines()
    assert lines[1].split() == ["a", "1.000", "0.667", "0.800", "0.833", "3"]
    assert lines[3].split() == ["c", "0.000", "-", "-", "-", "0"]
    assert "balanced accuracy" in text


def test_confusion_matrix_shows_share_and_count_of_each_cell():
    figure = plot_confusion_matrix(np.array([[3, 1], [0, 0]]), ("a", "b"), title="title")
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["75%", "3", "25%", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a\nn=4", "b\nn=0"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")


def test_learning_curves_mark_the_kept_epoch():
    keys = ("loss", "accuracy", "balanced_accuracy")
    history = [
        {"epoch": epoch, "phase": phase, "learning_rate": 1e-3}
        | {prefix + key: epoch / 10 for key in keys for prefix in ("", "val_")}
        for epoch, phase in ((1, "head"), (2, "fine-tune"), (3, "fine-tune"))
    ]
    figure = plot_learning_curves(history, best_epoch=2, title="run")
    assert len(figure.axes) == 4
    marked = figure.axes[0].lines[2]
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (2, 0.2)
    assert figure.axes[3].lines[0].get_ydata().tolist() == [1e-3] * 3


def random_case(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, count)
    logits = rng.normal(0, 1, (count, 3)) + 1.5 * np.eye(3)[y_true]
    return y_true, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_agrees_with_scikit_learn():
    y_true, y_prob = random_case()
    y_pred = y_prob.argmax(axis=1)
    metrics = classification_metrics(y_true, y_prob, NAMES, questions={"bad": ("a", "c")})
    assert metrics["accuracy"] == pytest.approx(skl.accuracy_score(y_true, y_pred))
    assert metrics["balanced_accuracy"] == pytest.approx(
        skl.balanced_accuracy_score(y_true, y_pred)
    )
    assert metrics["macro_f1"] == pytest.approx(skl.f1_score(y_true, y_pred, average="macro"))
    assert metrics["macro_roc_auc"] == pytest.approx(
        skl.roc_auc_score(y_true, y_prob, multi_class="ovr")
    )
    bad = y_true != 1
    expected = skl.roc_auc_score(bad, y_prob[:, 0] + y_prob[:, 2])
    assert metrics["bad"]["roc_auc"] == pytest.approx(expected)
    rows = skl.classification_report(y_true, y_pred, target_names=NAMES, output_dict=True)
    for place, name in enumerate(NAMES):
        mine = metrics["per_class"][name]
        assert mine["precision"] == pytest.approx(rows[name]["precision"])
        assert mine["f1"] == pytest.approx(rows[name]["f1-score"])
        expected = skl.average_precision_score(y_true == place, y_prob[:, place])
        assert mine["average_precision"] == pytest.approx(expected)


def test_intervals_hold_the_figures_and_their_names():
    y_true, y_prob = random_case()
    metrics = classification_metrics(
        y_true, y_prob, NAMES, questions={"bad": ("a", "c")}, groups=np.arange(300) // 2
    )
    figures = {name: metrics[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
    figures["bad_roc_auc"] = metrics["bad"]["roc_auc"]
    figures["bad_sensitivity_at_0.90"] = metrics["bad"]["sensitivity_at_specificity"]["0.90"]
    for name, value in figures.items():
        low, high = metrics["intervals"][name]
        assert low < value < high


def test_a_subgroup_is_measured_as_if_it_were_alone():
    y_true, y_prob = random_case()
    site = np.where(np.arange(300) < 280, "back", "foot")
    rows = subgroup_metrics(
        y_true,
        y_prob,
        NAMES,
        malignant=("a", "c"),
        columns={"site": site},
        groups=np.arange(300),
    )["site"]
    alone = classification_metrics(y_true[:280], y_prob[:280], NAMES)
    assert rows["back"]["balanced_accuracy"] == pytest.approx(alone["balanced_accuracy"])
    assert [rows[name]["images"] for name in ("back", "foot")] == [280, 20]
    assert [rows[name]["small"] for name in ("back", "foot")] == [False, True]
    bad = y_true[:280] != 1
    found = (y_prob[:280].argmax(axis=1) != 1)[bad].mean()
    assert rows["back"]["malignant_sensitivity"] == pytest.approx(found)


def test_a_subgroup_without_malignant_images_has_no_sensitivity():
    rows = subgroup_metrics(
        np.array([1, 1]),
        np.array([[0.1, 0.8, 0.1]] * 2),
        NAMES,
        malignant=("a",),
        columns={"sex": ["female", "female"]},
        groups=["l1", "l2"],
    )["sex"]["female"]
    assert rows["malignant_sensitivity"] is None
    assert rows["intervals"]["malignant_sensitivity"] is None
    assert rows["accuracy"] == 1.0
