"""Metrics by the source of the images: measured, printed, and shown in the report."""

import numpy as np
import pytest

from metrics.calibration import calibration_metrics
from metrics.classification import SMALL_SUBGROUP, classification_metrics, subgroup_metrics
from metrics.sources import format_source_lines, format_source_section, source_metrics

NAMES = ("mel", "nv", "bkl")


def random_case(count: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, count)
    logits = rng.normal(0, 1, (count, 3)) + 1.5 * np.eye(3)[y_true]
    return y_true, np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def measure(y_true, y_prob, sources, *, melanoma="mel", groups=None, trained_on=None) -> dict:
    return source_metrics(
        np.asarray(y_true),
        np.asarray(y_prob),
        NAMES,
        melanoma=melanoma,
        sources=sources,
        trained_on=trained_on or {},
        groups=range(len(y_true)) if groups is None else groups,
    )


def test_the_metrics_of_a_hand_made_source():
    y_true = [0, 0, 1, 1, 1, 0]
    y_prob = [
        *([0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.1, 0.3, 0.6]),
        [0.8, 0.2, 0],
    ]
    found = measure(y_true, y_prob, ["A"] * 5 + ["B"], trained_on={"A": False, "B": True})
    assert list(found) == ["A", "B"]
    row = found["A"]
    assert (row["images"], row["classes"], row["small"], row["trained_on"]) == (5, 2, True, False)
    assert row["accuracy"] == pytest.approx(3 / 5)
    # The class bkl does not occur.
    assert row["balanced_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Of the six pairs of a melanoma and another, one is ranked wrongly.
    assert row["melanoma_roc_auc"] == pytest.approx(5 / 6)
    # Confidence 0.6, twice: one is correct; 0.7 wrong; 0.8 and 0.9 correct.
    gaps = 2 * abs(0.5 - 0.6) + 0.7 + 0.2 + 0.1
    assert row["expected_calibration_error"] == pytest.approx(gaps / 5)
    # Melanomas alone have no ROC AUC.
    assert found["B"]["melanoma_roc_auc"] is None
    assert found["B"]["intervals"]["melanoma_roc_auc"] is None
    assert (found["B"]["accuracy"], found["B"]["trained_on"]) == (1.0, True)


def test_a_source_is_measured_as_if_it_were_alone():
    y_true, y_prob = random_case()
    sources = np.array(["B"] * 30 + ["A"] * 60)
    groups = np.arange(90) // 2
    found = measure(y_true, y_prob, sources, groups=groups)
    assert list(found) == ["A", "B"]
    for name, row in found.items():
        rows = sources == name
        alone = classification_metrics(
            y_true[rows],
            y_prob[rows],
            NAMES,
            binary_tasks={"melanoma": ("mel",)},
            groups=groups[rows],
        )
        assert row["melanoma_roc_auc"] == alone["melanoma"]["roc_auc"]
        assert row["intervals"] == {
            key: alone["intervals"][key]
            for key in ("accuracy", "balanced_accuracy", "melanoma_roc_auc")
        }
        calibration = calibration_metrics(y_true[rows], y_prob[rows])
        assert row["expected_calibration_error"] == calibration["expected_calibration_error"]
        assert row["small"] is (row["images"] < SMALL_SUBGROUP)
        assert row["trained_on"] is None
    # Subgroups are measured in the same way.
    subgroups = subgroup_metrics(
        y_true, y_prob, NAMES, malignant=(), columns={"source": sources}, groups=groups
    )["source"]
    for key in ("images", "small", "accuracy", "balanced_accuracy"):
        assert {name: row[key] for name, row in found.items()} == {
            name: row[key] for name, row in subgroups.items()
        }


def test_without_sources_there_is_nothing_and_without_the_class_no_melanoma():
    y_true, y_prob = random_case(20)
    assert measure(y_true, y_prob, []) == {}
    found = measure(y_true, y_prob, ["A", "B"] * 10, melanoma=None)
    assert "melanoma_roc_auc" not in found["A"]
    assert list(found["A"]["intervals"]) == ["accuracy", "balanced_accuracy"]
    assert "elanoma" not in format_source_section(found)
    assert "mel. AUC" not in "".join(format_source_lines(found))


def test_the_printed_table_has_one_line_per_source_and_fits_into_a_terminal():
    y_true, y_prob = random_case(40)
    names = ["Department of Dermatology, Vienna", "Department of Dermatology, Graz", "x"]
    trained_on = dict(zip(names, (True, False, None), strict=True))
    sources = names[:1] * 25 + names[1:2] * 14 + names[2:]
    lines = format_source_lines(measure(y_true, y_prob, sources, trained_on=trained_on))
    assert lines[0].split() == [
        *("source", "trained", "on", "images", "accuracy", "balanced", "mel.", "AUC", "ECE")
    ]
    assert [line[22:].split()[:2] for line in lines[1:4]] == [
        ["yes", "25"],
        ["no", "14"],
        ["unknown", "1"],
    ]
    assert lines[3].split()[-2] == "-"
    assert len({len(line) for line in lines[:4]}) == 1
    assert len(lines[0]) < 80
    assert len({line[:22] for line in lines[1:4]}) == 3


def test_the_section_says_what_is_measured_and_what_is_unknown():
    y_true, y_prob = random_case(40)
    sources = ["<b>"] * 35 + ["small"] * 5
    found = measure(y_true, y_prob, sources, trained_on={"<b>": False, "small": True})
    html = format_source_section(found)
    assert "<tr><td>&lt;b&gt;</td><td>no</td><td>35</td><td>3</td>" in html
    assert '<tr class="small"><td>small</td><td>yes</td><td>5</td>' in html
    assert "mean recall of the classes that occur in the source" in html
    assert "Unknown" not in html
    low, high = found["<b>"]["intervals"]["melanoma_roc_auc"]
    assert f"<small>{low:.3f} to {high:.3f}</small>" in html
    found["small"]["trained_on"] = None
    assert "Unknown: the model file names no sources." in format_source_section(found)
