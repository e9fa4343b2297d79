import math

import numpy as np
import pytest
from scipy.stats import binomtest

from metrics.intervals import (
    FEW_LESIONS,
    confidence_intervals,
    fraction_interval,
    resample_weights,
    wilson_interval,
)


def mean_of(values: np.ndarray):
    return lambda weights: {"mean": (weights @ values) / weights.sum(axis=1)}


def test_whole_groups_are_drawn_as_many_as_there_are():
    groups = ["a", "b", "a", "c", "b", "b"]
    weights = resample_weights(groups, resamples=50)
    assert weights.shape == (50, 6)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_the_draws_are_those_of_one_call():
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 7, (4, 7))
    expected = [np.bincount(row, minlength=7) for row in drawn]
    assert np.array_equal(resample_weights(np.arange(7), resamples=4, seed=3), expected)


def test_the_same_seed_gives_the_same_resamples():
    groups = np.arange(20)
    first = resample_weights(groups, resamples=5, seed=1)
    assert (first == resample_weights(groups, resamples=5, seed=1)).all()
    assert (first != resample_weights(groups, resamples=5, seed=2)).any()


def test_the_interval_of_a_mean_agrees_with_the_normal_approximation():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = confidence_intervals(mean_of(values), np.arange(400), resamples=4000)["mean"]
    error = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_more_images_of_the_same_lesions_do_not_narrow_the_interval():
    values = np.random.default_rng(0).normal(0, 1, 100)
    once = confidence_intervals(mean_of(values), np.arange(100))
    repeated = confidence_intervals(mean_of(np.repeat(values, 9)), np.repeat(np.arange(100), 9))
    assert repeated["mean"] == pytest.approx(once["mean"])
    by_image = confidence_intervals(mean_of(np.repeat(values, 9)), np.arange(900))
    width = np.diff(once["mean"])[0]
    assert np.diff(by_image["mean"])[0] == pytest.approx(width / 3, rel=0.15)


def test_the_interval_does_not_depend_on_the_size_of_the_chunks(monkeypatch):
    values = np.random.default_rng(0).normal(0, 1, 50)
    whole = confidence_intervals(mean_of(values), np.arange(50))
    monkeypatch.setattr("metrics.intervals._CHUNK_ELEMENTS", 333)
    chunked = confidence_intervals(mean_of(values), np.arange(50))
    assert chunked["mean"] == pytest.approx(whole["mean"])


def test_a_metric_that_is_rarely_defined_has_no_interval():
    def compute_metrics(weights):
        values = weights[:, 0].astype(float)
        return {"rare": np.where(values > 1, values, np.nan), "always": values}

    intervals = confidence_intervals(compute_metrics, np.arange(10))
    assert intervals["rare"] is None
    assert intervals["always"] is not None


def test_the_interval_of_wilson_agrees_with_scipy():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263.
    assert np.allclose(wilson_interval(81, 263), (0.2553, 0.3662), atol=5e-5)
    for successes, total in ((0, 1), (0, 20), (7, 9), (20, 20), (1, 1000)):
        expected = binomtest(successes, total).proportion_ci(0.9, method="wilson")
        assert np.allclose(wilson_interval(successes, total, level=0.9), expected)


def test_a_fraction_from_few_lesions_has_an_interval_at_least_as_wide_as_wilsons():
    lesions = [*"aaabcdefg"]
    low, high = wilson_interval(0.5 * 7, 7)
    assert fraction_interval(0.5, lesions, (0.4, 0.6)) == (low, high)
    assert fraction_interval(0.5, lesions, (0.1, 0.6)) == (0.1, high)
    many = range(FEW_LESIONS)
    assert fraction_interval(0.5, many, (0.4, 0.6)) == (0.4, 0.6)
    assert fraction_interval(1.0, many, (1.0, 1.0)) == (wilson_interval(10, 10)[0], 1.0)
    assert fraction_interval(math.nan, lesions, None) is None
    # A mean of fractions has none of Wilson's.
    assert fraction_interval(0.5, (), (0.4, 0.6)) == (0.4, 0.6)
    assert fraction_interval(1.0, (), (1.0, 1.0)) is None
