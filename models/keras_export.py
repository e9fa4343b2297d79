"""Exporting a model with Keras, in the formats that it writes by itself."""

from __future__ import annotations

import os
import warnings

import keras
from keras import ops

from models.backend import quiet
from models.bundle import add_features
from models.exported import OUTPUTS, PIXELS


def take_pixels(model: keras.Model) -> keras.Model:
    """Return a model of uint8 pixels with named outputs; both share their layers.

    Args:
        model: as `build_model` builds it.

    Raises:
        ModelError: the model has no layer `logits`.
    """
    both = add_features(model)
    pixels = keras.Input(both.input_shape[1:], dtype="uint8", name=PIXELS)
    outputs = dict(zip(OUTPUTS, both(ops.cast(pixels, "float32")), strict=True))
    return keras.Model(pixels, outputs, name=model.name)


def export(model: keras.Model, path: str | os.PathLike, format: str) -> None:
    """Export a model in silence.

    Args:
        model: from `take_pixels`.
        path: of the file or folder.
        format: `onnx` or `tf_saved_model`.
    """
    signature = keras.InputSpec(shape=model.input_shape, dtype="uint8", name=PIXELS)
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.export(path, format=format, verbose=False, input_signature=[signature])
