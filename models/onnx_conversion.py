"""Converting a model to an `.onnx` file, by Keras and tf2onnx; `models.onnx_file` runs it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

import keras

from models import ModelError
from models.backend import check_onnx_converter, import_onnx
from models.bundle import get_description
from models.keras_export import export, take_pixels
from models.onnx_file import pack
from models.onnx_graph import check_onnx_graph
from support.files import first_line, replacing


def convert_to_onnx(model: keras.Model, path: str | os.PathLike) -> None:
    """Write a model as an `.onnx` file, whole or not at all.

    The file takes `pixels`, uint8 `[images, image_size, image_size, 3]`, 0..255, and returns
    `probabilities`, float32 `[images, classes]`, at the model's temperature, and `features`,
    float32 `[images, features]`.

    Args:
        model: from `models.bundle.load_model`.
        path: ends in `.onnx`; replaced if it exists.

    Raises:
        ModelError: the model cannot be converted, contains operators that `ONNXModel` does not
            allow, as the backbones `convnext` and `vit` do, or a package is not installed.
    """
    check_onnx_converter("an .onnx file")
    onnx, _ = import_onnx("an .onnx file")
    description, of_pixels = get_description(model), take_pixels(model)
    try:
        with tempfile.TemporaryDirectory() as folder:
            logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
            file = Path(folder, "model.onnx")
            export(of_pixels, file, "onnx")
            content = onnx.load(file)
    except Exception as error:  # the converter raises whatever its passes raise
        raise ModelError(
            f"Keras {keras.__version__} cannot convert the model to ONNX: {first_line(error)}; "
            "use a model that train.py wrote"
        ) from error
    for value in (*content.graph.input, *content.graph.output):
        # The converter gives each of them a name of its own.
        value.type.tensor_type.shape.dim[0].dim_param = "images"
    try:
        check_onnx_graph(content)
    except ModelError as error:
        raise ModelError(f"{description.model} cannot be converted: {error}") from error
    with replacing(path) as temporary:
        temporary.write_bytes(pack(description, content.SerializeToString()))
