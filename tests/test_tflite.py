"""Running a `.tflite` file, and refusing what was not written by this project."""

import io
import json
import os
import signal
import zipfile
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import pytest
import refused
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from models.bundle import get_description, update_description
from models.description import FORMAT
from models.factory import build_model
from models.tflite import TFLiteModel, pack
from models.tflite_conversion import convert_to_tflite

pytestmark = pytest.mark.usefixtures("shallow_baseline")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=("a", "b", "c"))
    update_description(
        model,
        temperature=0.5,
        train_image_ids=["i1", "i2"],
        train_lesion_ids=["l1"],
        validation_image_ids=["ä3"],
        validation_lesion_ids=["l2"],
        confidence_threshold=0.7,
        threshold_accuracy=0.9,
        operating_points={"melanoma": {"specificity_0.90": 0.25}},
        prediction_sets={"coverage": 0.9, "thresholds": {"a": 0.1, "b": 0.2, "c": 0.3}},
        detector={"any": "values"},
    )
    return model


@pytest.fixture(scope="module")
def good(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tflite") / "good.tflite"
    convert_to_tflite(model, path)
    return path


def split(path: Path) -> tuple[bytes, dict]:
    """Return the flatbuffer of a file and the record behind it, which can then be changed."""
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        record = json.loads(archive.read(member))
    del record["description_sha256"]
    return content[: member.header_offset], record


def write(path: Path, flatbuffer: bytes, record: object, name: str = "description.json") -> Path:
    path.write_bytes(flatbuffer)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, record if isinstance(record, bytes) else json.dumps(record))
    return path


def refusal(path: Path) -> str:
    return refused.refusal(path, TFLiteModel)


def test_a_file_describes_itself_as_the_keras_file_does(model, good):
    assert TFLiteModel(good).description == get_description(model)


def test_a_file_of_a_synthetic_model_says_so(tmp_path):
    model = build_model("sequential", image_size=32, class_names=("a", "b"))
    update_description(model, synthetic=True)
    convert_to_tflite(model, tmp_path / "toy.tflite")
    assert TFLiteModel(tmp_path / "toy.tflite").description.synthetic


def test_images_of_another_type_or_size_are_refused(good):
    lite = TFLiteModel(good)
    results = lite.predict_on_batch(np.zeros((2, 32, 32, 3), np.uint8))
    assert [result.shape for result in results] == [(2, 3), (2, 16)]
    for shape, dtype in (((1, 32, 32, 3), np.float32), ((1, 16, 16, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 \[images, 32, 32, 3\], received"):
            lite.predict_on_batch(np.zeros(shape, dtype))


def test_a_file_of_an_older_format_still_works(good, tmp_path):
    flatbuffer, record = split(good)
    older = {
        name.replace("confidence_threshold", "unsure_below").replace(
            "threshold_accuracy", "unsure_accuracy"
        ): value
        for name, value in record["description"].items()
    }
    for name in ("malignant", "data_name", "date", "synthetic", "melanomas"):
        del older[name]
    record = {**record, "description": {**older, "format": 2}}
    lite = TFLiteModel(write(tmp_path / "older.tflite", flatbuffer, record))
    assert lite.description == TFLiteModel(good).description


def test_a_file_of_another_format_or_damaged_is_refused(good, tmp_path):
    assert "model file not found" in refusal(tmp_path / "none.tflite")
    bad = tmp_path / "bad.tflite"
    content = good.read_bytes()
    flatbuffer, record = split(good)
    for other in (b"", b"text", b"\0" * 100):
        bad.write_bytes(other)
        assert "expected a .tflite file, received another format" in refusal(bad)
    # Of another program, or truncated.
    for length in (9, len(flatbuffer) // 2, len(flatbuffer), len(content) - 1):
        bad.write_bytes(content[:length])
        assert "the file is truncated, or of another program; use a file that" in refusal(bad)
    middle = len(flatbuffer) // 2
    bad.write_bytes(content[:middle] + b"\1\2\3" + content[middle + 3 :])
    assert "the checksum is that of another" in refusal(bad)
    bad.write_bytes(b"more" + content)
    assert "received another format" in refusal(bad)
    message = refusal(write(bad, flatbuffer, record, "other.json"))
    assert "expected the member description.json, received 'other.json'" in message
    for other in (b"{", b"[]", b"{}", b"\xff", b"null", b"[" * 100_000):
        assert "the file is damaged" in refusal(write(bad, flatbuffer, other))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("temperature", 0, "a number above 0 as temperature"),
        ("temperature", "hot", "as temperature in its description, received 'hot'"),
        ("temperature", float("nan"), "as temperature in its description, received nan"),
        ("image_size", 2.5, "as image_size in its description, received 2.5"),
        ("image_size", 64, "expected the input uint8 [-1, 64, 64, 3]"),
        ("class_names", ["a", "b"], "the output float32 [-1, 2]"),
        ("class_names", [1, 2, 3], "different names without slashes as class_names"),
        ("class_names", [], "different names without slashes as class_names"),
        ("train_image_ids", "i1", "a list of strings as train_image_ids"),
        ("format", 99, f"description format 1 to {FORMAT}, received 99"),
        ("confidence_threshold", 2, "a fraction in 0..1 or null as confidence_threshold"),
        ("malignant", ["x"], "different names of its classes as malignant"),
        ("synthetic", "no", "true or false as synthetic"),
        ("train_pixel_hashes", "AAAA", "base64 of hashes of 8 bytes as train_pixel_hashes"),
        ("of_tomorrow", 1, "the file is damaged"),
    ],
)
def test_a_description_that_cannot_be_used_is_refused(good, tmp_path, name, value, message):
    flatbuffer, record = split(good)
    # Its sets name its classes.
    description = {**record["description"], "prediction_sets": None, name: value}
    record = {**record, "description": description}
    assert message in refusal(write(tmp_path / "bad.tflite", flatbuffer, record))


def test_decompression_bombs_are_refused_before_they_expand(good, tmp_path):
    bomb = b" " * (1 << 24) + b"{}"
    message = refusal(write(tmp_path / "bad.tflite", split(good)[0], bomb))
    assert "a description of at most 16,777,216 bytes, received 16,777,218" in message


def custom(graph):
    graph.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    graph.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    graph.operatorCodes[0].customCode = b"FlexWriteFile"


def call(graph):
    graph.operatorCodes[0].builtinCode = schema.BuiltinOperator.CALL_ONCE
    graph.operatorCodes[0].deprecatedBuiltinCode = 127


def twice(graph):
    graph.subgraphs.append(graph.subgraphs[0])


def large(graph):
    graph.subgraphs[0].tensors[-2].shape = [1, 1 << 20, 1 << 10]


def blockwise(graph):
    graph.subgraphs[0].tensors[1].quantization = schema.QuantizationParametersT(detailsType=2)


def variable(graph):
    graph.subgraphs[0].tensors[-2].isVariable = True


def unsigned(graph):
    graph.subgraphs[0].tensors[-2].type = schema.TensorType.UINT8


def no_filter(graph):
    operator = operator_of(graph, "CONV_2D")
    operator.inputs = [operator.inputs[0], -1, operator.inputs[2]]


def surplus_input(graph):
    operator = operator_of(graph, "SOFTMAX")
    operator.inputs = [*operator.inputs, *operator.inputs]


def overwrite_a_constant(graph):
    operator_of(graph, "SOFTMAX").outputs = [operator_of(graph, "CONV_2D").inputs[1]]


def read_before_writing(graph):
    operator = operator_of(graph, "CONV_2D")
    operator.inputs = [graph.subgraphs[0].outputs[0], *operator.inputs[1:]]


def copy_a_constant(graph):
    operator_of(graph, "CAST").inputs = [operator_of(graph, "CONV_2D").inputs[1]]


def shape_of_a_constant(graph):
    filters = graph.subgraphs[0].tensors[operator_of(graph, "CONV_2D").inputs[1]]
    filters.shape = [2 * filters.shape[0], *filters.shape[1:]]


def zero_scale(graph):
    quantization = schema.QuantizationParametersT(scale=[0.0], zeroPoint=[0])
    graph.subgraphs[0].tensors[-2].quantization = quantization


def int8_without_scale(graph):
    graph.subgraphs[0].tensors[-2].type = schema.TensorType.INT8
    graph.subgraphs[0].tensors[-2].quantization = None


def change_a_type(graph):
    output = graph.subgraphs[0].tensors[operator_of(graph, "SOFTMAX").outputs[0]]
    output.type = schema.TensorType.FLOAT16


def operator_of(graph, name: str):
    number = getattr(schema.BuiltinOperator, name)
    operators = graph.subgraphs[0].operators
    return next(o for o in operators if graph.operatorCodes[o.opcodeIndex].builtinCode == number)


def forge(path: Path, good: Path, model, change) -> Path:
    """Write a file with a changed graph and the right checksum."""
    graph = schema.ModelT.InitFromPackedBuf(split(good)[0])
    change(graph)
    builder = flatbuffers.Builder(1024)
    builder.Finish(graph.Pack(builder), b"TFL3")
    path.write_bytes(pack(get_description(model), bytes(builder.Output())))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (custom, "received CUSTOM, which is not allowed"),
        (call, "received CALL_ONCE, which is not allowed"),
        (twice, "expected one graph, received 2"),
        (large, "received one of shape [1, 1048576, 1024]"),
        (blockwise, "received a blockwise, variable or sparse one"),
        (variable, "received a blockwise, variable or sparse one"),
        (unsigned, "received one of type 3"),
        # TensorFlow Lite takes these as they are, and some crash the process.
        (no_filter, "inputs of CONV_2D that were computed before"),
        (surplus_input, "expected 1 inputs of SOFTMAX"),
        (overwrite_a_constant, "an output of SOFTMAX that is written once"),
        (read_before_writing, "inputs of CONV_2D that were computed before"),
        (copy_a_constant, "CAST of a computed tensor"),
        (shape_of_a_constant, "constants of the size that their shape says"),
        (zero_scale, "finite scales and zero points"),
        (int8_without_scale, "a scale of each int8 tensor"),
        (change_a_type, "types of SOFTMAX that fit"),
    ],
)
def test_a_graph_that_could_do_harm_is_refused(model, good, tmp_path, change, message):
    assert message in refusal(forge(tmp_path / "bad.tflite", good, model, change))


def test_a_file_that_crashes_the_interpreter_is_refused(good, monkeypatch):
    def load(flatbuffer, description):
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr("models.tflite._load", load)
    assert "a model that TensorFlow Lite can run, it crashes; use a file" in refusal(good)


def test_a_graph_that_was_packed_again_is_accepted(model, good, tmp_path):
    lite = TFLiteModel(forge(tmp_path / "same.tflite", good, model, lambda graph: None))
    assert lite.description.class_names == ("a", "b", "c")


def test_a_tflite_file_without_a_description_is_refused(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((1, 4))])
    def double(x):
        return 2 * x

    converter = tf.lite.TFLiteConverter.from_concrete_functions([double.get_concrete_function()])
    (tmp_path / "other.tflite").write_bytes(converter.convert())
    assert "the file is truncated, or of another program" in refusal(tmp_path / "other.tflite")
