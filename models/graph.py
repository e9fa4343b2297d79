"""What a `.tflite` graph may contain: checks on a flatbuffer before TensorFlow Lite reads it.

TensorFlow Lite verifies that a flatbuffer is sound, but then trusts what it says: an operation
without one of its inputs, or one that overwrites a constant, crashes the process. What these checks
do not find, `models.tflite` tries in a process of its own.
"""

from __future__ import annotations

import math

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from models import ModelError

_MAX_ELEMENTS = 1 << 26
_MAX_PARTS = 10_000
_ANY = range(1, _MAX_PARTS)
# What convolutional networks are converted to, and the number of inputs of each. Custom operations
# are not among them: TensorFlow's interpreter would run any operation of TensorFlow as one, even
# those that write files. Nor is TILE, which transformers need: it can ask for any amount of memory.
_INPUTS = {
    **dict.fromkeys(("CAST", "DEQUANTIZE", "GELU", "LOGISTIC", "MAX_POOL_2D", "NEG"), (1,)),
    **dict.fromkeys(("QUANTIZE", "RELU", "RELU6", "RSQRT", "SHAPE", "SOFTMAX"), (1,)),
    **dict.fromkeys(("ADD", "DIV", "GATHER", "MEAN", "MUL", "PAD", "REDUCE_PROD"), (2,)),
    **dict.fromkeys(("RESHAPE", "SQUARED_DIFFERENCE", "SUB"), (2,)),
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"), (3,)),
    **dict.fromkeys(("CONCATENATION", "PACK"), _ANY),
    "STRIDED_SLICE": (4,),
}
_CHANGE_TYPE = {"CAST", "DEQUANTIZE", "QUANTIZE", "SHAPE"}
_OPERATION_NAMES = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if name[0] != "_"
}
_TYPES = schema.TensorType
# Bytes of an element. Only pixels are uint8: computing in it crashes the process where other
# tensors are int8.
_SIZES = {_TYPES.FLOAT32: 4, _TYPES.FLOAT16: 2, _TYPES.INT8: 1, _TYPES.INT32: 4}


def check_graph(flatbuffer: bytes) -> None:
    """Refuse what no model of this project contains, before TensorFlow reads it.

    Args:
        flatbuffer: a TensorFlow Lite model.

    Raises:
        ModelError: an operation or a tensor is not allowed; the message names no file.
    """
    root = schema.Model.GetRootAs(flatbuffer)
    if root.SubgraphsLength() != 1:
        raise ModelError(f"expected one graph, received {root.SubgraphsLength()}")
    graph = root.Subgraphs(0)
    count = max(
        *(root.OperatorCodesLength(), root.BuffersLength()),
        *(graph.TensorsLength(), graph.OperatorsLength()),
    )
    if count > _MAX_PARTS:
        raise ModelError(f"expected a graph of at most {_MAX_PARTS:,} parts, received {count:,}")
    names = [_check_operation(root.OperatorCodes(i)) for i in range(root.OperatorCodesLength())]
    if graph.InputsLength() != 1 or graph.OutputsLength() != 1:
        raise ModelError(
            f"expected one input and one output, received {graph.InputsLength()} and "
            f"{graph.OutputsLength()}"
        )
    constants = {
        i
        for i in range(graph.TensorsLength())
        if _check_tensor(graph.Tensors(i), root, is_input=i == graph.Inputs(0))
    }
    _check_order(graph, names, constants)


def _check_operation(code: schema.OperatorCode) -> str:
    """Return the name of an operation that is allowed."""
    # Small numbers are in the older of two fields, the only one in older files.
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    name = _OPERATION_NAMES.get(number, str(number))
    if code.CustomCode() is not None or name not in _INPUTS:
        raise ModelError(
            f"expected operations of convolutional networks, received {name}, which is not allowed"
        )
    return name


def _check_tensor(tensor: schema.Tensor, root: schema.Model, *, is_input: bool) -> bool:
    """Check a tensor; returns whether it is a constant."""
    if tensor.Type() not in _SIZES and not is_input:
        raise ModelError(f"expected float or int tensors, received one of type {tensor.Type()}")
    shape = [int(tensor.Shape(axis)) for axis in range(min(tensor.ShapeLength(), 9))]
    if any(size < 1 for size in shape) or math.prod(shape) > _MAX_ELEMENTS:
        raise ModelError(
            f"expected tensors of 1 to {_MAX_ELEMENTS:,} elements, received one of shape "
            f"{str(shape)[:100]}"
        )
    quantization = tensor.Quantization()
    # TensorFlow's interpreter crashes the process where such a tensor is incomplete.
    blockwise = quantization is not None and quantization.DetailsType()
    if blockwise or tensor.IsVariable() or tensor.Sparsity() is not None:
        raise ModelError("expected plain tensors, received a blockwise, variable or sparse one")
    has_scale = quantization is not None and quantization.ScaleLength() > 0
    if has_scale:
        _check_scale(quantization, shape, tensor.Type())
    elif tensor.Type() == _TYPES.INT8:
        raise ModelError("expected a scale of each int8 tensor, received one without")
    if not 0 <= tensor.Buffer() < root.BuffersLength():
        raise ModelError(f"expected a tensor in the file, received one in buffer {tensor.Buffer()}")
    buffer = root.Buffers(tensor.Buffer())
    if buffer.Offset() or buffer.Size():
        raise ModelError("expected tensors inside the flatbuffer, received one outside")
    length = buffer.DataLength()
    if length and (is_input or length != math.prod(shape) * _SIZES[tensor.Type()]):
        raise ModelError(
            f"expected constants of the size that their shape says, received {length:,} bytes for "
            f"{str(shape)[:100]}"
        )
    return length > 0


def _check_scale(quantization: schema.QuantizationParameters, shape: list[int], kind: int) -> None:
    scale, zero_point = quantization.ScaleAsNumpy(), quantization.ZeroPointAsNumpy()
    axis = quantization.QuantizedDimension()
    counts = {1, shape[axis]} if 0 <= axis < len(shape) else {1}
    low, high = (-128, 127) if kind == _TYPES.INT8 else (0, 255)
    is_sound = (
        len(scale) in counts
        and np.size(zero_point) == len(scale)
        and (np.isfinite(scale) & (scale >= np.finfo(np.float32).tiny)).all()
        and ((zero_point >= low) & (zero_point <= high)).all()
    )
    if not is_sound:
        raise ModelError("expected finite scales and zero points in range, received others")


def _check_output(name: str, source: schema.Tensor, output: schema.Tensor) -> None:
    """Check an output against the first input; the interpreter copies without looking."""
    if name not in _CHANGE_TYPE and source.Type() != output.Type():
        raise ModelError(
            f"expected {name} to keep the type, received {source.Type()} and {output.Type()}"
        )
    shapes = [
        [int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength())]
        for tensor in (source, output)
    ]
    if name == "DEQUANTIZE" and shapes[0] != shapes[1]:
        raise ModelError(f"expected DEQUANTIZE to keep the shape, received {str(shapes)[:200]}")


def _check_order(graph: schema.SubGraph, names: list[str], constants: set[int]) -> None:
    """Check that each tensor is written once, before it is read."""
    known = constants | {int(graph.Inputs(0))}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if not 0 <= operator.OpcodeIndex() < len(names):
            raise ModelError(f"expected one of the operations, received {operator.OpcodeIndex()}")
        name = names[operator.OpcodeIndex()]
        inputs = [int(operator.Inputs(j)) for j in range(min(operator.InputsLength(), _MAX_PARTS))]
        if len(inputs) == 3 and inputs[2] == -1:
            inputs.pop()  # no bias
        elif len(inputs) not in _INPUTS[name]:
            raise ModelError(f"expected {_INPUTS[name][0]} inputs of {name}, received {inputs}")
        if not known.issuperset(inputs):
            raise ModelError(
                f"expected inputs of {name} that were computed before, received others"
            )
        if operator.OutputsLength() != 1 or operator.IntermediatesLength():
            raise ModelError(f"expected one output of {name}, received another number")
        output = int(operator.Outputs(0))
        if output in known or not 0 <= output < graph.TensorsLength():
            raise ModelError(f"expected an output of {name} that is written once")
        _check_output(name, graph.Tensors(inputs[0]), graph.Tensors(output))
        if name != "DEQUANTIZE" and constants.issuperset(inputs):
            raise ModelError(f"expected {name} of a computed tensor, received constants alone")
        known.add(output)
    if int(graph.Outputs(0)) not in known - constants:
        raise ModelError("expected an output that is computed, received a constant")
