"""What an ONNX graph may contain: checks before ONNX Runtime reads it.

The operators are those that convolutional networks are converted to. None of them runs code, reads
files, or repeats others. What they allocate depends on the number of images, but not on their
pixels, and what depends on pixels is floating point: dividing integers by 0 ends the process. So
what one image shows to be harmless, in a process of its own, is so for all others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models import ModelError
from models.exported import OUTPUTS, PIXELS

if TYPE_CHECKING:
    from onnx import AttributeProto, ModelProto, NodeProto, TensorProto

_MAX_PARTS = 10_000
# Of ONNX itself; the second is imported by converters, and none of its operators is allowed.
_DOMAINS = {"", "ai.onnx", "ai.onnx.ml"}
_OPERATORS = frozenset(
    (
        *("Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "Div"),
        *("Erf", "Exp", "Flatten", "Gather", "Gemm", "GlobalAveragePool", "HardSigmoid"),
        *("HardSwish", "Identity", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Pad", "Pow"),
        *("Reciprocal", "ReduceMean", "ReduceProd", "Relu", "Reshape", "Shape", "Sigmoid"),
        *("Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"),
    )
)
# Their inputs after the first are shapes, axes, paddings and indices.
_SHAPED = frozenset(
    ("Gather", "Pad", "ReduceMean", "ReduceProd", "Reshape", "Slice", "Squeeze", "Unsqueeze")
)
# What may come before the pixels are floating point: it computes nothing.
_MOVES = ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
# TensorProto.EXTERNAL and TensorProto.FLOAT
_EXTERNAL, _FLOAT = 1, 1


def check_onnx_graph(model: ModelProto) -> None:
    """Refuse what no model of this project contains.

    Args:
        model: parsed, from a file that may have been written by anybody.

    Raises:
        ModelError: an operator or a tensor is not allowed; the message names no file.
    """
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise ModelError("expected a graph without functions, training and sparse tensors")
    domains = {item.domain for item in model.opset_import}
    if not domains <= _DOMAINS:
        raise ModelError(f"expected operators of ONNX, received those of {_shown(domains)}")
    count = max(len(graph.node), len(graph.initializer), len(graph.input), len(graph.output))
    if count > _MAX_PARTS:
        raise ModelError(f"expected a graph of at most {_MAX_PARTS:,} parts, received {count:,}")
    inputs, outputs = [item.name for item in graph.input], [item.name for item in graph.output]
    if inputs != [PIXELS] or sorted(outputs) != sorted(OUTPUTS):
        raise ModelError(
            f"expected the input {PIXELS} and the outputs {' and '.join(OUTPUTS)}, received "
            f"{_shown(inputs)} and {_shown(outputs)}"
        )
    for tensor in graph.initializer:
        _check_tensor(tensor)
    for node in graph.node:
        _check_node(node)
    _check_order(model)


def _check_tensor(tensor: TensorProto) -> None:
    if tensor.data_location == _EXTERNAL or tensor.external_data:
        raise ModelError("expected weights inside the file, received some of another file")


def _check_node(node: NodeProto) -> None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS or node.overload:
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        raise ModelError(
            f"expected operators of convolutional networks, received {_shown([name])}, which is "
            "not allowed"
        )
    for attribute in node.attribute:
        _check_attribute(attribute)


def _check_attribute(attribute: AttributeProto) -> None:
    has_graph = attribute.HasField("g") or attribute.graphs or attribute.ref_attr_name
    if has_graph or attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
        raise ModelError("expected operators of plain values, received one that holds a graph")
    for tensor in (attribute.t, *attribute.tensors):
        _check_tensor(tensor)


def _check_order(model: ModelProto) -> None:
    """Check that each value is written once, before it is read, and what depends on pixels."""
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    if len(constants) != len(graph.initializer) or PIXELS in constants:
        raise ModelError("expected a name of its own for each tensor, received one twice")
    known, of_pixels, integers = constants | {PIXELS}, {PIXELS}, {PIXELS}
    for node in graph.node:
        used = {name for name in node.input if name}
        if not used <= known:
            raise ModelError(f"expected inputs of {node.op_type} that were computed before")
        if node.op_type in _SHAPED and not of_pixels.isdisjoint(node.input[1:]):
            raise ModelError(f"expected a shape in {node.op_type} that is the same for all images")
        if len(node.output) != 1 or not node.output[0] or node.output[0] in known:
            raise ModelError(f"expected one output of {node.op_type} that is written once")
        known.add(node.output[0])
        if node.op_type == "Shape" or of_pixels.isdisjoint(used):
            continue
        of_pixels.add(node.output[0])
        if node.op_type == "Cast":
            if {item.i for item in node.attribute if item.name == "to"} != {_FLOAT}:
                raise ModelError("expected pixels as floating point, received a Cast to others")
        elif not integers.isdisjoint(used):
            if node.op_type not in _MOVES:
                raise ModelError(f"expected {node.op_type} of floating point, received integers")
            integers.add(node.output[0])
    if not of_pixels.issuperset(OUTPUTS):
        raise ModelError("expected outputs that are computed from pixels, received others")


def _shown(names: object) -> str:
    return repr(", ".join(sorted(map(str, names)))[:100])
