"""Prediction sets: fitted by lesion and class, and measured."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from metrics.prediction_sets import (
    format_prediction_set_line,
    format_prediction_set_section,
    prediction_set_metrics,
)
from models.conformal import FEWEST_LESIONS, find_sets, fit_set_thresholds
from training.calibration import fit_prediction_sets


def draw(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return labels of three classes, the last one rare, and probabilities that fit to them."""
    rng = np.random.default_rng(seed)
    y_prob = rng.dirichlet([2, 1, 0.5], count).astype(np.float32)
    y_true = (rng.random(count)[:, None] > y_prob.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    return y_true, y_prob


def of_one_class(probability: np.ndarray, lesions, coverage: float) -> float:
    """Return the threshold of a class that is that of all images."""
    y_prob = np.stack([probability, 1 - probability], axis=1)
    y_true = np.zeros(len(probability), int)
    first, second = fit_set_thresholds(y_true, y_prob, lesions, coverage=coverage)
    # The other class, of no image, has the threshold of all.
    assert first == second
    return first


def test_the_threshold_is_the_quantile_of_angelopoulos_and_bates():
    # Section 1: the quantile ceil((n + 1)(1 - alpha)) / n of 1 - probability of the true class.
    for count, coverage in ((20, 0.9), (57, 0.9), (200, 0.8)):
        p = np.random.default_rng(count).random(count)
        level = math.ceil((count + 1) * coverage) / count
        score = np.quantile(1 - p, level, method="inverted_cdf")
        assert of_one_class(p, range(count), coverage) == pytest.approx(1 - score)


@pytest.mark.parametrize(("coverage", "threshold"), [(0.9, 0.11), (0.95, 0.1), (0.96, 0.0)])
def test_so_many_of_20_lesions_and_one_more_reach_the_threshold(coverage, threshold):
    # 18.9 are 19 of 20, 19.95 are all, and 20.16 more than there are.
    assert of_one_class(np.arange(10, 30) / 100, range(20), coverage) == threshold


def test_the_images_of_a_lesion_count_as_one_case():
    y_true, y_prob = draw(120)
    once = fit_set_thresholds(y_true, y_prob, range(120), coverage=0.9)
    repeats = np.arange(120) % 4 + 1
    rows = np.repeat(np.arange(120), repeats)
    assert np.array_equal(fit_set_thresholds(y_true[rows], y_prob[rows], rows, coverage=0.9), once)
    assert not np.array_equal(
        fit_set_thresholds(y_true[rows], y_prob[rows], range(len(rows)), coverage=0.9), once
    )
    # Of the last lesion, one of two images is below all others, which counts as half a case.
    p = np.r_[np.arange(20, 39), 5, 95] / 100
    assert of_one_class(p, [*range(19), 19, 19], 0.9) == 0.2


def test_weights_count_as_so_many_lesions():
    y_true, y_prob = draw(150)
    weights = np.where(np.arange(150) % 3 == 0, 3.0, 0.5)
    found = fit_set_thresholds(y_true, y_prob, range(150), coverage=0.9, weights=weights)
    scaled = fit_set_thresholds(y_true, y_prob, range(150), coverage=0.9, weights=weights / 7)
    assert np.array_equal(found, scaled)
    assert not np.array_equal(found, fit_set_thresholds(y_true, y_prob, range(150), coverage=0.9))


def test_a_class_of_few_lesions_has_the_threshold_of_all():
    y_true, y_prob = np.arange(60) % 3, draw(60)[1]
    y_true[y_true == 2] = 0
    y_true[:FEWEST_LESIONS] = 2
    lesions = np.arange(60)
    enough = fit_set_thresholds(y_true, y_prob, lesions, coverage=0.9)
    lesions[:2] = 1
    few = fit_set_thresholds(y_true, y_prob, lesions, coverage=0.9)
    own = fit_set_thresholds(
        np.full(FEWEST_LESIONS, 2), y_prob[:FEWEST_LESIONS], range(FEWEST_LESIONS), coverage=0.9
    )
    assert enough[2] == own[2] != few[2]
    # The second class has 13 lesions.
    assert few[1] == few[2] != few[0]
    assert fit_set_thresholds(y_true[:19], y_prob[:19], range(19), coverage=0.9) is None


def test_sets_hold_the_truth_as_often_as_stated_also_that_of_a_rare_class():
    held, sizes = [], []
    for seed in range(40):
        thresholds = fit_set_thresholds(*draw(400, seed), range(400), coverage=0.9)
        y_true, y_prob = draw(2000, seed + 1000)
        sets = find_sets(y_prob, thresholds)
        held.append([sets[y_true == i, i].mean() for i in range(3)])
        sizes.append(sets.sum(axis=1).mean())
    assert np.allclose(np.mean(held, axis=0), 0.9, atol=0.015)
    assert 1 < np.mean(sizes) < 3


def test_a_set_holds_the_predicted_class_and_all_that_reach_their_threshold():
    y_prob = np.array([[0.5, 0.3, 0.2], [0.34, 0.33, 0.33], [0.0, 0.0, 1.0]], np.float32)
    sets = find_sets(y_prob, np.array([0.6, 0.3, float(np.float32(0.2))]))
    expected = [[True, True, True], [True, True, True], [False, False, True]]
    assert sets.tolist() == expected
    assert find_sets(y_prob[:0], np.ones(3)).shape == (0, 3)


def test_training_fits_sets_by_class_name():
    y_true, y_prob = draw(100)
    names = ("a", "b", "c")
    found = fit_prediction_sets(y_true, y_prob, range(100), names, coverage=0.9)
    thresholds = fit_set_thresholds(y_true, y_prob, range(100), coverage=0.9)
    assert found == {"coverage": 0.9, "thresholds": dict(zip(names, thresholds, strict=True))}
    assert fit_prediction_sets(y_true[:5], y_prob[:5], range(5), names, coverage=0.9) is None


NAMES = ("mel", "nv", "bkl")
Y_TRUE = np.array([0, 0, 0, 1, 1])
SETS = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
OPTIONS = {"stated_coverage": 0.9, "groups": ["a", "a", "b", "c", "d"]}


def test_coverage_and_size_are_means_over_lesions():
    metrics = prediction_set_metrics(
        Y_TRUE, SETS, NAMES, **OPTIONS, sources=["x", "x", "y", "y", "y"]
    )
    assert (metrics["stated_coverage"], metrics["images"], metrics["small"]) == (0.9, 5, True)
    # Of the first lesion, one of two images is covered.
    assert metrics["coverage"] == pytest.approx(3.5 / 4)
    assert metrics["mean_size"] == pytest.approx((1.5 + 1 + 3 + 1) / 4)
    assert metrics["one_class_fraction"] == pytest.approx((0.5 + 1 + 0 + 1) / 4)
    assert list(metrics["per_class"]) == ["mel", "nv"]
    assert metrics["per_class"]["mel"]["coverage"] == pytest.approx(0.75)
    assert metrics["per_class"]["nv"]["mean_size"] == 2
    # The source of most images first.
    assert list(metrics["sources"]) == ["y", "x"]
    assert metrics["sources"]["x"]["coverage"] == 0.5
    low, high = metrics["intervals"]["coverage"]
    assert low < metrics["coverage"] < high
    wilson = binomtest(2, 2).proportion_ci(0.95, method="wilson")
    assert np.allclose(metrics["per_class"]["nv"]["intervals"]["coverage"], wilson)
    assert prediction_set_metrics(Y_TRUE, SETS, NAMES, **OPTIONS)["sources"] == {}


def test_a_coverage_of_all_is_exactly_one_whatever_the_lesions_weigh():
    # Seven images of one lesion: seven sevenths are a little less than one.
    groups = ["a"] * 7 + ["b"] * 3 + ["c"]
    sets = np.ones((11, 3), bool)
    metrics = prediction_set_metrics(
        np.zeros(11, int), sets, NAMES, stated_coverage=0.9, groups=groups
    )
    assert metrics["coverage"] == 1
    wilson = binomtest(3, 3).proportion_ci(0.95, method="wilson")
    assert np.allclose(metrics["intervals"]["coverage"], wilson)


def test_sets_are_printed_and_shown_by_class_and_source():
    metrics = prediction_set_metrics(
        Y_TRUE, SETS, NAMES, **OPTIONS, sources=["x<", "x<", "y", "y", "y"]
    )
    assert format_prediction_set_line(metrics) == (
        "prediction sets: 0.875 contain the true class (target 0.900), "
        "1.625 classes per set on average"
    )
    html = format_prediction_set_section(metrics, {"mel": "melanoma"})
    assert "<td>melanoma (mel)</td><td>3</td><td>0.750" in html
    assert ">Source</td>" in html
    assert "<td>x&lt;</td>" in html
    assert "Source" not in format_prediction_set_section(metrics | {"sources": {}}, {})
    assert "the model has no prediction sets" in format_prediction_set_section({}, {})
