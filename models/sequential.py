"""The convolutional baseline, trained from scratch."""

from __future__ import annotations

import keras
from keras import layers

from models.bundle import HEAD, ClassProbabilities

# Filters and number of convolutions of each block. A block halves the size, so 96 pixels end as
# 3 x 3; two convolutions only where the feature maps are small and convolutions cheap.
_BLOCKS = ((32, 1), (64, 1), (96, 1), (160, 2), (256, 2))


def build_sequential(
    *, image_size: int, class_names: tuple[str, ...], dropout: float
) -> keras.Sequential:
    """Build a small convolutional network as a `keras.Sequential`.

    Args:
        image_size: side length of the input, pixels; at least 32.
        class_names: of the outputs, in order.
        dropout: fraction of features dropped before the last layer, in [0, 1).

    Returns:
        A model from pixels 0..255, `[batch, image_size, image_size, 3]`, to probabilities.
    """
    description = {"model": "sequential", "class_names": class_names, "image_size": image_size}
    scaling = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32")
    stack = [keras.Input((image_size, image_size, 3)), scaling]
    for filters, convolutions in _BLOCKS:
        for i in range(convolutions):
            stack.append(layers.Conv2D(filters, 3, padding="same", use_bias=False))
            if i == convolutions - 1:
                # Before the normalization, which then processes a quarter of the pixels.
                stack.append(layers.MaxPooling2D())
            # The default momentum of 0.99 is too slow for a run of a few hundred steps.
            stack += [layers.BatchNormalization(momentum=0.9), layers.ReLU()]
    stack += [
        # The head computes in float32, whatever the precision of the layers before.
        layers.GlobalAveragePooling2D(dtype="float32"),
        layers.Dropout(dropout, dtype="float32"),
        layers.Dense(len(class_names), name=HEAD, dtype="float32"),
        ClassProbabilities(description, name="probabilities", dtype="float32"),
    ]
    return keras.Sequential(stack, name="sequential")
