"""EfficientNet-Lite0, which no dependency has.

Inverted residual blocks as in EfficientNet (Tan and Le 2019, arXiv:1905.11946), changed by its
authors for phones: no squeeze-and-excitation, ReLU6 in place of swish, and the same stem and head
in all variants. Published under the Apache License 2.0:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

_STEM_FILTERS, _HEAD_FILTERS = 32, 1280


@dataclass(frozen=True)
class _Stage:
    """Blocks of one width.

    Attributes:
        blocks: number of blocks.
        kernel: side length of the depthwise filters.
        stride: of the first block; the others have 1.
        expansion: factor of channels inside a block.
        filters: channels of the output.
    """

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(blocks=1, kernel=3, stride=1, expansion=1, filters=16),
    _Stage(blocks=2, kernel=3, stride=2, expansion=6, filters=24),
    _Stage(blocks=2, kernel=5, stride=2, expansion=6, filters=40),
    _Stage(blocks=3, kernel=3, stride=2, expansion=6, filters=80),
    _Stage(blocks=3, kernel=5, stride=1, expansion=6, filters=112),
    _Stage(blocks=4, kernel=5, stride=2, expansion=6, filters=192),
    _Stage(blocks=1, kernel=3, stride=1, expansion=6, filters=320),
)


def build_efficientnet_lite0(input_shape: tuple[int, int, int]) -> keras.Model:
    """Build the network without its classification head, with random weights.

    Args:
        input_shape: height, width and channels of an image.

    Returns:
        A model from scaled pixels to features at 1/32 of the size. Its layers have the names of
        EfficientNet in keras.applications.
    """
    inputs = keras.Input(input_shape)
    x = _convolve(inputs, _STEM_FILTERS, "stem_", kernel=3, stride=2)
    for i, stage in enumerate(_STAGES, start=1):
        for j in range(stage.blocks):
            stride = stage.stride if j == 0 else 1
            x = _add_block(x, stage, stride, f"block{i}{chr(ord('a') + j)}_")
    x = _convolve(x, _HEAD_FILTERS, "top_")
    return keras.Model(inputs, x, name="efficientnet_lite0")


def _add_block(x: keras.KerasTensor, stage: _Stage, stride: int, name: str) -> keras.KerasTensor:
    """Expand the channels, filter each of them, project to fewer; add the input if it fits."""
    start, channels = x, x.shape[-1]
    if stage.expansion > 1:
        x = _convolve(x, channels * stage.expansion, f"{name}expand_")
    filters = layers.DepthwiseConv2D(
        stage.kernel,
        stride,
        "same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}dwconv",
    )
    x = layers.ReLU(6.0, name=f"{name}activation")(_normalize(filters(x), f"{name}bn"))
    x = _convolve(x, stage.filters, f"{name}project_", is_linear=True)
    if stride == 1 and channels == stage.filters:
        x = layers.Add(name=f"{name}add")([x, start])
    return x


def _convolve(
    x: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    kernel: int = 1,
    stride: int = 1,
    is_linear: bool = False,
) -> keras.KerasTensor:
    convolution = layers.Conv2D(
        filters,
        kernel,
        stride,
        "same",
        use_bias=False,
        kernel_initializer=_initializer(),
        name=f"{name}conv",
    )
    x = _normalize(convolution(x), f"{name}bn")
    return x if is_linear else layers.ReLU(6.0, name=f"{name}activation")(x)


def _normalize(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _initializer() -> keras.Initializer:
    """Return the initializer of EfficientNet, a new one for each layer: each has its own seed."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")
