"""Layers of fewer operations: the same results, sooner.

In a training, Keras composes BatchNormalization of several operations, and the gradient for its
input is a sum of three. TensorFlow adds these in the order in which they are done, so that the last
digits would change from run to run unless operations ran one after the other. One operation always
gives the same digits, and reads the images of a batch less often.

Some networks of `keras.applications` pad the input of a convolution in a layer of its own. Where
the convolution would pad in the same way, it does so itself, without a copy of the images.
"""

from __future__ import annotations

import types
from collections.abc import Iterator

import keras
import tensorflow as tf


def fuse_layers(model: keras.Model) -> None:
    """Let the layers of a model do with fewer operations.

    Their classes, configurations, weights and results stay what they are.

    Args:
        model: changed; copies of it are not.
    """
    for part in _find_models(model):
        for layer in part.layers:
            # Half precision has a fused operation as well, but not with Keras's variance.
            is_norm = type(layer) is keras.layers.BatchNormalization and layer.axis in (3, -1)
            if is_norm and layer.compute_dtype == "float32":
                layer.call = types.MethodType(_normalize, layer)
        paddings = [layer for layer in part.layers if type(layer) is keras.layers.ZeroPadding2D]
        if paddings and not _shares_layers(part):
            for padding in paddings:
                _fuse_padding(padding, part)


def _find_models(model: keras.Model) -> Iterator[keras.Model]:
    """Yield a model and the models among its layers."""
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _find_models(layer)


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


def _shares_layers(model: keras.Model) -> bool:
    """Tell whether a model uses a layer more than once."""
    return any(len(layer.get("inbound_nodes", ())) > 1 for layer in model.get_config()["layers"])


def _fuse_padding(padding: keras.layers.ZeroPadding2D, model: keras.Model) -> None:
    """Let the convolution after a padding pad, if nothing else uses the padded images."""
    users = [layer for layer in model.layers if _takes(layer.input, padding.output)]
    if len(users) == 1 and not _takes(model.outputs, padding.output):
        (layer,) = users
        if _pads_alike(padding, layer):
            padding.call = types.MethodType(lambda _, inputs: inputs, padding)
            layer.call = types.MethodType(_pad_and_convolve, layer)


def _takes(tensors: object, tensor: keras.KerasTensor) -> bool:
    return any(found is tensor for found in keras.tree.flatten(tensors))


def _pads_alike(padding: keras.layers.ZeroPadding2D, layer: keras.layers.Layer) -> bool:
    """Tell whether `padding="same"` of a convolution adds the rows and columns of a padding."""
    is_convolution = type(layer) in (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    if not is_convolution or layer.padding != "valid" or layer.dilation_rate != (1, 1):
        return False
    if (padding.data_format, layer.data_format) != ("channels_last", "channels_last"):
        return False
    sizes = padding.input.shape[1:3]
    for size, added, kernel, stride in zip(
        sizes, padding.padding, layer.kernel_size, layer.strides, strict=True
    ):
        if size is None:
            return False
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        if tuple(added) != (total // 2, total - total // 2):
            return False
    return True


def _pad_and_convolve(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """Take the place of `layer.call`, for images without their padding."""
    layer.padding = "same"
    try:
        return type(layer).call(layer, inputs)
    finally:
        layer.padding = "valid"
