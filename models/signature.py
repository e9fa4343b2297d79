"""The input and the outputs of the formats that Keras exports by itself."""

from __future__ import annotations

import keras
from keras import ops

from models.bundle import add_features
from models.exported import OUTPUTS, PIXELS


def of_pixels(model: keras.Model) -> keras.Model:
    """Return a model of uint8 pixels with named outputs; both share their layers.

    Args:
        model: as `build_model` builds it.
    """
    both = add_features(model)
    pixels = keras.Input(both.input_shape[1:], dtype="uint8", name=PIXELS)
    outputs = dict(zip(OUTPUTS, both(ops.cast(pixels, "float32")), strict=True))
    return keras.Model(pixels, outputs, name=model.name)


def signature(model: keras.Model) -> keras.InputSpec:
    """Return what the input of `of_pixels` takes."""
    return keras.InputSpec(shape=model.input_shape, dtype="uint8", name=PIXELS)
