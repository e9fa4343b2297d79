"""Adam with few operations: it reads and writes each weight once instead of ten times."""

from __future__ import annotations

import keras
import tensorflow as tf


class FusedAdam(keras.optimizers.Adam):
    """Adam with decoupled weight decay; Keras composes its update of twenty operations.

    On several devices, Keras's operations update the weights.

    Args:
        learning_rate: a schedule or a number.
        decay: each step takes this fraction of the weights off, times the learning rate.
        options: of `keras.optimizers.Adam`.
    """

    def __init__(self, learning_rate, *, decay: float = 0.0, **options) -> None:
        super().__init__(learning_rate, **options)
        self.decay = decay

    def update_step(self, gradient, variable, learning_rate) -> None:
        """Update a variable; see `keras.optimizers.Optimizer`."""
        if self.decay:
            variable.assign_sub(variable * (learning_rate * self.decay))
        if tf.distribute.get_strategy().num_replicas_in_sync > 1:
            super().update_step(gradient, variable, learning_rate)
            return
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )
