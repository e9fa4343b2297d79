"""Calibration of a model: the temperature and the confidence threshold."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from models.calibration import (
    apply_temperature,
    at_temperature_one,
    fit_confidence_threshold,
    fit_temperature,
)


def case(count: int = 4000, *, temperature: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from a softmax, and that softmax with its logits times a temperature."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (count, 3))
    true_prob = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y_true = (true_prob.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    y_prob = np.exp(temperature * logits)
    return y_true, y_prob / y_prob.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_distorted_probabilities_is_found(temperature):
    y_true, y_prob = case(temperature=temperature)
    assert fit_temperature(y_true, y_prob) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_maximizes_the_likelihood():
    y_true, y_prob = case(200, temperature=2.0)
    best = fit_temperature(y_true, y_prob)

    def loss(temperature: float) -> float:
        return log_loss(y_true, apply_temperature(y_prob, temperature))

    assert loss(best) < min(loss(best * 0.98), loss(best * 1.02))


def test_an_unbounded_temperature_is_clipped():
    y_prob = np.array([[0.9, 0.1], [0.2, 0.8]])
    assert fit_temperature(np.array([0, 1]), y_prob) == pytest.approx(0.05)
    assert fit_temperature(np.array([1, 0]), y_prob) == pytest.approx(20)


def test_applying_a_temperature_divides_the_logits_and_can_be_undone():
    _, y_prob = case(50)
    softened = apply_temperature(y_prob, 2.5)
    expected = y_prob ** (1 / 2.5)
    assert np.allclose(softened, expected / expected.sum(axis=1, keepdims=True))
    assert np.allclose(at_temperature_one(softened, 2.5), y_prob)
    assert np.allclose(apply_temperature(y_prob, 1.0), y_prob)
    # Any leading axes, as of the views of test-time augmentation.
    assert (apply_temperature(y_prob[None], 2.5)[0] == softened).all()


def test_the_threshold_is_the_lowest_that_reaches_the_accuracy():
    confidence = np.array([0.95, 0.9, 0.8, 0.7, 0.6])
    y_prob = np.stack([confidence, 1 - confidence], axis=1)
    y_true = np.array([0, 0, 1, 0, 1])
    # Correct so far: 1/1, 2/2, 2/3, 3/4, 3/5.
    assert fit_confidence_threshold(y_true, y_prob, accuracy=1.0) == 0.9
    assert fit_confidence_threshold(y_true, y_prob, accuracy=0.75) == 0.7
    assert fit_confidence_threshold(y_true, y_prob, accuracy=0.6) == 0.6
    assert fit_confidence_threshold(1 - y_true[:1], y_prob[:1], accuracy=0.5) == 1.0


def test_equal_confidences_are_on_the_same_side_of_the_threshold():
    y_prob = np.array([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2]])
    assert fit_confidence_threshold(np.array([0, 0, 1]), y_prob, accuracy=0.9) == 0.9


def test_weights_count_as_repeated_images():
    y_true, y_prob = case(200, temperature=2.0)
    counts = np.random.default_rng(2).integers(1, 4, 200)
    rows, weights = np.repeat(np.arange(200), counts), counts.astype(float)
    expected = fit_temperature(y_true[rows], y_prob[rows])
    assert fit_temperature(y_true, y_prob, weights) == pytest.approx(expected)
    assert expected != pytest.approx(fit_temperature(y_true, y_prob), rel=1e-3)
    expected = fit_confidence_threshold(y_true[rows], y_prob[rows], accuracy=0.8)
    found = fit_confidence_threshold(y_true, y_prob, accuracy=0.8, weights=weights)
    assert found == expected != fit_confidence_threshold(y_true, y_prob, accuracy=0.8)
