"""The Conv2D baseline, trained from scratch."""

import keras
from keras import layers

from models.bundle import ClassProbabilities

# Filters of the blocks; each block halves the side, so 96 pixels end as 3 x 3.
_FILTERS = (32, 64, 96, 128, 192)


def build_sequential(
    *, image_size: int, class_names: tuple[str, ...], dropout: float = 0.3
) -> keras.Sequential:
    """Build a small convolutional network as a `keras.Sequential`.

    Args:
        image_size: side of the input, pixels; at least 32.
        class_names: of the outputs, in order.
        dropout: share of features dropped before the last layer, in [0, 1).

    Returns:
        A model from pixels 0..255, `[batch, image_size, image_size, 3]`, to probabilities.
    """
    description = {"model": "sequential", "class_names": class_names, "image_size": image_size}
    stack = [keras.Input((image_size, image_size, 3)), layers.Rescaling(1 / 127.5, offset=-1)]
    for block, filters in enumerate(_FILTERS):
        # One convolution where the picture is large, two where they are cheap.
        for _ in range(1 if block == 0 else 2):
            stack += [
                layers.Conv2D(filters, 3, padding="same", use_bias=False),
                # The default momentum of 0.99 lags behind a run of a few hundred steps.
                layers.BatchNormalization(momentum=0.9),
                layers.ReLU(),
            ]
        stack.append(layers.MaxPooling2D())
    stack += [
        layers.GlobalAveragePooling2D(),
        layers.Dropout(dropout),
        layers.Dense(len(class_names), name="logits"),
        ClassProbabilities(description, name="probabilities"),
    ]
    return keras.Sequential(stack, name="sequential")
