"""Running a `.tflite` file that describes itself; `models.tflite_conversion` writes it.

The description is a zip archive appended to the flatbuffer, as TensorFlow Lite appends the files of
its metadata: interpreters read the flatbuffer and ignore what follows.
"""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from models import ModelError
from models.backend import quiet
from models.description import Description
from models.exported import (
    naming_file,
    read_exported,
    read_record,
    write_record,
)
from models.litert import litert_version, open_interpreter
from models.network import Network, check_pixels
from models.tflite_graph import check_graph
from models.trial import try_first
from support.files import MAX_JSON_BYTES

_MEMBER = "description.json"


class LiteNetwork(Network):
    """Runs a flatbuffer that can be trusted.

    Args:
        description: of the model.
        flatbuffer: as `models.tflite_conversion` makes it; it takes uint8 pixels.

    Raises:
        ModelError: it takes or returns something else than its description says.
    """

    kind = ".tflite"

    def __init__(self, description: Description, flatbuffer: bytes) -> None:
        self.description, self.engine = description, f"LiteRT ({litert_version()})"
        self._interpreter = _load(flatbuffer, description)
        self._input = self._interpreter.get_input_details()[0]["index"]
        outputs = self._interpreter.get_output_details()
        self._outputs = [output["index"] for output in outputs]
        # Files of the first versions have one output.
        self.feature_count = int(outputs[1]["shape"][1]) if outputs[1:] else 0

    def predict_on_batch(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return probabilities and features, one image at a time; see `Network`."""
        check_pixels(images, self.description.image_size)
        counts = len(self.description.class_names), self.feature_count
        results = [np.empty((len(images), count), np.float32) for count in counts]
        for i in range(len(images)):
            self._interpreter.set_tensor(self._input, images[i : i + 1])
            self._interpreter.invoke()
            for result, output in zip(results, self._outputs, strict=False):
                result[i] = self._interpreter.get_tensor(output)[0]
        return results[0], results[1]


class TFLiteModel(LiteNetwork):
    """Runs a `.tflite` file that `models.tflite_conversion.convert_to_tflite` wrote.

    Args:
        path: the file, which may have been written by anybody.

    Raises:
        ModelError: there is no such file, or it is not a model of this project.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        path = Path(path)
        content = read_exported(path)
        with naming_file(path):
            description, flatbuffer = unpack(content)
            check_graph(flatbuffer)
            # The interpreter is not Python: a file that breaks it would end this process.
            try_first(
                lambda: _load(flatbuffer, description),
                expected="a model that TensorFlow Lite can run",
            )
            super().__init__(description, flatbuffer)


def pack(description: Description, flatbuffer: bytes) -> bytes:
    """Append a description to a flatbuffer.

    Args:
        description: of the model.
        flatbuffer: from TensorFlow's converter.

    Returns:
        The content of a `.tflite` file; equal arguments give equal bytes.
    """
    content = io.BytesIO(flatbuffer)
    # Appending counts offsets from the start of the file, as strict readers expect.
    with zipfile.ZipFile(content, "a") as archive:
        # A ZipInfo made from a name alone has a constant date.
        member = zipfile.ZipInfo(_MEMBER)
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, write_record(description, flatbuffer))
    return content.getvalue()


def unpack(content: bytes) -> tuple[Description, bytes]:
    """Split what `pack` returned into the description, which is checked, and the flatbuffer.

    Raises:
        ModelError: it is something else, or was changed.
    """
    if content[4:8] != b"TFL3":
        raise ModelError("expected a .tflite file, received another format")
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
        if members[0].file_size > MAX_JSON_BYTES:
            raise ModelError(
                f"expected a description of at most {MAX_JSON_BYTES:,} bytes, received "
                f"{members[0].file_size:,}"
            )
        record = archive.read(_MEMBER)
    flatbuffer = content[: members[0].header_offset]
    return read_record(record, flatbuffer), flatbuffer


def _load(flatbuffer: bytes, description: Description) -> Any:
    """Return an interpreter, which has run once, for a flatbuffer that passed all checks."""
    with quiet():
        interpreter = open_interpreter(flatbuffer)
        size, classes = description.image_size, len(description.class_names)
        expected = [([-1, size, size, 3], np.uint8), ([-1, classes], np.float32)]
        details = [*interpreter.get_input_details(), *interpreter.get_output_details()]
        received = [(item["shape_signature"].tolist(), item["dtype"]) for item in details]
        # The number of features is that of the model, which its description does not say.
        features = [([-1, *shape[1:2]], np.float32) for shape, _ in received[2:]]
        if received != expected + features:
            shown = " and ".join(f"{dtype.__name__} {shape}" for shape, dtype in received)
            raise ModelError(
                f"expected the input uint8 {expected[0][0]}, the output float32 {expected[1][0]} "
                "and features of two axes in float32, as its description says, received "
                f"{shown[:200]}"
            )
        interpreter.allocate_tensors()
        pixels = np.zeros((1, size, size, 3), np.uint8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
        interpreter.invoke()
    return interpreter
