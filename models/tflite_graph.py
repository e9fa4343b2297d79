"""What a `.tflite` graph may contain: checks on a flatbuffer before TensorFlow Lite reads it.

TensorFlow Lite verifies that a flatbuffer is sound, but then trusts what it says: an operation
without one of its inputs, or one that overwrites a constant, crashes the process. What these checks
do not find, `models.tflite` tries in a process of its own.
"""

from __future__ import annotations

import math

import numpy as np

from models import ModelError
from models.tflite_operations import BIASED, MAX_AXES, MAX_NUMBERS, Value, compute
from models.tflite_schema import schema

_MAX_ELEMENTS = 1 << 26
# Of all tensors together, and of one image; the largest backbone has a tenth of them.
_MAX_ALL_ELEMENTS, _MAX_WORK = 1 << 29, 1 << 38
_MAX_PARTS = 10_000
_ANY = range(1, _MAX_PARTS)
# Probabilities alone, as in the first versions, or with features.
_OUTPUTS = (1, 2)
# Of the scales of inputs to that of an output; TensorFlow Lite shifts numbers by so many bits.
_MAX_RATIO, _MAX_RATIOS = 1 << 30, dict.fromkeys(("ADD", "SUB", "SQUARED_DIFFERENCE"), 1 << 19)
# What convolutional networks are converted to, and the number of inputs of each. Custom operations
# are not among them: TensorFlow's interpreter would run any operation of TensorFlow as one, even
# those that write files. Nor is TILE, which transformers need: it can ask for any amount of memory.
_INPUTS = {
    **dict.fromkeys(("AVERAGE_POOL_2D", "CAST", "DEQUANTIZE", "GELU", "HARD_SWISH"), (1,)),
    **dict.fromkeys(("LOGISTIC", "MAX_POOL_2D", "NEG"), (1,)),
    **dict.fromkeys(("QUANTIZE", "RELU", "RELU6", "RSQRT", "SHAPE", "SOFTMAX"), (1,)),
    **dict.fromkeys(("ADD", "DIV", "GATHER", "MEAN", "MUL", "PAD", "REDUCE_PROD"), (2,)),
    **dict.fromkeys(("RESHAPE", "SQUARED_DIFFERENCE", "SUB"), (2,)),
    **dict.fromkeys(BIASED, (3,)),
    **dict.fromkeys(("CONCATENATION", "PACK"), _ANY),
    "STRIDED_SLICE": (4,),
}
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
    _check_parts(root)
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
    if graph.InputsLength() != 1 or graph.OutputsLength() not in _OUTPUTS:
        raise ModelError(
            "expected one input and the outputs probabilities and features, received "
            f"{graph.InputsLength()} and {graph.OutputsLength()}"
        )
    if not 0 <= graph.Inputs(0) < graph.TensorsLength():
        raise ModelError(f"expected an input that is a tensor, received {graph.Inputs(0)}")
    constants = {
        i
        for i in range(graph.TensorsLength())
        if _check_tensor(graph.Tensors(i), root, is_input=i == graph.Inputs(0))
    }
    _check_order(root, names, constants)


def _check_parts(root: schema.Model) -> None:
    """Check what surrounds the graph, which TensorFlow Lite reads without looking."""
    if root.Version() != 3:
        raise ModelError(f"expected version 3 of the format, received {root.Version()}")
    # Others would name tensors that need not exist.
    if root.SignatureDefsLength() or root.ExternalBuffersLength():
        raise ModelError("expected a graph without signatures and external buffers")
    numbers = [root.MetadataBuffer(i) for i in range(min(root.MetadataBufferLength(), _MAX_PARTS))]
    numbers += [root.Metadata(i).Buffer() for i in range(min(root.MetadataLength(), _MAX_PARTS))]
    if not all(0 <= number < root.BuffersLength() for number in numbers):
        raise ModelError("expected metadata in the file, received some outside")


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
    if (
        tensor.ShapeLength() > MAX_AXES
        or any(size < 1 for size in shape)
        or math.prod(shape) > _MAX_ELEMENTS
    ):
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
    # Only filters and their biases, which are constants, have a scale for each channel.
    if not length and has_scale and quantization.ScaleLength() > 1:
        raise ModelError("expected one scale of a computed tensor, received several")
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


def _read_value(tensor: schema.Tensor, buffer: schema.Buffer) -> Value:
    """Return a tensor that is checked, with its numbers if it is a short constant of int32."""
    shape = tuple(int(tensor.Shape(axis)) for axis in range(tensor.ShapeLength()))
    numbers = None
    is_short = tensor.Type() == _TYPES.INT32 and math.prod(shape) <= MAX_NUMBERS
    if is_short and buffer.DataLength():
        numbers = buffer.DataAsNumpy().view("<i4").reshape(shape).astype(np.int64)
    return Value(tensor.Type(), shape, numbers)


def _check_output(name: str, tensor: schema.Tensor, value: Value) -> None:
    """Check that an output has the shape that the file says; -1 is known only when it runs."""
    if tensor.ShapeSignatureLength():
        sizes = [int(tensor.ShapeSignature(i)) for i in range(tensor.ShapeSignatureLength())]
    else:
        sizes = [int(tensor.Shape(i)) for i in range(tensor.ShapeLength())]
    is_equal = len(sizes) == len(value.shape) and all(
        size in (-1, found) for size, found in zip(sizes, value.shape, strict=True)
    )
    if not is_equal:
        raise ModelError(
            f"expected an output of {name} of the shape {list(value.shape)}, received one of shape "
            f"{str(sizes)[:100]}"
        )
    if math.prod(value.shape) > _MAX_ELEMENTS:
        raise ModelError(
            f"expected tensors of 1 to {_MAX_ELEMENTS:,} elements, received one of shape "
            f"{str(list(value.shape))[:100]}"
        )


def _largest_scale(tensor: schema.Tensor) -> float | None:
    quantization = tensor.Quantization()
    is_scaled = tensor.Type() == _TYPES.INT8 and quantization is not None
    return float(quantization.ScaleAsNumpy().max()) if is_scaled else None


def _check_ratio(name: str, scales: list[float | None]) -> None:
    """Check the scales of an operation in int8, the output first.

    TensorFlow Lite multiplies by their ratio, and ends the process where it is large.
    """
    output, *inputs = scales
    found = [scale for scale in inputs if scale is not None]
    limit = _MAX_RATIOS.get(name, _MAX_RATIO)
    if output is not None and found and max(*found, math.prod(found)) >= limit * output:
        raise ModelError(f"expected scales of {name} of about the same size, received others")


def _check_order(root: schema.Model, names: list[str], constants: set[int]) -> None:
    """Check that each tensor is written once, before it is read, and what it takes to do so."""
    graph = root.Subgraphs(0)
    known: dict[int, Value] = {}
    for i in (*constants, int(graph.Inputs(0))):
        tensor = graph.Tensors(i)
        known[i] = _read_value(tensor, root.Buffers(tensor.Buffer()))
    elements = work = 0
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        if not 0 <= operator.OpcodeIndex() < len(names):
            raise ModelError(f"expected one of the operations, received {operator.OpcodeIndex()}")
        name = names[operator.OpcodeIndex()]
        inputs = _read_inputs(name, operator, known)
        if operator.OutputsLength() != 1 or operator.IntermediatesLength():
            raise ModelError(f"expected one output of {name}, received another number")
        output = int(operator.Outputs(0))
        if output in known or not 0 <= output < graph.TensorsLength():
            raise ModelError(f"expected an output of {name} that is written once")
        if name != "DEQUANTIZE" and constants.issuperset(inputs):
            raise ModelError(f"expected {name} of a computed tensor, received constants alone")
        tensor = graph.Tensors(output)
        values = [known.get(index) for index in inputs]
        known[output], multiplications = compute(name, operator, values, tensor.Type())
        _check_output(name, tensor, known[output])
        _check_ratio(name, [_largest_scale(graph.Tensors(i)) for i in (output, *inputs) if i >= 0])
        elements += math.prod(known[output].shape)
        work += multiplications
        if elements > _MAX_ALL_ELEMENTS or work > _MAX_WORK:
            raise ModelError(
                f"expected a graph of at most {_MAX_ALL_ELEMENTS:,} elements and {_MAX_WORK:,} "
                "multiplications, received a larger one"
            )
    outputs = [int(graph.Outputs(i)) for i in range(graph.OutputsLength())]
    if not known.keys() - constants - {int(graph.Inputs(0))} >= set(outputs):
        raise ModelError("expected outputs that are computed, received others")
    if len(set(outputs)) != len(outputs):
        raise ModelError("expected different outputs, received one twice")
    shapes = [known[output].shape for output in outputs]
    if any(len(shape) != 2 for shape in shapes):
        raise ModelError(f"expected outputs of two axes, received {str(shapes)[:100]}")


def _read_inputs(name: str, operator: schema.Operator, known: dict[int, Value]) -> list[int]:
    """Return the indices of the inputs of an operation; -1 for no bias."""
    inputs = [int(operator.Inputs(j)) for j in range(min(operator.InputsLength(), _MAX_PARTS))]
    if len(inputs) not in _INPUTS[name]:
        raise ModelError(f"expected {_INPUTS[name][0]} inputs of {name}, received {inputs[:20]}")
    needed = inputs[:2] if name in BIASED and inputs[2] == -1 else inputs
    if not known.keys() >= set(needed):
        raise ModelError(f"expected inputs of {name} that were computed before, received others")
    return inputs
