"""Writing and running an `.onnx` file, and refusing what was not written by this project."""

import json
import os
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import refused
from exports import needs_onnx

from models import ModelError
from models.bundle import ClassProbabilities, get_description, update_description
from models.factory import build_model
from models.onnx_conversion import convert_to_onnx
from models.onnx_file import PROPERTY, ONNXModel, pack

onnx = pytest.importorskip("onnx")
helper, TensorProto = onnx.helper, onnx.TensorProto
pytestmark = [needs_onnx, pytest.mark.usefixtures("shallow_baseline")]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=("a", "b", "c"))
    rng = np.random.default_rng(0)
    # Moving statistics of zero and one, as in a new model, would hide a missing normalization.
    for weights in model.weights:
        if "moving" in weights.name:
            weights.assign(rng.uniform(0.5, 1.5, weights.shape))
    update_description(model, temperature=0.5, confidence_threshold=0.7, threshold_accuracy=0.9)
    return model


@pytest.fixture(scope="module")
def good(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "good.onnx"
    convert_to_onnx(model, path)
    return path


def split(path: Path):
    """Return the model in a file, without its description."""
    model = onnx.ModelProto.FromString(path.read_bytes())
    model.ClearField("metadata_props")
    return model


def refusal(path: Path) -> str:
    return refused.refusal(path, ONNXModel)


def test_the_file_describes_itself_and_predicts_as_the_keras_model(model, good):
    network = ONNXModel(good)
    assert network.description == get_description(model)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    y_prob, features = network.predict_on_batch(images)
    assert (y_prob.dtype, features.shape) == (np.float32, (5, network.feature_count))
    assert np.allclose(y_prob, model.predict_on_batch(images), atol=1e-5)


def test_any_onnx_runtime_reads_names_and_description(model, good):
    import onnxruntime

    session = onnxruntime.InferenceSession(good, providers=["CPUExecutionProvider"])
    values = [(item.name, item.type, item.shape) for item in session.get_inputs()]
    assert values == [("pixels", "tensor(uint8)", ["images", 32, 32, 3])]
    assert {item.name: item.shape for item in session.get_outputs()} == {
        "probabilities": ["images", 3],
        "features": ["images", 16],
    }
    record = json.loads(session.get_modelmeta().custom_metadata_map["description"])
    assert record["description"]["class_names"] == ["a", "b", "c"]
    # Several images at once are as good as one at a time.
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    (y_prob,) = session.run(["probabilities"], {"pixels": images})
    assert np.allclose(y_prob, ONNXModel(good).predict_on_batch(images)[0], atol=1e-6)


def test_images_of_another_type_or_size_are_refused(good):
    for shape, dtype in (((1, 32, 32, 3), np.float32), ((1, 16, 16, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"uint8 \[images, 32, 32, 3\], received"):
            ONNXModel(good).predict_on_batch(np.zeros(shape, dtype))


def test_a_file_of_another_format_or_damaged_is_refused(good, tmp_path):
    assert "model file not found" in refusal(tmp_path / "none.onnx")
    bad, content = tmp_path / "bad.onnx", good.read_bytes()
    for other in (b"text", b"\0" * 100, content[: len(content) // 2]):
        bad.write_bytes(other)
        assert "expected an .onnx file, received another format" in refusal(bad)
    for other in (b"", split(good).SerializeToString()):
        bad.write_bytes(other)
        assert "metadata property description, found 0: the file is truncated" in refusal(bad)
    bad.write_bytes(content + onnx.ModelProto(producer_name="other").SerializeToString())
    assert "expected the description at the end of the file" in refusal(bad)


def test_a_change_of_a_weight_or_of_the_description_is_found(good, tmp_path):
    content, bad = bytearray(good.read_bytes()), tmp_path / "bad.onnx"
    weights = max(split(good).graph.initializer, key=lambda tensor: len(tensor.raw_data)).raw_data
    for place in (content.index(weights) + 2, content.index(b'"temperature": 0.5') + 17):
        content[place] ^= 1
        bad.write_bytes(content)
        assert "checksum is" in refusal(bad)
        content[place] ^= 1


@pytest.mark.parametrize("record", ["{", "[]", "{}", "null", "[" * 100_000, '{"sha256": 1}'])
def test_a_record_that_is_none_is_refused(good, tmp_path, record):
    model = split(good)
    model.metadata_props.add(key=PROPERTY, value=record)
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    assert "a sound model for ONNX Runtime, it fails" in refusal(tmp_path / "bad.onnx")


def node_of(graph, name: str):
    return next(node for node in graph.node if node.op_type == name)


def insert(graph, *nodes) -> None:
    """Add nodes before all others."""
    others = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *others])


def custom_domain(model):
    model.opset_import.add(domain="com.microsoft", version=1)
    node_of(model.graph, "Softmax").domain = "com.microsoft"


def unknown_domain(model):
    node_of(model.graph, "Softmax").domain = "my.ops"


def loop(model):
    insert(model.graph, helper.make_node("Loop", ["", ""], ["x"]))


def graph_attribute(model):
    attribute = helper.make_attribute("body", helper.make_graph([], "g", [], []))
    node_of(model.graph, "Conv").attribute.append(attribute)


def function(model):
    model.functions.add(name="f", domain="ai.onnx")


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def external_attribute(model):
    tensor = TensorProto(name="x", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    insert(model.graph, helper.make_node("Cast", ["pixels"], ["x"], value=tensor, to=1))


def other_output(model):
    model.graph.output[0].name = "other"


def constant_output(model):
    node = node_of(model.graph, "Softmax")
    node.input[0] = model.graph.initializer[0].name


def of_pixels(model):
    insert(
        model.graph,
        helper.make_node("Cast", ["pixels"], ["shape"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "shape"], ["x"]),
    )


def divided_by_pixels(model):
    insert(model.graph, helper.make_node("Div", ["pixels", "pixels"], ["x"]))


def divided_by_integers(model):
    x = node_of(model.graph, "Softmax").input[0]
    model.graph.node.append(helper.make_node("Cast", [x], ["x"], to=TensorProto.INT32))


def second_output(model):
    node_of(model.graph, "MaxPool").output.append("indices")


def written_twice(model):
    node_of(model.graph, "Softmax").output[0] = "pixels"


def unordered(model):
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def sequence(model):
    insert(model.graph, helper.make_node("SequenceEmpty", [], ["x"]))


def other_size(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 64


def float_input(model):
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def no_weights(model):
    model.graph.initializer[0].ClearField("raw_data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (custom_domain, "expected operators of ONNX, received those of"),
        (unknown_domain, "received 'my.ops.Softmax', which is not allowed"),
        (loop, "received 'Loop', which is not allowed"),
        (sequence, "received 'SequenceEmpty', which is not allowed"),
        (graph_attribute, "received one that holds a graph"),
        (function, "expected a graph without functions"),
        (external, "expected weights inside the file"),
        (external_attribute, "expected weights inside the file"),
        (other_output, "the outputs probabilities and features, received 'pixels' and"),
        (constant_output, "expected outputs that are computed from pixels"),
        # What is allocated could depend on the image, and be any amount.
        (of_pixels, "expected a shape in Reshape that is the same for all images"),
        # Dividing integers by 0 ends the process, and not for all images.
        (divided_by_pixels, "expected Div of floating point, received integers"),
        (divided_by_integers, "expected pixels as floating point, received a Cast to others"),
        (second_output, "expected one output of MaxPool that is written once"),
        (written_twice, "expected one output of Softmax that is written once"),
        (unordered, "that were computed before"),
        (other_size, "expected"),
        (float_input, "expected the input uint8 [images, 32, 32, 3]"),
        (no_weights, "a sound model for ONNX Runtime, it fails"),
    ],
)
def test_a_graph_that_could_do_harm_is_refused(model, good, tmp_path, change, message):
    changed = split(good)
    change(changed)
    content = pack(get_description(model), changed.SerializeToString())
    (tmp_path / "bad.onnx").write_bytes(content)
    found = refusal(tmp_path / "bad.onnx")
    assert message in found
    assert found.endswith("use a file that python -m app.export wrote")


def test_a_file_that_crashes_the_runtime_is_refused(good, monkeypatch):
    monkeypatch.setattr("models.onnx_file._open", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    assert "a sound model for ONNX Runtime, it crashes; use a file" in refusal(good)


def test_a_model_with_other_operators_is_refused_before_a_file_is_written(tmp_path):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.ops.sin(inputs))
    x = keras.layers.Dense(2, name="logits")(x)
    description = {"model": "waves", "class_names": ("a", "b"), "image_size": 8}
    model = keras.Model(inputs, ClassProbabilities(description)(x))
    with pytest.raises(ModelError, match=r"waves cannot be converted: expected .* 'Sin', which"):
        convert_to_onnx(model, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet", "efficientnet", "efficientnet_lite"])
def test_other_backbones_predict_the_same_after_conversion(name, tmp_path):
    model = build_model(name, image_size=32, class_names=("a", "b", "c"), weights=None)
    convert_to_onnx(model, tmp_path / "m.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    y_prob, _ = ONNXModel(tmp_path / "m.onnx").predict_on_batch(images)
    assert np.allclose(y_prob, model.predict_on_batch(images), atol=1e-5)
