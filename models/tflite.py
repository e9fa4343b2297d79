"""The model for the phone: one `.tflite` file that describes itself, and its runner.

What the file says about itself is a zip archive behind the flatbuffer, where TensorFlow Lite's
metadata keep associated files: interpreters read the flatbuffer and never look at it.
"""

import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from models import QUANTIZATIONS, ModelError
from models.backend import quiet
from models.bundle import (
    MAX_BYTES,
    Description,
    check_description,
    first_line,
    get_description,
    load_model,
)

_MEMBER = "description.json"
# A hundred thousand image ids take two megabytes.
_MAX_DESCRIPTION = 1 << 24
_MAX_ELEMENTS = 1 << 26
_MAX_PARTS = 10_000
# Share of the layers, from the first, that int8 leaves in floating point: they have few weights,
# and their errors grow through all the others. Without it 86 % of the shipped model's answers on
# its validation images stay the same, with it 99 %.
_FLOAT_SHARE = 1 / 4
# All that networks of convolutions become. Custom operations are left out, since TensorFlow's
# interpreter would run any of TensorFlow's own as one, also those that write files; and so is TILE,
# which a transformer needs, since it can ask for any amount of memory.
_OPERATIONS = {
    *("ADD", "CAST", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV"),
    *("FULLY_CONNECTED", "GATHER", "GELU", "LOGISTIC", "MAX_POOL_2D", "MEAN", "MUL", "NEG"),
    *("PACK", "PAD", "QUANTIZE", "REDUCE_PROD", "RELU", "RELU6", "RESHAPE", "RSQRT", "SHAPE"),
    *("SOFTMAX", "SQUARED_DIFFERENCE", "STRIDED_SLICE", "SUB"),
}
_OPERATION_NAMES = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if name[0] != "_"
}


def convert(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    quantize: str = "float32",
    images: np.ndarray | None = None,
) -> None:
    """Write a model as a `.tflite` file, whole or not at all.

    The file takes uint8 pixels, `[batch, image_size, image_size, 3]`, 0..255, and gives
    probabilities, float32 `[batch, classes]`, at the model's temperature.

    Args:
        model: from `models.bundle.load_model`.
        path: ends in `.tflite`; replaced if it exists.
        quantize: `float32`; `float16`, which halves the weights; or `int8`, which computes in whole
            numbers, apart from the first quarter of the layers, the last one and the softmax.
        images: uint8 `[count, image_size, image_size, 3]`, pictures like those of later use; `int8`
            measures the range of every layer on them.

    Raises:
        ModelError: the model cannot be converted, or only to operations that are not taken back;
            of the backbones, `vit`.
        ValueError: `quantize` is unknown, or `int8` has no images.
    """
    if quantize not in QUANTIZATIONS:
        names = ", ".join(QUANTIZATIONS)
        raise ValueError(f"quantize should be one of {names}, received {quantize!r}")
    if quantize == "int8" and (images is None or len(images) == 0):
        raise ValueError("int8 needs images to measure the range of every layer on")
    description = get_description(model)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flatbuffer = _convert(model, description.image_size, quantize, images)
    except Exception as error:  # the converter raises whatever its passes raise
        raise ModelError(
            f"TensorFlow {tf.__version__} cannot convert the model to {quantize}: "
            f"{first_line(error)}; use a model that train.py wrote"
        ) from error
    _check_graph(flatbuffer, f"{description.model} cannot be exported: ")
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(_pack(description, flatbuffer))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _convert(model: keras.Model, side: int, quantize: str, images: np.ndarray | None) -> bytes:
    @tf.function(input_signature=[tf.TensorSpec((None, side, side, 3), tf.uint8)])
    def classify(pixels: tf.Tensor) -> tf.Tensor:
        return model(tf.cast(pixels, tf.float32), training=False)

    # The calibration of int8 knows constants only, no variables.
    frozen = convert_variables_to_constants_v2(classify.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    if quantize == "float32":
        return converter.convert()
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
        return converter.convert()

    def examples():
        for image in images:
            yield [image[None]]

    converter.representative_dataset = examples
    # In int8 the last layer would round the probabilities to steps of 1/256.
    options = tf.lite.experimental.QuantizationDebugOptions
    last = ["FULLY_CONNECTED", "SOFTMAX"]
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=lambda: [[images[:1]]],
        debug_options=options(denylisted_ops=last),
    )
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    layers = [row["tensor_name"] for row in csv.DictReader(table.getvalue().splitlines())]
    first = layers[: int(_FLOAT_SHARE * len(layers))]
    debugger.options = options(denylisted_ops=last, denylisted_nodes=first)
    return debugger.get_nondebug_quantized_model()


def _pack(description: Description, flatbuffer: bytes) -> bytes:
    """Append the description to a flatbuffer."""
    # The detector reads features, which this file does not give.
    record = {
        "description": dataclasses.asdict(dataclasses.replace(description, detector=None)),
        "sha256": hashlib.sha256(flatbuffer).hexdigest(),
    }
    content = io.BytesIO(flatbuffer)
    # Appending counts offsets from the start of the file, as strict readers expect.
    with zipfile.ZipFile(content, "a") as archive:
        # Without the time of day, so that the same model gives the same bytes.
        member = zipfile.ZipInfo(_MEMBER)
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, json.dumps(record))
    return content.getvalue()


class TFLiteModel:
    """Runs a `.tflite` file that `convert` wrote; takes a Keras model's place for predictions.

    Args:
        path: the file.

    Attributes:
        description: what the file says about itself.
        output_shape: `(None, classes)`.

    Raises:
        ModelError: there is no such file, or it is none that `convert` wrote.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        path = Path(path)
        if not path.is_file():
            raise ModelError(
                f"expected a model file, found none at {path}; python -m app.export writes one"
            )
        foreign = f"{path} should be a .tflite file that python -m app.export wrote, but "
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{foreign}it has more than {MAX_BYTES:,} bytes")
        content = path.read_bytes()
        if content[4:8] != b"TFL3":
            raise ModelError(f"{foreign}it is in another format")
        try:
            self.description, flatbuffer = _unpack(content, path, foreign)
            _check_graph(flatbuffer, foreign)
            self._interpreter = _load(flatbuffer, self.description, foreign)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._output = self._interpreter.get_output_details()[0]["index"]
            self.output_shape = (None, len(self.description.class_names))
            side = self.description.image_size
            self.predict_on_batch(np.zeros((1, side, side, 3), np.uint8))
        except ModelError:
            raise
        except Exception as error:  # broken archives, texts and graphs fail in many ways
            raise ModelError(
                f"{foreign}it is damaged: {first_line(error)}; export it anew"
            ) from error

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of a batch.

        Args:
            images: uint8 `[batch, image_size, image_size, 3]`, 0..255.

        Returns:
            float32 `[batch, classes]`, rows that sum to 1.

        Raises:
            ValueError: the images have another type or shape.
        """
        side = self.description.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            raise ValueError(
                f"images should be uint8 [batch, {side}, {side}, 3], received {images.dtype} "
                f"{list(images.shape)}"
            )
        answers = np.empty((len(images), self.output_shape[1]), np.float32)
        for place in range(len(images)):
            self._interpreter.set_tensor(self._input, images[place : place + 1])
            self._interpreter.invoke()
            answers[place] = self._interpreter.get_tensor(self._output)[0]
        return answers


def open_model(path: str | os.PathLike) -> keras.Model | TFLiteModel:
    """Load a model file of either kind, told by its ending.

    Args:
        path: `.tflite`; all else is read as `.keras`.

    Raises:
        ModelError: as `models.bundle.load_model` and `TFLiteModel` raise it.
    """
    return TFLiteModel(path) if Path(path).suffix == ".tflite" else load_model(path)


def _unpack(content: bytes, path: Path, foreign: str) -> tuple[Description, bytes]:
    """Read the description behind a flatbuffer; returns both."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if [member.filename for member in members] != [_MEMBER]:
            names = ", ".join(member.filename for member in members)
            raise ModelError(f"{foreign}it holds {names[:200]!r}")
        if members[0].file_size > _MAX_DESCRIPTION:
            raise ModelError(
                f"{foreign}its description would have {members[0].file_size:,} bytes, at most "
                f"{_MAX_DESCRIPTION:,} are taken"
            )
        record = json.loads(archive.read(_MEMBER))
    flatbuffer = content[: members[0].header_offset]
    if hashlib.sha256(flatbuffer).hexdigest() != record["sha256"]:
        raise ModelError(f"{foreign}its model is another than it describes; export it anew")
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in record["description"].items()
    }
    description = Description(**values)
    check_description(description, path)
    return description, flatbuffer


def _load(flatbuffer: bytes, description: Description, foreign: str) -> tf.lite.Interpreter:
    """Make an interpreter of a flatbuffer that has passed all checks, ready to run."""
    with quiet(), warnings.catch_warnings():
        # It says that the interpreter will move to another package.
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter is deprecated")
        interpreter = tf.lite.Interpreter(model_content=flatbuffer, num_threads=os.cpu_count())
        side, classes = description.image_size, len(description.class_names)
        expected = [([-1, side, side, 3], np.uint8), ([-1, classes], np.float32)]
        details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
        received = [(item["shape_signature"].tolist(), item["dtype"]) for item in details]
        if received != expected:
            shown = " and ".join(f"{dtype.__name__} {shape}" for shape, dtype in received)
            raise ModelError(
                f"{foreign}it should take uint8 {expected[0][0]} and give float32 "
                f"{expected[1][0]}, as it describes itself, received {shown[:200]}"
            )
        interpreter.allocate_tensors()
    return interpreter


def _check_graph(flatbuffer: bytes, foreign: str) -> None:
    """Refuse what no model of this project has, before TensorFlow makes anything of it."""
    root = schema.Model.GetRootAs(flatbuffer)
    if root.SubgraphsLength() != 1:
        raise ModelError(f"{foreign}it holds {root.SubgraphsLength()} graphs")
    graph = root.Subgraphs(0)
    count = max(root.OperatorCodesLength(), graph.TensorsLength(), graph.OperatorsLength())
    if count > _MAX_PARTS:
        raise ModelError(
            f"{foreign}its graph has {count:,} parts, at most {_MAX_PARTS:,} are taken"
        )
    for place in range(root.OperatorCodesLength()):
        code = root.OperatorCodes(place)
        # Small numbers stand in the older field, which is all that older files have.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = _OPERATION_NAMES.get(number, str(number))
        if code.CustomCode() is not None or name not in _OPERATIONS:
            raise ModelError(
                f"{foreign}it holds the operation {name}, which is not among those taken"
            )
    kinds = schema.TensorType
    for place in range(graph.TensorsLength()):
        tensor = graph.Tensors(place)
        known = {kinds.FLOAT32, kinds.FLOAT16, kinds.INT8, kinds.INT32}
        # Pixels alone are uint8: computing in it ends the process where other numbers are int8.
        if tensor.Type() not in known and place != graph.Inputs(0):
            raise ModelError(f"{foreign}it holds a tensor of type {tensor.Type()}")
        shape = [int(tensor.Shape(axis)) for axis in range(min(tensor.ShapeLength(), 9))]
        if any(size < 1 for size in shape) or math.prod(shape) > _MAX_ELEMENTS:
            raise ModelError(f"{foreign}it holds a tensor of shape {str(shape)[:100]}")
        scales = tensor.Quantization()
        # Where such a tensor is not whole, TensorFlow's interpreter ends the process.
        blockwise = scales is not None and scales.DetailsType()
        if blockwise or tensor.IsVariable() or tensor.Sparsity() is not None:
            raise ModelError(f"{foreign}it holds a blockwise, variable or sparse tensor")
