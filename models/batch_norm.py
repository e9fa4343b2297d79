"""BatchNormalization of a training step as one operation.

Keras composes it of several, and the gradient for its input is a sum of three. TensorFlow adds
these in the order in which they are done, so that the last digits of a training would change from
run to run unless its operations ran one after the other. One operation always gives the same
digits, and reads the images of a batch less often.
"""

from __future__ import annotations

import types
from collections.abc import Iterator

import keras
import tensorflow as tf


def fuse_batch_norm(model: keras.Model) -> None:
    """Let the BatchNormalization layers of a model train as one operation.

    Their class, configuration and weights stay what they are, and so does inference.

    Args:
        model: changed; copies of it are not.
    """
    for layer in _find_layers(model):
        # Half precision has a fused operation as well, but not with Keras's variance.
        if layer.compute_dtype == "float32" and layer.axis in (3, -1):
            layer.call = types.MethodType(_normalize, layer)


def _find_layers(model: keras.Model) -> Iterator[keras.layers.BatchNormalization]:
    for layer in model.layers:
        if type(layer) is keras.layers.BatchNormalization:
            yield layer
        elif isinstance(layer, keras.Model):
            yield from _find_layers(layer)


def _normalize(
    layer: keras.layers.BatchNormalization,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    """Take the place of `layer.call`."""
    is_image = len(inputs.shape) == 4 and layer.scale and layer.center and mask is None
    if not (training and layer.trainable and is_image):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    nothing = tf.zeros([0], inputs.dtype)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma.value,
        offset=layer.beta.value,
        mean=nothing,
        variance=nothing,
        epsilon=layer.epsilon,
        exponential_avg_factor=1.0,
        is_training=True,
    )
    # Keras divides by the number of pixels, this operation by one less.
    count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), variance.dtype)
    variance *= (count - 1) / count
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        moving.assign(layer.momentum * moving + (1 - layer.momentum) * batch)
    return outputs
