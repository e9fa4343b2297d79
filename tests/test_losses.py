import keras
import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from training.losses import BalancedAccuracy, LogitAdjustedCrossentropy


def test_without_offsets_it_is_the_ordinary_cross_entropy():
    y_true = np.eye(3, dtype=np.float32)[[0, 2]]
    y_prob = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]], np.float32)
    loss = LogitAdjustedCrossentropy(np.zeros(3))
    assert float(loss(y_true, y_prob)) == pytest.approx(np.mean(-np.log([0.5, 0.1])), rel=1e-5)
    expected = keras.losses.CategoricalCrossentropy(label_smoothing=0.1)(y_true, y_prob)
    loss = LogitAdjustedCrossentropy(np.zeros(3), label_smoothing=0.1)
    assert float(loss(y_true, y_prob)) == pytest.approx(float(expected), rel=1e-5)


def test_offsets_change_the_odds_before_the_cross_entropy():
    # With offsets log 3 and log 1, probabilities of 1/2 and 1/2 count as 3/4 and 1/4.
    loss = LogitAdjustedCrossentropy(np.log([3.0, 1.0]))
    y_prob = np.array([[0.5, 0.5]], np.float32)
    for label, adjusted in ((0, 0.75), (1, 0.25)):
        y_true = np.eye(2, dtype=np.float32)[[label]]
        assert float(loss(y_true, y_prob)) == pytest.approx(-np.log(adjusted), rel=1e-5)


def test_log_class_frequencies_as_offsets_raise_the_rare_class():
    """A model that sees class frequencies only predicts them, or with offsets equal odds."""
    frequencies = np.array([0.8, 0.2])
    predicted = {}
    for strength in (0.0, 1.0):
        inputs = keras.Input((1,))
        logits = keras.layers.Dense(2)(inputs)
        model = keras.Model(inputs, keras.layers.Softmax()(logits))
        loss = LogitAdjustedCrossentropy(strength * np.log(frequencies))
        model.compile(keras.optimizers.Adam(0.05), loss=loss)
        images, targets = np.ones((100, 1)), np.eye(2)[np.repeat([0, 1], [80, 20])]
        for _ in range(200):
            model.train_on_batch(images, targets)
        predicted[strength] = model.predict_on_batch(np.ones((1, 1)))[0]
    assert predicted[0.0] == pytest.approx([0.8, 0.2], abs=0.01)
    assert predicted[1.0] == pytest.approx([0.5, 0.5], abs=0.01)


def test_balanced_accuracy_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, y_prob = rng.choice([0, 1, 3], 50, p=[0.8, 0.1, 0.1]), rng.random((50, 4))
    metric = BalancedAccuracy(4)
    for part in (slice(0, 20), slice(20, 50)):
        metric.update_state(np.eye(4)[y_true[part]], y_prob[part])
    y_pred = y_prob.argmax(axis=1)
    recalls = [(y_pred[y_true == c] == c).mean() for c in (0, 1, 3)]
    assert float(metric.result()) == pytest.approx(np.mean(recalls))
    present = np.isin(y_pred, (0, 1, 3))
    metric.reset_state()
    metric.update_state(np.eye(4)[y_true[present]], y_prob[present])
    assert float(metric.result()) == pytest.approx(
        balanced_accuracy_score(y_true[present], y_pred[present])
    )
