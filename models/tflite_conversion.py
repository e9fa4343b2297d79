"""Converting a model to a `.tflite` file, for phones; `models.tflite` runs it."""

from __future__ import annotations

import csv
import io
import os
import warnings
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from models import QUANTIZATIONS, ModelError
from models.backend import quiet
from models.bundle import add_features, get_description
from models.tflite import pack
from models.tflite_graph import check_graph
from support.files import first_line, replacing

# Fraction of the layers, from the first, that int8 leaves in floating point: they have few weights,
# and their errors grow through all other layers. With them, 99 % of the bundled model's predictions
# on its validation images stay the same, without them 86 %.
_FLOAT_FRACTION = 1 / 4


def convert_to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    quantize: str = "float32",
    images: np.ndarray | None = None,
) -> None:
    """Write a model as a `.tflite` file, whole or not at all.

    The file takes uint8 pixels, `[images, image_size, image_size, 3]`, 0..255. Its first output is
    probabilities, float32 `[images, classes]`, at the model's temperature, the second one the
    features, float32 `[images, features]`, that the detector in its description needs.

    Args:
        model: from `models.bundle.load_model`.
        path: ends in `.tflite`; replaced if it exists.
        quantize: `float32`; `float16`, with weights of half the size; or `int8`, which computes in
            integers except for the first quarter of the layers, the last one and the softmax.
        images: uint8 `[images, image_size, image_size, 3]`, representative of later use; needed
            for `int8`, which measures the range of every layer on them.

    Raises:
        ModelError: the model cannot be converted, or contains operations that `TFLiteModel` does
            not allow, as the backbone `vit` does.
        ValueError: `quantize` is unknown, or `int8` has no images.
    """
    if quantize not in QUANTIZATIONS:
        names = ", ".join(QUANTIZATIONS)
        raise ValueError(f"quantize should be one of {names}, received {quantize!r}")
    if quantize == "int8" and (images is None or len(images) == 0):
        raise ValueError("images should hold at least one image for int8, received none")
    description, with_features = get_description(model), add_features(model)
    try:
        flatbuffer = to_flatbuffer(with_features, description.image_size, quantize, images)
    except Exception as error:  # the converter raises whatever its passes raise
        raise ModelError(
            f"TensorFlow {tf.__version__} cannot convert the model to {quantize}: "
            f"{first_line(error)}; use a model that train.py wrote"
        ) from error
    try:
        check_graph(flatbuffer)
    except ModelError as error:
        raise ModelError(f"{description.model} cannot be converted: {error}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(pack(description, flatbuffer))


def to_flatbuffer(
    model: Callable[..., tf.Tensor | list[tf.Tensor]],
    image_size: int,
    quantize: str,
    images: np.ndarray | None = None,
    *,
    dtype: tf.DType = tf.uint8,
) -> bytes:
    """Convert a model that takes a batch as float32, in silence; see `convert_to_tflite`.

    Args:
        model: called with the images and `training=False`.
        image_size: side length of the images, pixels.
        quantize: as for `convert_to_tflite`.
        images: as for `convert_to_tflite`.
        dtype: of the pixels that the result takes.

    Returns:
        A flatbuffer.
    """
    shape = (None, image_size, image_size, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)])
    def classify(pixels: tf.Tensor) -> tf.Tensor | list[tf.Tensor]:
        return model(tf.cast(pixels, tf.float32), training=False)

    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Measuring ranges for int8 works on constants only, not on variables.
        frozen = convert_variables_to_constants_v2(classify.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        if quantize == "float32":
            return converter.convert()
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if quantize == "float16":
            converter.target_spec.supported_types = [tf.float16]
            return converter.convert()
        return _convert_to_int8(converter, images)


def _convert_to_int8(converter: tf.lite.TFLiteConverter, images: np.ndarray) -> bytes:
    def representative_dataset():
        for image in images:
            yield [image[None]]

    converter.representative_dataset = representative_dataset
    # In int8 the last layer would round the probabilities to steps of 1/256.
    options = tf.lite.experimental.QuantizationDebugOptions
    last = ["FULLY_CONNECTED", "SOFTMAX"]
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: [[images[:1]]],
        debug_options=options(denylisted_ops=last),
    )
    # A first conversion, to get the names of the layers.
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    layers = [row["tensor_name"] for row in csv.DictReader(table.getvalue().splitlines())]
    first = layers[: int(_FLOAT_FRACTION * len(layers))]
    debugger.options = options(denylisted_ops=last, denylisted_nodes=first)
    return debugger.get_nondebug_quantized_model()
