"""Checks of a `.tflite` graph: what would crash TensorFlow Lite is refused before it is read."""

import re

import flatbuffers
import keras
import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from models import ModelError
from models.bundle import ClassProbabilities
from models.tflite_conversion import convert_to_tflite
from models.tflite_graph import check_graph
from models.tflite_operations import Value, compute

FLOAT, INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT32


@pytest.fixture(scope="module")
def model() -> keras.Model:
    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, strides=2)(layers.Rescaling(1 / 255)(inputs))
    x = layers.DepthwiseConv2D(3, padding="same")(layers.ZeroPadding2D(1)(x))
    x = layers.AveragePooling2D(2, 1, "same")(layers.MaxPooling2D(2)(x))
    x = layers.Activation("hard_swish")(x)
    scale = layers.Dense(4)(layers.GlobalAveragePooling2D(keepdims=True)(x))
    logits = layers.Dense(2, name="logits")(
        layers.GlobalAveragePooling2D()(layers.Multiply()([x, scale]))
    )
    description = {"model": "tiny", "class_names": ("a", "b"), "image_size": 16}
    return keras.Model(inputs, ClassProbabilities(description)(logits))


@pytest.fixture(scope="module")
def intact(model, tmp_path_factory) -> bytes:
    """A graph with the operations of all backbones that have options."""
    path = tmp_path_factory.mktemp("graph") / "tiny.tflite"
    convert_to_tflite(model, path)
    return path.read_bytes()


class Graph:
    """A graph that can be changed."""

    def __init__(self, content: bytes) -> None:
        self.model = schema.ModelT.InitFromPackedBuf(content)
        self.graph = self.model.subgraphs[0]

    def operator(self, name: str) -> schema.OperatorT:
        number = getattr(schema.BuiltinOperator, name)
        codes = [code.builtinCode for code in self.model.operatorCodes]
        return next(o for o in self.graph.operators if codes[o.opcodeIndex] == number)

    def numbers(self, tensor: int, values: list) -> None:
        buffer = self.model.buffers[self.graph.tensors[tensor].buffer]
        buffer.data = np.frombuffer(np.array(values, "<i4").tobytes(), np.uint8)

    def pack(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def refusal(graph: Graph) -> str:
    with pytest.raises(ModelError, match=r"^expected [^\n]+$") as caught:
        check_graph(graph.pack())
    return str(caught.value)


def test_an_intact_graph_is_accepted(intact):
    check_graph(Graph(intact).pack())


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("CONV_2D", {"inputs": [-1, 2, 3]}, "inputs of CONV_2D that were computed before"),
        ("CONV_2D", {"inputs": [1, 2]}, "expected 3 inputs of CONV_2D, received [1, 2]"),
        ("MEAN", {"outputs": [-1]}, "an output of MEAN that is written once"),
        ("MEAN", {"outputs": [10**6]}, "an output of MEAN that is written once"),
        ("PAD", {"outputs": [20, 21]}, "one output of PAD, received another number"),
        ("CONCATENATION", {"inputs": [0, 0, -1]}, "inputs of CONCATENATION that were computed"),
        ("PACK", {"inputs": []}, "inputs of PACK, received []"),
    ],
)
def test_an_operation_that_is_wired_wrongly_is_refused(intact, name, change, message):
    graph = Graph(intact)
    vars(graph.operator(name)).update(change)
    assert message in refusal(graph)


@pytest.mark.parametrize(
    ("name", "option", "value", "message"),
    [
        ("CONV_2D", "strideH", 0, "strides, dilations and filter sizes of CONV_2D in 1..64"),
        ("CONV_2D", "dilationWFactor", 16_842_752, "filter sizes of CONV_2D in 1..64"),
        ("CONV_2D", "padding", 2, "a known padding of CONV_2D"),
        ("CONV_2D", "fusedActivationFunction", 99, "a known activation of CONV_2D"),
        ("DEPTHWISE_CONV_2D", "strideW", -1, "filter sizes of DEPTHWISE_CONV_2D in 1..64"),
        ("DEPTHWISE_CONV_2D", "depthMultiplier", 0, "filters of DEPTHWISE_CONV_2D that fit"),
        ("AVERAGE_POOL_2D", "filterHeight", 0, "filter sizes of AVERAGE_POOL_2D in 1..64"),
        ("MAX_POOL_2D", "filterHeight", 0, "filter sizes of MAX_POOL_2D in 1..64"),
        ("MAX_POOL_2D", "filterWidth", 1 << 30, "filter sizes of MAX_POOL_2D in 1..64"),
        ("MEAN", "keepDims", False, "an output of MEAN of the shape [1, 4], received"),
        ("FULLY_CONNECTED", "weightsFormat", 1, "weights of FULLY_CONNECTED that fit"),
        ("GATHER", "axis", 5, "an axis of GATHER in range"),
        ("GATHER", "batchDims", 1, "indices of GATHER in range"),
        ("CONCATENATION", "axis", -9, "an axis of CONCATENATION in range"),
        ("PACK", "axis", 7, "an axis of PACK in range"),
        ("PACK", "valuesCount", 3, "equal shapes in PACK"),
        ("SHAPE", "outType", schema.TensorType.INT64, "an int32 output of SHAPE"),
    ],
)
def test_an_option_that_would_crash_the_interpreter_is_refused(
    intact, name, option, value, message
):
    graph = Graph(intact)
    options = graph.operator(name).builtinOptions
    assert hasattr(options, option)
    setattr(options, option, value)
    assert message in refusal(graph)


def test_an_operation_without_its_options_is_refused(intact):
    graph = Graph(intact)
    graph.operator("CONV_2D").builtinOptions = None
    assert "options of CONV_2D" in refusal(graph)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("PAD", [[0, 0], [-1, 1], [1, 1], [0, 0]], "paddings of 0..64"),
        ("PAD", [[0, 0], [1 << 30, 1], [1, 1], [0, 0]], "paddings of 0..64"),
        ("MEAN", [1, 9], "an axis of a mean or product in range"),
        ("MEAN", [1, 1], "different axes of a mean or product"),
        ("GATHER", [0, 1, 4], "indices of GATHER in range"),
        ("GATHER", [-1, 0, 1], "indices of GATHER in range"),
    ],
)
def test_axes_paddings_and_indices_out_of_range_are_refused(intact, name, values, message):
    graph = Graph(intact)
    graph.numbers(graph.operator(name).inputs[1], values)
    assert message in refusal(graph)


def test_an_input_that_is_wired_to_another_tensor_is_refused(intact):
    graph = Graph(intact)
    operator = graph.operator("DEPTHWISE_CONV_2D")
    operator.inputs = [graph.operator("CONV_2D").inputs[0], *operator.inputs[1:]]
    assert "filters of DEPTHWISE_CONV_2D that fit its input" in refusal(graph)
    operator.inputs = [*operator.inputs[:2], operator.inputs[1]]
    assert "filters of DEPTHWISE_CONV_2D that fit its input" in refusal(graph)


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda *_: [], "and the outputs probabilities and features, received 1 and 0"),
        (lambda first, second, _: [first, second, second], "received 1 and 3"),
        (lambda first, *_: [first, first], "different outputs, received one twice"),
        (lambda first, *_: [first, 10**6], "outputs that are computed, received others"),
        (lambda first, second, _: [-1, second], "outputs that are computed, received others"),
        (lambda first, _, graph: [first, graph.graph.inputs[0]], "outputs that are computed"),
        (lambda first, _, graph: [first, graph.operator("CONV_2D").inputs[1]], "are computed"),
        (lambda first, _, graph: [first, graph.operator("PAD").outputs[0]], "outputs of two axes"),
    ],
)
def test_outputs_are_computed_rows_of_numbers(intact, choose, message):
    graph = Graph(intact)
    graph.graph.outputs = choose(*graph.graph.outputs, graph)
    assert message in refusal(graph)


def test_a_graph_without_features_is_accepted(intact):
    graph = Graph(intact)
    graph.graph.outputs = graph.graph.outputs[:1]
    check_graph(graph.pack())


def test_metadata_outside_the_file_is_refused(intact):
    graph = Graph(intact)
    graph.model.metadata[0].buffer = 1 << 30
    assert refusal(graph) == "expected metadata in the file, received some outside"


@pytest.mark.parametrize("limit", ["_MAX_ALL_ELEMENTS", "_MAX_WORK"])
def test_a_graph_that_would_take_all_memory_or_time_is_refused(intact, monkeypatch, limit):
    monkeypatch.setattr(f"models.tflite_graph.{limit}", 1000)
    assert re.search(
        r"a graph of at most [\d,]+ elements and [\d,]+ multiplications, received a larger one",
        refusal(Graph(intact)),
    )


def test_scales_that_the_interpreter_cannot_divide_are_refused(model, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    convert_to_tflite(model, tmp_path / "int8.tflite", quantize="int8", images=images)
    graph = Graph((tmp_path / "int8.tflite").read_bytes())
    scales = graph.graph.tensors[graph.operator("MUL").inputs[0]].quantization
    scales.scale = [1e30]
    assert re.search("expected scales of [A-Z_]+ of about the same size", refusal(graph))
    scales.scale, scales.zeroPoint = [0.1] * 4, [0] * 4
    scales.quantizedDimension = 3
    assert refusal(graph) == "expected one scale of a computed tensor, received several"


def operator(name: str, **options: int) -> schema.Operator:
    """Return one operation as a file has it."""
    kind = {"STRIDED_SLICE": "StridedSliceOptions", "DIV": "DivOptions"}.get(name)
    packed = schema.OperatorT()
    if kind:
        packed.builtinOptions = getattr(schema, f"{kind}T")()
        packed.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        vars(packed.builtinOptions).update(options)
    builder = flatbuffers.Builder(64)
    builder.Finish(packed.Pack(builder))
    return schema.Operator.GetRootAs(bytes(builder.Output()))


def ints(*values) -> Value:
    numbers = np.array(values, np.int64)
    return Value(INT32, numbers.shape, numbers)


@pytest.mark.parametrize(
    ("size", "expected"), [((8, 2), (8, 2)), ((-1,), (16,)), ((2, -1), (2, 8)), ((4, 4), (4, 4))]
)
def test_reshape_keeps_the_number_of_elements(size, expected):
    x = Value(FLOAT, (2, 8))
    value, _ = compute("RESHAPE", operator("RESHAPE"), [x, ints(*size)], FLOAT)
    assert value.shape == expected


@pytest.mark.parametrize("size", [(3, -1), (0, -1), (-1, -1), (-2, -8), (1 << 30, 1 << 30), (17,)])
def test_reshape_to_another_number_of_elements_is_refused(size):
    with pytest.raises(ModelError, match="a shape of as many elements in RESHAPE"):
        compute("RESHAPE", operator("RESHAPE"), [Value(FLOAT, (2, 8)), ints(*size)], FLOAT)


def test_a_slice_is_that_of_numpy_and_has_no_stride_of_zero():
    x = ints(5, 6, 7, 8)
    value, _ = compute(
        "STRIDED_SLICE", operator("STRIDED_SLICE"), [x, ints(1), ints(4), ints(2)], INT32
    )
    assert value.numbers.tolist() == [6, 8]
    for stride in (0, -1):
        with pytest.raises(ModelError, match="plain slices"):
            compute(
                "STRIDED_SLICE",
                *(operator("STRIDED_SLICE"), [x, ints(1), ints(4), ints(stride)], INT32),
            )


def test_integers_are_not_divided():
    with pytest.raises(ModelError, match=re.escape("types of DIV that fit")):
        compute("DIV", operator("DIV"), [ints(1), ints(0)], INT32)
