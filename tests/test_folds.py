"""Metrics of a cross-validation, on cases small enough to count by hand."""

import numpy as np
import pytest

from metrics.folds import fold_metrics, format_fold_lines, format_fold_section

NAMES = ("a", "b")
Y_TRUE = np.array([0, 0, 1, 1, 0, 1])
# Fold 3 has one error of four, fold 7 none of two.
Y_PROB = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4], [0.3, 0.7]])
FOLDS = [3, 3, 3, 3, 7, 7]


def test_each_fold_is_measured_by_itself():
    metrics = fold_metrics(Y_TRUE, Y_PROB, NAMES, FOLDS)
    first, second = metrics["folds"]
    assert (first["images"], first["accuracy"], first["balanced_accuracy"]) == (4, 0.75, 0.75)
    assert (second["images"], second["accuracy"], second["balanced_accuracy"]) == (2, 1.0, 1.0)
    assert first["macro_roc_auc"] == second["macro_roc_auc"] == 1.0
    losses = -np.log([0.9, 0.4, 0.8, 0.9]).mean(), -np.log([0.6, 0.7]).mean()
    assert first["negative_log_likelihood"] == pytest.approx(losses[0])
    assert metrics["mean"]["negative_log_likelihood"] == pytest.approx(np.mean(losses))
    assert metrics["mean"]["accuracy"] == 0.875
    # With n - 1.
    assert metrics["standard_deviation"]["accuracy"] == pytest.approx(0.125 * 2**0.5)


def test_a_fold_with_one_class_has_no_auc_and_does_not_spoil_the_mean():
    metrics = fold_metrics(Y_TRUE[[0, 1, 2, 3, 4]], Y_PROB[:5], NAMES, FOLDS[:5])
    assert metrics["folds"][1]["macro_roc_auc"] is None
    assert metrics["mean"]["macro_roc_auc"] == 1.0
    assert metrics["standard_deviation"]["macro_roc_auc"] is None


def test_no_folds_no_metrics():
    assert fold_metrics(Y_TRUE, Y_PROB, NAMES, ()) == {}


def test_the_table_has_a_row_for_each_fold_and_two_below():
    metrics = fold_metrics(Y_TRUE, Y_PROB, NAMES, FOLDS)
    lines = format_fold_lines(metrics)
    assert [line.split()[0] for line in lines] == ["fold", "0", "1", "mean", "std."]
    assert lines[1].split()[1:4] == ["4", "0.750", "0.750"]
    assert len({len(line) for line in lines}) == 1
    section = format_fold_section(metrics)
    assert section.count("<tr>") == 5
    assert "<td>0.875</td>" in section
    assert "Macro ROC AUC" in section
