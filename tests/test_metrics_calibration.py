import numpy as np
import pytest
from sklearn.metrics import log_loss

from metrics.calibration import calibration_metrics, class_prevalence, reliability


def test_a_certain_and_correct_classifier_has_no_error():
    metrics = calibration_metrics(np.array([0, 1, 2]), np.eye(3))
    assert set(metrics.values()) == {0.0}


def test_metrics_of_a_hand_made_case():
    y_prob = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    metrics = calibration_metrics(np.array([0, 1, 1]), y_prob)
    # One bin holds two images with confidence 0.9 and accuracy 0.5, another one with 0.6 and 1.
    error = (2 * abs(0.5 - 0.9) + 1 * abs(1 - 0.6)) / 3
    assert metrics["expected_calibration_error"] == pytest.approx(error)
    assert metrics["brier_score"] == pytest.approx((2 * 0.01 + 2 * 0.81 + 2 * 0.16) / 3)
    assert metrics["negative_log_likelihood"] == pytest.approx(-np.log(0.9 * 0.1 * 0.6) / 3)


def test_the_negative_log_likelihood_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.integers(0, 3, 500), rng.dirichlet(np.ones(3), 500)
    metrics = calibration_metrics(y_true, y_prob)
    assert metrics["negative_log_likelihood"] == pytest.approx(log_loss(y_true, y_prob))


def test_bins_hold_every_image_once_and_an_edge_belongs_to_the_lower_bin():
    y_prob = np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0], [0.5, 0.5]])
    bins = reliability(np.array([0, 0, 0, 1]), y_prob, bins=5)
    assert bins.counts.tolist() == [0, 0, 2, 1, 1]
    assert bins.confidence[2] == pytest.approx(0.55)
    assert bins.accuracy[2] == 0.5
    assert np.isnan(bins.accuracy[0])


def test_prevalence_of_a_hand_made_case():
    y_prob = np.array([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4], [0.2, 0.8]])
    prevalence = class_prevalence(np.array([0, 1, 1, 1]), y_prob, ("a", "b"))
    assert prevalence["a"] == pytest.approx(
        {"true": 0.25, "mean_probability": 0.6, "predicted": 0.75}
    )
    for key in ("true", "mean_probability", "predicted"):
        assert sum(row[key] for row in prevalence.values()) == pytest.approx(1)
