"""Thresholds fixed on validation images: fitted, measured, and read from the command line."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score

from metrics.intervals import wilson_interval
from metrics.operating_points import (
    FEWEST_IMAGES,
    POINTS,
    fit_thresholds,
    format_operating_lines,
    format_operating_section,
    operating_point_metrics,
    predictive_values,
    read_prevalence,
    task_score,
)
from support import InputError
from training.calibration import fit_operating_points

# Negatives at 0.00 to 0.39, positives at 0.30 to 0.69.
SCORE = np.r_[np.arange(40), np.arange(30, 70)] / 100
Y_TRUE = np.arange(80) >= 40


def test_a_threshold_lies_below_the_score_that_just_reaches_its_point():
    # 32, 36 and 38 of 40 negatives are below it; 38 and 36 of 40 positives are not.
    thresholds = {
        "sensitivity_0.95": 0.315,
        "sensitivity_0.90": 0.335,
        "specificity_0.80": 0.315,
        "specificity_0.90": 0.355,
        "specificity_0.95": 0.375,
    }
    assert fit_thresholds(Y_TRUE, SCORE) == pytest.approx(thresholds)
    # The lowest score of all.
    found = fit_thresholds(Y_TRUE, np.where(Y_TRUE, 0.25, 0.5))
    assert found == pytest.approx(dict.fromkeys(("sensitivity_0.95", "sensitivity_0.90"), 0.125))


def test_weights_count_as_so_many_images():
    rng = np.random.default_rng(0)
    y_true, score = rng.random(200) < 0.4, rng.integers(0, 30, 200) / 30
    counts = rng.integers(1, 4, 200)
    repeated = fit_thresholds(np.repeat(y_true, counts), np.repeat(score, counts))
    assert fit_thresholds(y_true, score, counts.astype(float)) == repeated
    assert fit_thresholds(y_true, score, counts / 7) == repeated


def test_each_point_is_reached_on_the_images_that_it_was_fitted_to():
    rng = np.random.default_rng(1)
    y_true = rng.random(300) < 0.3
    score = np.round(rng.normal(y_true, 1).clip(-3, 4) / 7 + 3 / 7, 2)
    metrics = operating_point_metrics(y_true, score, fit_thresholds(y_true, score), groups=y_true)
    assert list(metrics) == list(POINTS)
    for name, (measure, fraction) in POINTS.items():
        assert metrics[name][measure] >= fraction


def test_a_point_that_no_score_reaches_is_left_out():
    score = np.where(np.arange(80) % 2, 1.0, SCORE)
    assert {"specificity_0.80", "specificity_0.95"}.isdisjoint(fit_thresholds(Y_TRUE, score))


@pytest.mark.parametrize("positives", [0, FEWEST_IMAGES - 1, 80 - FEWEST_IMAGES + 1, 80])
def test_too_few_images_on_one_side_fix_nothing(positives):
    assert fit_thresholds(np.arange(80) < positives, SCORE) == {}


def test_predictive_values_follow_from_the_prevalence():
    ppv, npv = predictive_values(np.array([0.9, 0.0]), np.array([0.8, 1.0]), 0.1)
    assert np.allclose(ppv, [0.09 / 0.27, np.nan], equal_nan=True)
    assert np.allclose(npv, [0.72 / 0.73, 0.9])


def test_a_fixed_threshold_gives_the_values_of_scikit_learn():
    rng = np.random.default_rng(2)
    y_true, score = rng.random(90) < 0.4, rng.random(90)
    lesions = [str(i // 2) for i in range(90)]
    (row,) = operating_point_metrics(
        y_true, score, {"specificity_0.90": 0.6}, groups=lesions, prevalence=float(y_true.mean())
    ).values()
    called = score >= 0.6
    assert row["sensitivity"] == pytest.approx(recall_score(y_true, called))
    assert row["specificity"] == pytest.approx(recall_score(~y_true, ~called))
    assert row["ppv"] == pytest.approx(precision_score(y_true, called))
    assert row["npv"] == pytest.approx(precision_score(~y_true, ~called))
    # At the prevalence of these images, they are the same.
    assert row["ppv_at_prevalence"] == pytest.approx(row["ppv"])
    assert row["npv_at_prevalence"] == pytest.approx(row["npv"])
    for key in ("sensitivity", "specificity", "ppv", "npv", "ppv_at_prevalence"):
        low, high = row["intervals"][key]
        assert low < row[key] < high


def test_values_of_0_and_1_have_the_interval_of_wilson_by_lesion():
    y_true = np.array([True] * 6 + [False] * 6)
    lesions = ["a", "a", "b", "c", "d", "d", *"efghij"]
    (row,) = operating_point_metrics(
        y_true, y_true * 0.5, {"sensitivity_0.90": 0.2}, groups=lesions, prevalence=0.1
    ).values()
    assert (row["sensitivity"], row["specificity"], row["ppv_at_prevalence"]) == (1, 1, 1)
    assert row["intervals"]["sensitivity"] == wilson_interval(4, 4)
    assert row["intervals"]["npv"] == wilson_interval(6, 6)
    assert row["intervals"]["ppv_at_prevalence"] is None
    (row,) = operating_point_metrics(
        y_true, y_true * 0.5, {"sensitivity_0.90": 0.9}, groups=lesions
    ).values()
    assert (row["sensitivity"], row["ppv"], row["intervals"]["ppv"]) == (0, None, None)
    assert row["intervals"]["sensitivity"] == wilson_interval(0, 4)


def test_the_score_of_a_task_is_the_sum_of_its_classes():
    y_prob = np.array([[0.5, 0.2, 0.3], [0.1, 0.2, 0.7]], np.float32)
    positive, score = task_score(np.array([1, 2]), y_prob, ("a", "b", "c"), ("a", "c"))
    assert positive.tolist() == [False, True]
    assert np.allclose(score, [0.8, 0.8])


def test_training_fits_the_tasks_that_a_model_has():
    names, y_true = ("Melanoma", "nevus"), np.arange(80) < 40
    y_prob = np.stack([SCORE, 1 - SCORE], axis=1)
    fit = fit_operating_points(
        y_true.astype(int), y_prob, SimpleNamespace(class_names=names, malignant=())
    )
    assert list(fit) == ["melanoma"]
    assert set(fit["melanoma"]) == set(POINTS)
    bare = SimpleNamespace(class_names=("a", "b"), malignant=())
    assert fit_operating_points(y_true.astype(int), y_prob, bare) is None
    few = SimpleNamespace(class_names=names, malignant=("Melanoma",))
    assert fit_operating_points(np.ones(80, int), y_prob, few) is None


def test_a_prevalence_is_a_fraction_for_a_task():
    expected = {"malignant": 0.05, "melanoma": 0.01}
    assert read_prevalence(["malignant=0.05", "melanoma=1e-2"]) == expected
    assert read_prevalence([]) == {}


@pytest.mark.parametrize(
    "text",
    [
        *("0.05", "malignant", "malignant=", "malignant=5 %", "mel=0.05", "malignant=0", ""),
        *("melanoma=1", "malignant=nan", "malignant=-1", "malignant=0.1 malignant=0.2"),
    ],
)
def test_another_prevalence_is_refused_in_one_line(text):
    with pytest.raises(InputError, match=r"such as malignant=0\.05, received '") as caught:
        read_prevalence(text.split() or [""])
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def points() -> dict:
    thresholds, lesions = fit_thresholds(Y_TRUE, SCORE), [str(i) for i in range(80)]
    return {
        "malignant": operating_point_metrics(
            Y_TRUE, SCORE, thresholds, groups=lesions, prevalence=0.05
        ),
        "melanoma": operating_point_metrics(Y_TRUE, SCORE, thresholds, groups=lesions),
    }


def test_fixed_thresholds_are_printed(points):
    lines = format_operating_lines(points)
    assert lines[0].split()[-4:] == ["Sensitivity", "Specificity", "PPV", "NPV"]
    expected = ["malignant,", "90", "%", "specificity", "0.850", "0.900", "0.895", "0.857"]
    assert lines[4].split() == expected
    assert len(lines) == 11
    assert len({len(line) for line in lines}) == 1


def test_the_section_has_the_stated_prevalence_only_where_it_was_stated(points):
    labels = {"malignant": "Malignant vs. benign", "melanoma": "<Melanoma>"}
    html = format_operating_section(points, labels)
    assert "Malignant vs. benign, stated prevalence 5 %" in html
    assert '">&lt;Melanoma&gt;</td>' in html
    assert html.count("<td>-</td>") == 10
    assert "<td>90 % specificity: 0.355</td>" in html
    plain = format_operating_section({"melanoma": points["melanoma"]}, labels)
    assert "stated" not in plain
    assert "the model has no thresholds that were fixed" in format_operating_section({}, labels)
