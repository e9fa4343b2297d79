"""Running a `.tflite` file that describes itself; `models.conversion` writes it.

The description is a zip archive appended to the flatbuffer, as TensorFlow Lite appends the files of
its metadata: interpreters read the flatbuffer and ignore what follows.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import warnings
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf

from models import ModelError
from models.backend import quiet
from models.description import Description, check_description, read_description
from models.footprint import MAX_BYTES
from models.graph import check_graph
from models.trial import try_first
from support.files import first_line, parse_json

_MEMBER = "description.json"
# A hundred thousand image ids take two megabytes.
_MAX_DESCRIPTION_BYTES = 1 << 24


class TFLiteModel:
    """Runs a `.tflite` file that `models.conversion.convert` wrote.

    Args:
        path: the file, which may have been written by anybody.

    Attributes:
        description: from the file.

    Raises:
        ModelError: there is no such file, or it is not a model of this project.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"{path}: model file not found; check the path, or export a model")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: expected a file of at most {MAX_BYTES:,} bytes")
        content = path.read_bytes()
        try:
            if content[4:8] != b"TFL3":
                raise ModelError("expected a .tflite file, received another format")
            self.description, flatbuffer = _unpack(content)
            check_graph(flatbuffer)
            # The interpreter is not Python: a file that breaks it would end this process.
            try_first(
                lambda: _load(flatbuffer, self.description),
                expected="a model that TensorFlow Lite can run",
            )
            self._interpreter = _load(flatbuffer, self.description)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._output = self._interpreter.get_output_details()[0]["index"]
        except ModelError as error:
            raise ModelError(
                f"{path}: {error}; use a file that python -m app.export wrote"
            ) from error
        except Exception as error:  # damaged archives, JSON and graphs fail in many ways
            raise ModelError(
                f"{path}: the file is damaged: {first_line(error)}; export the model again"
            ) from error

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of a batch.

        Args:
            images: uint8 `[images, image_size, image_size, 3]`, 0..255.

        Returns:
            float32 `[images, classes]`, rows that sum to 1.

        Raises:
            ValueError: the images have another type or shape.
        """
        size = self.description.image_size
        if images.dtype != np.uint8 or images.shape[1:] != (size, size, 3):
            raise ValueError(
                f"images should be uint8 [images, {size}, {size}, 3], received {images.dtype} "
                f"{list(images.shape)}"
            )
        y_prob = np.empty((len(images), len(self.description.class_names)), np.float32)
        for i in range(len(images)):
            self._interpreter.set_tensor(self._input, images[i : i + 1])
            self._interpreter.invoke()
            y_prob[i] = self._interpreter.get_tensor(self._output)[0]
        return y_prob


def pack(description: Description, flatbuffer: bytes) -> bytes:
    """Append a description to a flatbuffer.

    Args:
        description: of the model.
        flatbuffer: from TensorFlow's converter.

    Returns:
        The content of a `.tflite` file; equal arguments give equal bytes.
    """
    # The detector needs features, which a .tflite file does not give.
    record = {
        "description": dataclasses.asdict(dataclasses.replace(description, detector=None)),
        "sha256": hashlib.sha256(flatbuffer).hexdigest(),
    }
    content = io.BytesIO(flatbuffer)
    # Appending counts offsets from the start of the file, as strict readers expect.
    with zipfile.ZipFile(content, "a") as archive:
        # A ZipInfo made from a name alone has a constant date.
        member = zipfile.ZipInfo(_MEMBER)
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, json.dumps(record))
    return content.getvalue()


def open_interpreter(flatbuffer: bytes) -> tf.lite.Interpreter:
    """Return an interpreter, without tensors, for a flatbuffer that can be trusted."""
    with warnings.catch_warnings():
        # It announces that the interpreter will move to another package.
        warnings.filterwarnings("ignore", message=r"[\s\S]*tf\.lite\.Interpreter is deprecated")
        return tf.lite.Interpreter(model_content=flatbuffer, num_threads=os.cpu_count())


def _unpack(content: bytes) -> tuple[Description, bytes]:
    """Split the content of a file into description and flatbuffer."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        raise ModelError(
            "expected a description of the model at the end of the file, found none: the file is "
            "truncated, or of another program"
        )
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if names != [_MEMBER]:
            raise ModelError(f"expected the member {_MEMBER}, received {', '.join(names)[:200]!r}")
        if members[0].file_size > _MAX_DESCRIPTION_BYTES:
            raise ModelError(
                f"expected a description of at most {_MAX_DESCRIPTION_BYTES:,} bytes, received "
                f"{members[0].file_size:,}"
            )
        record = parse_json(archive.read(_MEMBER), max_bytes=_MAX_DESCRIPTION_BYTES)
    flatbuffer = content[: members[0].header_offset]
    if hashlib.sha256(flatbuffer).hexdigest() != record["sha256"]:
        raise ModelError("expected the model that it describes, the checksum is that of another")
    description = read_description(record["description"])
    check_description(description)
    return description, flatbuffer


def _load(flatbuffer: bytes, description: Description) -> tf.lite.Interpreter:
    """Return an interpreter, which has run once, for a flatbuffer that passed all checks."""
    with quiet():
        interpreter = open_interpreter(flatbuffer)
        size, classes = description.image_size, len(description.class_names)
        expected = [([-1, size, size, 3], np.uint8), ([-1, classes], np.float32)]
        details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
        received = [(item["shape_signature"].tolist(), item["dtype"]) for item in details]
        if received != expected:
            shown = " and ".join(f"{dtype.__name__} {shape}" for shape, dtype in received)
            raise ModelError(
                f"expected the input uint8 {expected[0][0]} and the output float32 "
                f"{expected[1][0]}, as its description says, received {shown[:200]}"
            )
        interpreter.allocate_tensors()
        pixels = np.zeros((1, size, size, 3), np.uint8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
    return interpreter
