"""What the operations of a `.tflite` graph compute: the shape of each output, and some values.

TensorFlow Lite trusts the options and shapes in a file: a stride of 0, an axis out of range or a
padding of millions crashes the process or takes all memory. These functions compute shapes as
TensorFlow Lite does, from options within small limits, and refuse all others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models import ModelError
from models.tflite_schema import schema

# Tensors of more numbers are not followed: shapes and axes are short.
MAX_NUMBERS = 64
# Strides, dilations, filter sizes and paddings; axes of a tensor.
_MAX_STEP, MAX_AXES = 64, 4
_TYPES = schema.TensorType
_FLOAT, _HALF, _INT8, _INT32 = _TYPES.FLOAT32, _TYPES.FLOAT16, _TYPES.INT8, _TYPES.INT32
# Operations with a bias as third input.
BIASED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_BINARY = {"ADD": np.add, "MUL": np.multiply, "SUB": np.subtract}
_BINARY |= {"DIV": None, "SQUARED_DIFFERENCE": None}
_NUMBER_TYPES = frozenset((_FLOAT, _INT8, _INT32))
# Types of the first input. Integers are for shapes; dividing them by 0 ends the process.
_INPUT_TYPES = {
    "CAST": {_FLOAT, _INT32, _TYPES.UINT8},
    "DEQUANTIZE": {_HALF, _INT8},
    "DIV": {_FLOAT},
    **dict.fromkeys(("ADD", "MUL", "SUB", "RESHAPE", "SHAPE"), _NUMBER_TYPES),
    **dict.fromkeys(("CONCATENATION", "GATHER", "PACK"), _NUMBER_TYPES),
    **dict.fromkeys(("REDUCE_PROD", "STRIDED_SLICE"), _NUMBER_TYPES),
}
_OUTPUT_TYPES = {
    "CAST": {_FLOAT, _INT32},
    "DEQUANTIZE": {_FLOAT},
    "QUANTIZE": {_INT8},
    "SHAPE": {_INT32},
}
# Without its options, TensorFlow Lite takes 0 for all of them.
_OPTIONS = {
    "ADD": schema.AddOptions,
    "AVERAGE_POOL_2D": schema.Pool2DOptions,
    "CONCATENATION": schema.ConcatenationOptions,
    "CONV_2D": schema.Conv2DOptions,
    "DEPTHWISE_CONV_2D": schema.DepthwiseConv2DOptions,
    "DIV": schema.DivOptions,
    "FULLY_CONNECTED": schema.FullyConnectedOptions,
    "GATHER": schema.GatherOptions,
    "MAX_POOL_2D": schema.Pool2DOptions,
    "MEAN": schema.ReducerOptions,
    "MUL": schema.MulOptions,
    "PACK": schema.PackOptions,
    "REDUCE_PROD": schema.ReducerOptions,
    "SHAPE": schema.ShapeOptions,
    "SOFTMAX": schema.SoftmaxOptions,
    "STRIDED_SLICE": schema.StridedSliceOptions,
    "SUB": schema.SubOptions,
}


@dataclass(frozen=True)
class Value:
    """A tensor as far as it is known before the model runs.

    Attributes:
        kind: type, of `schema.TensorType`.
        shape: shape.
        numbers: int64 of that shape if the tensor is short, of int32 and known; else None.
    """

    kind: int
    shape: tuple[int, ...]
    numbers: np.ndarray | None = None


def compute(
    name: str, operator: schema.Operator, inputs: list[Value | None], kind: int
) -> tuple[Value, int]:
    """Compute the shape of an output, and its numbers where they can be known.

    Args:
        name: of the operation.
        operator: with its options.
        inputs: as many as the operation has; None for no bias.
        kind: type of the output, as the file says.

    Returns:
        The output, and the multiplications that it takes.

    Raises:
        ModelError: an option, type or shape is not allowed; the message names the operation.
    """
    _require(
        all(len(x.shape) <= MAX_AXES for x in inputs if x),
        f"inputs of {name} of up to {MAX_AXES} axes",
    )
    options = _read_options(name, operator)
    _check_types(name, inputs, kind)
    work = 1
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        shape, numbers = _convolve(name, options, *inputs), None
        work = math.prod(inputs[1].shape[1:])
    elif name == "FULLY_CONNECTED":
        shape, numbers = _connect(options, *inputs), None
        work = inputs[1].shape[1]
    elif name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        size = options.FilterHeight(), options.FilterWidth()
        shape, numbers = _slide(name, options, inputs[0].shape, size, (1, 1)), None
        work = math.prod(size)
    elif name in _BINARY:
        shape, numbers = _broadcast(name, *inputs)
    else:
        shape, numbers = _SHAPES.get(name, _keep)(options, inputs)
    if numbers is not None:
        _require((np.abs(numbers) < 1 << 31).all(), f"numbers of {name} that fit in int32")
        _require(numbers.size <= MAX_NUMBERS, f"a short output of {name}")
    shape = tuple(int(size) for size in shape)
    _require(all(size > 0 for size in shape), f"an output of {name} that is not empty")
    return Value(kind, shape, numbers if kind == _INT32 else None), work * math.prod(shape)


def _require(is_met: bool, what: str) -> None:
    if not is_met:
        raise ModelError(f"expected {what}, received others")


def _read_options(name: str, operator: schema.Operator) -> object | None:
    """Return the options of an operation, None if it has none that matter."""
    if name not in _OPTIONS:
        return None
    options, table = _OPTIONS[name](), operator.BuiltinOptions()
    number = getattr(schema.BuiltinOptions, type(options).__name__)
    _require(table is not None and operator.BuiltinOptionsType() == number, f"options of {name}")
    options.Init(table.Bytes, table.Pos)
    if hasattr(options, "FusedActivationFunction"):
        # None, ReLU, ReLU in -1..1, ReLU6.
        _require(options.FusedActivationFunction() in range(4), f"a known activation of {name}")
    return options


def _check_types(name: str, inputs: list[Value | None], kind: int) -> None:
    """Check the types of inputs and output; TensorFlow Lite checks most of them, not all."""
    first, *others = [None if x is None else x.kind for x in inputs]
    is_sound = first in _INPUT_TYPES.get(name, {_FLOAT, _INT8})
    is_sound = is_sound and kind in _OUTPUT_TYPES.get(name, {first})
    if name in BIASED:
        bias = _INT32 if first == _INT8 else _FLOAT
        is_sound = is_sound and others[0] == first and others[1] in (None, bias)
    elif name in _BINARY or name in ("CONCATENATION", "PACK"):
        is_sound = is_sound and set(others) <= {first}
    else:  # axes, indices, paddings, shapes
        is_sound = is_sound and set(others) <= {_INT32}
    _require(is_sound, f"types of {name} that fit")


def _slide(
    name: str, options: object, shape: tuple, size: tuple[int, int], dilation: tuple[int, int]
) -> tuple[int, ...]:
    """Return the shape that a window leaves: of a convolution or of pooling."""
    strides = options.StrideH(), options.StrideW()
    steps = [*strides, *size, *dilation]
    _require(
        len(shape) == 4 and all(1 <= step <= _MAX_STEP for step in steps),
        f"strides, dilations and filter sizes of {name} in 1..{_MAX_STEP}",
    )
    _require(options.Padding() in (0, 1), f"a known padding of {name}")
    if options.Padding() == schema.Padding.VALID:
        spans = [(count - 1) * rate for count, rate in zip(size, dilation, strict=True)]
    else:
        spans = [0, 0]
    sides = [
        -(-(side - span) // stride)
        for side, span, stride in zip(shape[1:3], spans, strides, strict=True)
    ]
    return shape[0], *sides, shape[3]


def _convolve(
    name: str, options: object, image: Value, filters: Value, bias: Value | None
) -> tuple[int, ...]:
    _require(len(image.shape) == len(filters.shape) == 4, f"four axes of the inputs of {name}")
    count, height, width, channels = filters.shape
    if name == "DEPTHWISE_CONV_2D":
        count, channels, factor = channels, image.shape[3], options.DepthMultiplier()
        is_sound = filters.shape[0] == 1 and factor > 0 and channels * factor == count
    else:
        # In groups: each filter reads some of the channels.
        groups, rest = divmod(image.shape[3], channels)
        is_sound = rest == 0 and groups > 0 and count % groups == 0
    is_sound = is_sound and (bias is None or bias.shape == (count,))
    _require(is_sound, f"filters of {name} that fit its input")
    dilation = options.DilationHFactor(), options.DilationWFactor()
    shape = _slide(name, options, image.shape, (height, width), dilation)
    return *shape[:3], count


def _connect(options: object, x: Value, weights: Value, bias: Value | None) -> tuple[int, ...]:
    is_sound = len(weights.shape) == 2 and x.shape and options.WeightsFormat() == 0
    count, features = weights.shape if is_sound else (0, 1)
    is_sound = is_sound and (bias is None or bias.shape == (count,))
    total = math.prod(x.shape)
    is_sound = is_sound and total % features == 0
    if options.KeepNumDims():
        is_sound = is_sound and x.shape[-1] == features
    _require(is_sound, "weights of FULLY_CONNECTED that fit its input")
    return (*x.shape[:-1], count) if options.KeepNumDims() else (total // features, count)


def _broadcast(name: str, x: Value, y: Value) -> tuple[tuple[int, ...], np.ndarray | None]:
    try:
        shape = np.broadcast_shapes(x.shape, y.shape)
    except ValueError:
        raise ModelError(
            f"expected inputs of {name} that fit, received {x.shape} and {y.shape}"
        ) from None
    function = _BINARY[name]
    is_known = function and x.numbers is not None and y.numbers is not None
    return shape, function(x.numbers, y.numbers) if is_known else None


def _keep(options: None, inputs: list[Value]) -> tuple[tuple[int, ...], None]:
    return inputs[0].shape, None


def _numbers(name: str, value: Value, axes: int = 1) -> np.ndarray:
    """Return the numbers of an input that has to be known, of so many axes."""
    _require(value.numbers is not None and value.numbers.ndim == axes, f"numbers of {name}")
    return value.numbers


def _axis(name: str, axis: int, count: int) -> int:
    _require(-count <= axis < count, f"an axis of {name} in range")
    return axis % count


def _reduce(options: object, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray | None]:
    x, axes = inputs
    # An axis is a scalar or a list.
    _require(axes.numbers is not None and axes.numbers.ndim <= 1, "numbers of axes")
    indices = [_axis("a mean or product", int(axis), len(x.shape)) for axis in axes.numbers.flat]
    _require(len(set(indices)) == len(indices), "different axes of a mean or product")
    numbers = None
    if x.numbers is not None:
        # Floating point cannot overflow here, as int64 would.
        product = np.prod(x.numbers.astype(float), tuple(indices), keepdims=options.KeepDims())
        numbers = np.asarray(np.clip(product, -(1 << 40), 1 << 40), np.int64)
    kept = [
        1 if axis in indices else size
        for axis, size in enumerate(x.shape)
        if options.KeepDims() or axis not in indices
    ]
    return tuple(kept), numbers


def _pad(options: None, inputs: list[Value]) -> tuple[tuple[int, ...], None]:
    x, paddings = inputs
    around = _numbers("paddings", paddings, axes=2)
    is_sound = around.shape == (len(x.shape), 2)
    _require(
        is_sound and bool(((around >= 0) & (around <= _MAX_STEP)).all()),
        f"paddings of 0..{_MAX_STEP} on each side of each axis",
    )
    return tuple(np.add(x.shape, around.sum(axis=1))), None


def _concatenate(options: object, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray | None]:
    shapes = [x.shape for x in inputs]
    axis = _axis("CONCATENATION", options.Axis(), len(shapes[0]))
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    _require(len(rest) == 1 and len({len(s) for s in shapes}) == 1, "equal shapes in CONCATENATION")
    total = sum(shape[axis] for shape in shapes)
    is_known = all(x.numbers is not None for x in inputs)
    numbers = np.concatenate([x.numbers for x in inputs], axis) if is_known else None
    return (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), numbers


def _pack(options: object, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray | None]:
    shape = inputs[0].shape
    axis = _axis("PACK", options.Axis(), len(shape) + 1)
    is_sound = options.ValuesCount() == len(inputs) and {x.shape for x in inputs} == {shape}
    _require(is_sound, "equal shapes in PACK")
    is_known = all(x.numbers is not None for x in inputs)
    numbers = np.stack([x.numbers for x in inputs], axis) if is_known else None
    return (*shape[:axis], len(inputs), *shape[axis:]), numbers


def _gather(options: object, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray | None]:
    x, indices = inputs
    found = _numbers("indices", indices)
    axis = _axis("GATHER", options.Axis(), len(x.shape))
    is_sound = options.BatchDims() == 0 and ((found >= 0) & (found < x.shape[axis])).all()
    _require(bool(is_sound), "indices of GATHER in range")
    numbers = None if x.numbers is None else x.numbers.take(found, axis)
    return (*x.shape[:axis], len(found), *x.shape[axis + 1 :]), numbers


def _reshape(options: None, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray | None]:
    x, shape = inputs
    sizes = [int(size) for size in _numbers("a shape", shape)]
    total, known = math.prod(x.shape), math.prod(size for size in sizes if size != -1)
    is_sound = len(sizes) <= MAX_AXES and sizes.count(-1) <= 1 and known > 0
    is_sound = is_sound and min(sizes, default=1) >= -1 and total % known == 0
    sizes = [total // known if size == -1 else size for size in sizes] if is_sound else []
    _require(is_sound and math.prod(sizes) == total, "a shape of as many elements in RESHAPE")
    return tuple(sizes), None if x.numbers is None else x.numbers.reshape(sizes)


def _measure(options: object, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray]:
    _require(options.OutType() == _INT32, "an int32 output of SHAPE")
    shape = inputs[0].shape
    return (len(shape),), np.asarray(shape, np.int64)


def _slice(options: object, inputs: list[Value]) -> tuple[tuple[int, ...], np.ndarray | None]:
    x, *ranges = inputs
    begin, end, strides = (_numbers("a slice", numbers) for numbers in ranges)
    is_sound = len(begin) == len(end) == len(strides) == len(x.shape) and (strides > 0).all()
    unusual = options.EllipsisMask() or options.NewAxisMask() or options.Offset()
    _require(bool(is_sound and not unusual), "plain slices")
    parts: list[int | slice] = []
    for axis, size in enumerate(x.shape):
        if options.ShrinkAxisMask() >> axis & 1:
            parts.append(_axis("STRIDED_SLICE", int(begin[axis]), size))
        else:
            start = None if options.BeginMask() >> axis & 1 else int(begin[axis])
            stop = None if options.EndMask() >> axis & 1 else int(end[axis])
            parts.append(slice(start, stop, int(strides[axis])))
    # A view without memory of its own has the shape of any tensor.
    shape = np.broadcast_to(np.int8(0), x.shape)[tuple(parts)].shape
    return shape, None if x.numbers is None else np.asarray(x.numbers[tuple(parts)])


_SHAPES = {
    "CONCATENATION": _concatenate,
    "GATHER": _gather,
    "MEAN": _reduce,
    "PACK": _pack,
    "PAD": _pad,
    "REDUCE_PROD": _reduce,
    "RESHAPE": _reshape,
    "SHAPE": _measure,
    "STRIDED_SLICE": _slice,
}
