"""What a training minimizes, and the metric that it reports besides accuracy."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


class LogitAdjustedCrossentropy(keras.losses.Loss):
    """Categorical cross-entropy of logits to which an offset per class is added.

    With log class frequencies as offsets, the logits of rare classes have to be higher to fit the
    training data; inference leaves the offsets out, so rare classes are predicted more often (Menon
    et al., *Long-tail learning via logit adjustment*, 2021, arXiv:2007.07314, equation 9). With
    offsets of zero it is the ordinary cross-entropy.

    Args:
        offsets: float `[classes]`.
        label_smoothing: in [0, 1).
    """

    def __init__(self, offsets: np.ndarray, label_smoothing: float = 0.0) -> None:
        super().__init__(name="crossentropy")
        self.offsets = np.asarray(offsets, np.float32)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_prob):
        """Return the loss of each image, `[batch]`; both arguments are `[batch, classes]`."""
        # The logarithm of a softmax is the logits up to a constant, which cancels.
        logits = ops.log(ops.maximum(y_prob, 1e-9)) + self.offsets
        return keras.losses.categorical_crossentropy(
            y_true, logits, from_logits=True, label_smoothing=self.label_smoothing
        )


class BalancedAccuracy(keras.metrics.Metric):
    """Mean recall of the classes that occur, as `sklearn.metrics.balanced_accuracy_score`.

    Args:
        class_count: number of classes.
        name: of the metric.
    """

    def __init__(self, class_count: int, name: str = "balanced_accuracy") -> None:
        super().__init__(name=name)
        self.correct = self.add_variable((class_count,), initializer="zeros", name="correct")
        self.total = self.add_variable((class_count,), initializer="zeros", name="total")

    def update_state(self, y_true, y_prob, sample_weight=None) -> None:
        """Count a batch: `y_true` one-hot, `y_prob` probabilities, both `[batch, classes]`."""
        y_true = ops.cast(y_true, "float32")
        hit = ops.equal(ops.argmax(y_true, axis=-1), ops.argmax(y_prob, axis=-1))
        hit = ops.cast(hit, "float32")[:, None]
        self.correct.assign_add(ops.sum(y_true * hit, axis=0))
        self.total.assign_add(ops.sum(y_true, axis=0))

    def result(self):
        """Return the balanced accuracy of all batches since the last reset."""
        recall = self.correct / ops.maximum(self.total, 1.0)
        present = ops.cast(self.total > 0, "float32")
        return ops.sum(recall) / ops.maximum(ops.sum(present), 1.0)
