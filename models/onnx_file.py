"""Running an `.onnx` file that describes itself; `models.onnx_conversion` writes it.

The description is the last field of the file, a metadata property: in protocol buffers, two
messages one after the other are one message with the fields of both.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models import ModelError
from models.backend import import_onnx, quiet
from models.description import Description
from models.exported import (
    OUTPUTS,
    PIXELS,
    naming_file,
    read_exported,
    read_record,
    write_record,
)
from models.network import Network, check_pixels
from models.onnx_graph import check_onnx_graph
from models.trial import try_first

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PROPERTY = "description"


class ONNXModel(Network):
    """Runs an `.onnx` file that `models.onnx_conversion.convert_to_onnx` wrote, on the CPU.

    Args:
        path: the file, which may have been written by anybody.

    Raises:
        ModelError: there is no such file, it is not a model of this project, or the packages that
            run it are not installed.
    """

    kind = ".onnx"

    def __init__(self, path: str | os.PathLike) -> None:
        path = Path(path)
        content = read_exported(path)
        _, onnxruntime = import_onnx(f"{path}: an .onnx file")
        self.engine = f"ONNX Runtime {onnxruntime.__version__}"
        with naming_file(path):
            # ONNX Runtime is not Python, and a small file can take much memory once it is parsed.
            try_first(lambda: _open(content), expected="a sound model for ONNX Runtime")
            self.description, self._session, self.feature_count = _open(content)

    def predict_on_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features, one image at a time; see `Network`.

        A foreign model was tried with one image: several could take more memory than their number.
        """
        check_pixels(images, self.description.image_size)
        counts = len(self.description.class_names), self.feature_count
        results = [np.empty((len(images), count), np.float32) for count in counts]
        for i in range(len(images)):
            outputs = self._session.run(OUTPUTS, {PIXELS: images[i : i + 1]})
            for result, output in zip(results, outputs, strict=True):
                result[i] = output[0]
        return results[0], results[1]


def pack(description: Description, model: bytes) -> bytes:
    """Append a description to a model.

    Args:
        description: of the model.
        model: serialized, without metadata properties.

    Returns:
        The content of an `.onnx` file.
    """
    return model + _serialize(write_record(description, model))


def _open(content: bytes) -> tuple[Description, InferenceSession, int]:
    """Return the description, a session that has run once, and the number of features."""
    onnx, onnxruntime = import_onnx("the file")
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as error:  # of the library that parses
        raise ModelError("expected an .onnx file, received another format") from error
    properties = [item for item in model.metadata_props if item.key == PROPERTY]
    if len(properties) != 1:
        raise ModelError(
            "expected a description of the model in the metadata property "
            f"{PROPERTY}, found {len(properties)}: the file is truncated, or of another program"
        )
    suffix = _serialize(properties[0].value)
    if not content.endswith(suffix):
        raise ModelError("expected the description at the end of the file, found it elsewhere")
    record = properties[0].value.encode()
    description = read_record(record, content[: -len(suffix)])
    check_onnx_graph(model)
    with quiet():
        options = onnxruntime.SessionOptions()
        # What ONNX Runtime would take for its own format was not checked.
        options.add_session_config_entry("session.load_model_format", "ONNX")
        # Threads that wait for work would slow everything else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        return description, session, _count_features(session, description)


def _count_features(session: InferenceSession, description: Description) -> int:
    """Run a model once; returns the number of its features."""
    size, classes = description.image_size, len(description.class_names)
    (pixels,) = session.get_inputs()
    if pixels.type != "tensor(uint8)" or list(pixels.shape[1:]) != [size, size, 3]:
        raise ModelError(
            f"expected the input uint8 [images, {size}, {size}, 3], as its description says, "
            f"received {pixels.type} {str(pixels.shape)[:100]}"
        )
    outputs = session.run(OUTPUTS, {PIXELS: np.zeros((1, size, size, 3), np.uint8)})
    received = [(output.dtype, output.shape) for output in outputs]
    count = outputs[1].size
    expected = [(np.float32, (1, classes)), (np.float32, (1, count))]
    if received != expected:
        shown = " and ".join(f"{dtype} {list(shape)}" for dtype, shape in received)
        raise ModelError(
            f"expected the outputs float32 [1, {classes}] and features of two axes in float32, as "
            f"its description says, received {shown[:200]}"
        )
    return count


def _serialize(record: str) -> bytes:
    """Return a model that has a description and nothing else."""
    onnx, _ = import_onnx("the file")
    model = onnx.ModelProto()
    model.metadata_props.add(key=PROPERTY, value=record)
    return model.SerializeToString()
