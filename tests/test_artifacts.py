"""Metrics with and without each artifact."""

import numpy as np
import pytest

from metrics.artifacts import artifact_metrics, format_artifact_section
from metrics.classification import classification_metrics

NAMES = ("mel", "nv")


def test_images_with_and_without_an_artifact_are_measured_apart():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 2, 120), rng.dirichlet((1, 1), 120)
    groups = np.arange(120) // 2
    hair = [True] * 20 + [None] * 40 + [False] * 60
    found = artifact_metrics(
        y_true,
        y_prob,
        NAMES,
        melanoma="mel",
        artifacts={"hair": hair, "ink": [False] * 120},
        groups=groups,
    )
    assert list(found["hair"]) == ["with", "without"]
    assert list(found["ink"]) == ["without"]
    assert [row["images"] for row in found["hair"].values()] == [20, 60]
    assert [row["small"] for row in found["hair"].values()] == [True, False]
    rows = np.arange(60, 120)
    expected = classification_metrics(
        y_true[rows],
        y_prob[rows],
        NAMES,
        binary_tasks={"melanoma": ("mel",)},
        groups=groups[rows],
    )
    row, intervals = found["hair"]["without"], expected["intervals"]
    assert row["melanomas"] == (y_true[rows] == 0).sum()
    for key in ("accuracy", "balanced_accuracy"):
        assert row[key] == pytest.approx(expected[key])
        assert row["intervals"][key] == pytest.approx(intervals[key])
    assert row["melanoma_roc_auc"] == pytest.approx(expected["melanoma"]["roc_auc"])
    assert row["intervals"]["melanoma_roc_auc"] == pytest.approx(intervals["melanoma_roc_auc"])


def test_without_melanomas_there_is_no_roc_auc():
    options = {"artifacts": {"<b>ink_mark": [True] * 3 + [False] * 37}, "groups": range(40)}
    y_true = np.array([1] * 4 + [0, 1] * 18)
    y_prob = np.eye(2)[y_true] * 0.6 + 0.2
    found = artifact_metrics(y_true, y_prob, NAMES, melanoma="mel", **options)
    row = found["<b>ink_mark"]["with"]
    assert (row["melanomas"], row["melanoma_roc_auc"]) == (0, None)
    assert row["intervals"]["melanoma_roc_auc"] is None
    # Every melanoma without ink ranks first: no resample differs.
    assert found["<b>ink_mark"]["without"]["melanoma_roc_auc"] == 1
    assert found["<b>ink_mark"]["without"]["intervals"]["melanoma_roc_auc"] is None
    section = format_artifact_section(found)
    assert '<tr class="small"><td>with</td><td>3</td><td>0</td>' in section
    assert "<tr><td>without</td><td>37</td><td>18</td>" in section
    assert "&lt;b&gt;ink mark" in section
    unknown = artifact_metrics(y_true, y_prob, ("a", "b"), melanoma=None, **options)
    assert "elanoma" not in format_artifact_section(unknown)


def test_without_a_table_nothing_is_measured():
    y_true = np.array([0, 1])
    assert (
        artifact_metrics(y_true, np.eye(2), NAMES, melanoma="mel", artifacts={}, groups=range(2))
        == {}
    )
