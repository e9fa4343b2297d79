import numpy as np
import pytest
from sklearn.metrics import log_loss

from metrics.calibration import calibration_metrics, reliability
from models.calibration import fit_confidence_threshold, fit_temperature


def case(count: int = 4000, *, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from a softmax, and that softmax with its logits times a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (count, 3))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y_true = (truth.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    shown = np.exp(temperature * logits)
    return y_true, shown / shown.sum(axis=1, keepdims=True)


def test_a_sure_and_right_predictor_has_no_error():
    figures = calibration_metrics(np.array([0, 1, 2]), np.eye(3))
    assert set(figures.values()) == {0.0}


def test_figures_of_a_hand_made_case():
    y_prob = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6]])
    figures = calibration_metrics(np.array([0, 1, 1]), y_prob)
    # One bin holds two images of confidence 0.9 and accuracy 0.5, another one of 0.6 and 1.
    error = (2 * abs(0.5 - 0.9) + 1 * abs(1 - 0.6)) / 3
    assert figures["expected_calibration_error"] == pytest.approx(error)
    assert figures["brier_score"] == pytest.approx((2 * 0.01 + 2 * 0.81 + 2 * 0.16) / 3)
    assert figures["negative_log_likelihood"] == pytest.approx(-np.log(0.9 * 0.1 * 0.6) / 3)


def test_agrees_with_scikit_learn():
    y_true, y_prob = case(500)
    figures = calibration_metrics(y_true, y_prob)
    assert figures["negative_log_likelihood"] == pytest.approx(log_loss(y_true, y_prob))


def test_bins_hold_every_image_once_and_an_edge_belongs_below():
    y_prob = np.array([[0.6, 0.4], [0.8, 0.2], [1.0, 0.0], [0.5, 0.5]])
    bins = reliability(np.array([0, 0, 0, 1]), y_prob, bins=5)
    assert bins.images.tolist() == [0, 0, 2, 1, 1]
    assert bins.confidence[2] == pytest.approx(0.55)
    assert bins.accuracy[2] == 0.5
    assert np.isnan(bins.accuracy[0])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_spoiled_probabilities_is_found(temperature):
    y_true, y_prob = case(temperature=temperature)
    assert fit_temperature(y_true, y_prob) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_is_where_the_likelihood_is_highest():
    y_true, y_prob = case(200, temperature=2.0)
    best = fit_temperature(y_true, y_prob)

    def loss(temperature: float) -> float:
        scaled = y_prob ** (1 / temperature)
        return log_loss(y_true, scaled / scaled.sum(axis=1, keepdims=True))

    assert loss(best) < min(loss(best * 0.98), loss(best * 1.02))


def test_a_temperature_without_end_is_cut_off():
    y_prob = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(np.array([0, 1]), y_prob) == pytest.approx(0.05)
    assert fit_temperature(np.array([1, 0]), y_prob) == pytest.approx(20)


def test_confidence_threshold_is_the_lowest_above_which_the_share_is_right():
    confidence = np.array([0.95, 0.9, 0.8, 0.7, 0.6])
    y_prob = np.stack([confidence, 1 - confidence], axis=1)
    y_true = np.array([0, 0, 1, 0, 1])
    # Right so far: 1/1, 2/2, 2/3, 3/4, 3/5.
    assert fit_confidence_threshold(y_true, y_prob, accuracy=1.0) == 0.9
    assert fit_confidence_threshold(y_true, y_prob, accuracy=0.75) == 0.7
    assert fit_confidence_threshold(y_true, y_prob, accuracy=0.6) == 0.6
    assert fit_confidence_threshold(1 - y_true[:1], y_prob[:1], accuracy=0.5) == 1.0


def test_equal_confidences_are_on_the_same_side_of_the_threshold():
    y_prob = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2]])
    assert fit_confidence_threshold(np.array([0, 0, 1]), y_prob, accuracy=0.9) == 0.9
