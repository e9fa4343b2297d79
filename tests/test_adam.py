"""The optimizer follows Keras's own, with fewer operations."""

import keras
import numpy as np
import pytest

from training.adam import FusedAdam
from training.schedules import LearningRateSchedule

SCHEDULE = {"schedule": "cosine", "peak": 0.05, "total_steps": 30, "warmup_steps": 3}


def update(optimizer) -> list[np.ndarray]:
    """Apply random gradients 20 times; returns the weights and the optimizer's variables."""
    rng = np.random.default_rng(0)
    shapes = ((8, 16), (16,))
    weights = [keras.Variable(rng.normal(size=shape), dtype="float32") for shape in shapes]
    for _ in range(20):
        optimizer.apply([keras.ops.array(rng.normal(size=s), "float32") for s in shapes], weights)
    return [np.asarray(variable) for variable in (*weights, *optimizer.variables)]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_weights_and_averages_are_those_of_adam(decay):
    average = {"use_ema": True, "ema_momentum": 0.9}
    rate = LearningRateSchedule(**SCHEDULE)
    expected = update(keras.optimizers.Adam(rate, weight_decay=decay or None, **average))
    found = update(FusedAdam(rate, decay=decay, **average))
    assert len(found) == len(expected)
    for first, second in zip(found, expected, strict=True):
        assert np.allclose(first, second, rtol=1e-5, atol=1e-5)


def test_decay_takes_off_weights_without_a_gradient_in_proportion_to_the_learning_rate():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(optimizer=FusedAdam(0.5, decay=0.1), loss="mse")
    before = model.get_weights()[0]
    zeros = np.zeros((4, 2), np.float32)
    for _ in range(2):
        model.train_on_batch(zeros, zeros[:, :1])
    assert np.allclose(model.get_weights()[0], before * 0.95**2, rtol=1e-5)
