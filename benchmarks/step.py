"""Where the time of a training step goes, against what the processor could do.

The default recipe trains some steps at one image size, operations one at a time, while TensorFlow's
profiler records the duration of each. The limit of an operation is its arithmetic at the speed of a
large matrix product, or its reads and writes at the speed of an addition to a large array, both
measured here: the larger of the two, summed over the layers. Only arrays that stay in the cache can
be faster. The ratio is the sum of all limits over the duration of all operations.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.machine import RECIPE, run_benchmark, seconds

if TYPE_CHECKING:
    import keras

_WARM_UP = 3
_BYTES = 4  # of a float32
_OTHER = "optimizer, averaged weights, all else"
# By what the types of TensorFlow's operations contain, the longer name first.
_ROWS = {
    "DepthwiseConv2dNativeBackpropFilter": "depthwise convolution, gradient of the weights",
    "DepthwiseConv2dNativeBackpropInput": "depthwise convolution, gradient of the input",
    "DepthwiseConv2dNative": "depthwise convolution",
    "Conv2DBackpropFilter": "convolution, gradient of the weights",
    "Conv2DBackpropInput": "convolution, gradient of the input",
    "Conv2D": "convolution",
    "FusedBatchNormGrad": "BatchNormalization, gradient",
    "FusedBatchNorm": "BatchNormalization",
    "Relu6Grad": "ReLU6, gradient",
    "Relu6": "ReLU6",
}


@dataclasses.dataclass
class Work:
    """What the layers of one kind have to do in a step.

    Attributes:
        flop: floating-point operations.
        limit: seconds, the sum over the layers of the larger of arithmetic and memory access.
    """

    flop: float = 0.0
    limit: float = 0.0


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; returns its exit code."""
    return run_benchmark(
        "step",
        __doc__,
        measure,
        argv,
        has_data=False,
        image_size=(128, "side length of the images, pixels", 32),
        steps=(10, "steps that are recorded"),
    )


def measure(options: argparse.Namespace) -> None:
    """Measure the limits of the processor and the operations of a step, and print the table."""
    from models.backend import start_tensorflow

    start_tensorflow(one_at_a_time=True)

    from benchmarks.fitting import compile_model

    arithmetic, memory = measure_arithmetic(), measure_memory()
    settings = dataclasses.replace(RECIPE, image_size=options.image_size)
    model = compile_model(settings, RECIPE.fine_tune_layers)
    work = count_work(model, RECIPE.batch_size, arithmetic=arithmetic, memory=memory)
    spent = profile(model, RECIPE.batch_size, options.steps)
    print(f"matrix product {arithmetic / 1e9:.0f} GFLOP/s, memory {memory / 1e9:.0f} GB/s")
    print(f"{options.image_size} px, batches of {RECIPE.batch_size}, a step:\n")
    print(f"{'operation':<48}{'ms':>7}{'part':>7}{'GFLOP':>8}{'GFLOP/s':>9}{'limit, ms':>11}")
    total = sum(spent.values())
    for name, duration in sorted(spent.items(), key=lambda item: -item[1]):
        found = work.get(name, Work())
        flop = f"{found.flop / 1e9:>8.2f}{found.flop / duration / 1e9:>9.0f}" if found.flop else ""
        limit = f"{1e3 * found.limit:>11.1f}" if found.limit else f"{'-':>11}"
        print(f"{name:<48}{1e3 * duration:>7.1f}{duration / total:>7.0%}{flop:>17}{limit}")
    flop, limit = (
        sum(getattr(found, name) for found in work.values()) for name in ("flop", "limit")
    )
    print(
        f"{'sum':<48}{1e3 * total:>7.1f}{1:>7.0%}{flop / 1e9:>8.2f}{flop / total / 1e9:>9.0f}"
        f"{1e3 * limit:>11.1f}"
    )
    print(f"\nratio: {limit / total:.2f}")


def measure_arithmetic() -> float:
    """Return the floating-point operations per second of a large matrix product, at best."""
    import tensorflow as tf

    size = 2048
    matrix = tf.random.stateless_uniform((size, size), seed=(0, 0))
    product = tf.function(lambda: tf.reduce_sum(matrix @ matrix))
    return 2 * size**3 / _fastest(lambda: product().numpy())


def measure_memory() -> float:
    """Return the bytes per second that adding to a large array reads and writes, at best."""
    import tensorflow as tf

    values = tf.ones((32, 64, 64, 96))  # as large as the outputs of a block
    total = tf.Variable(values)
    add = tf.function(lambda: total.assign_add(values))
    return 3 * _BYTES * math.prod(values.shape) / _fastest(add)


def _fastest(call: Callable[[], object]) -> float:
    return min(seconds(call) for _ in range(10))


def count_work(
    model: keras.Model, batch_size: int, *, arithmetic: float, memory: float
) -> dict[str, Work]:
    """Count what a training step has to do, by kind of operation.

    Args:
        model: compiled; which of its layers are trained decides which gradients there are.
        batch_size: number of images.
        arithmetic: floating-point operations per second.
        memory: bytes per second.
    """
    found: dict[str, Work] = {}

    def add(kind: str, elements: int, flop: int = 0) -> None:
        work = found.setdefault(_ROWS[kind], Work())
        work.flop += batch_size * flop
        work.limit += batch_size * max(flop / arithmetic, _BYTES * elements / memory)

    needs_gradient = False
    for kind, layer in _list_layers(model):
        size_in, size_out = (
            math.prod(shape[1:]) for shape in (layer.input.shape, layer.output.shape)
        )
        trained = bool(layer.trainable_weights)
        if kind == "FusedBatchNorm":
            add(kind, 3 * size_in if trained else 2 * size_in)  # statistics, then the output
            if trained or needs_gradient:
                add("FusedBatchNormGrad", 5 * size_in)  # both inputs twice, then the output
        elif kind == "Relu6":
            add(kind, 2 * size_in)
            if needs_gradient:
                add("Relu6Grad", 3 * size_in)
        else:
            # Height, width, channels that an output depends on.
            weights = math.prod(layer.kernel.shape) / layer.output.shape[-1]
            flop = 2 * size_out * round(weights)
            add(kind, size_in + size_out, flop)
            if trained:
                add(f"{kind}BackpropFilter", size_in + size_out, flop)
            if needs_gradient:
                add(f"{kind}BackpropInput", size_in + size_out, flop)
        needs_gradient |= trained
    return found


def _list_layers(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Return the layers of the kinds of `_ROWS`, those of the backbone included, in order."""
    from keras import layers

    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _list_layers(layer)
        elif isinstance(layer, layers.DepthwiseConv2D):
            yield "DepthwiseConv2dNative", layer
        elif isinstance(layer, layers.Conv2D):
            yield "Conv2D", layer
        elif isinstance(layer, layers.BatchNormalization):
            yield "FusedBatchNorm", layer
        elif isinstance(layer, layers.ReLU):
            yield "Relu6", layer


def profile(model: keras.Model, batch_size: int, steps: int) -> dict[str, float]:
    """Return the seconds that a step spends in each kind of operation.

    Args:
        model: compiled.
        batch_size: number of images.
        steps: number of steps that are recorded, after some that are not.
    """
    import numpy as np
    import tensorflow as tf

    from benchmarks.fitting import bare_step

    size, classes = model.input_shape[1], model.output_shape[-1]
    images = np.random.default_rng(0).uniform(0, 255, (batch_size, size, size, 3))
    targets = np.eye(classes)[np.arange(batch_size) % classes]
    batch = tuple(v.astype(np.float32) for v in (images, targets, np.ones(batch_size)))
    step = bare_step(model, batch)
    for _ in range(_WARM_UP):
        step()
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=3)
        with tf.profiler.experimental.Profile(folder, options=options):
            for _ in range(steps):
                step()
        (log,) = Path(folder).rglob("*.xplane.pb")
        found = _read_profile(log.read_bytes())
    return {name: duration / steps for name, duration in found.items()}


def _read_profile(log: bytes) -> dict[str, float]:
    """Return the seconds of each kind of operation that a profile recorded."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    found: dict[str, float] = {}
    for plane in xplane_pb2.XSpace.FromString(log).planes:
        for event in (event for line in plane.lines for event in line.events):
            # Operations are called `name:type`, parts of TensorFlow `class::method` or `doing: it`.
            name, _, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if name and not name.endswith(":") and not kind.startswith(" "):
                row = next((row for part, row in _ROWS.items() if part in kind), _OTHER)
                found[row] = found.get(row, 0.0) + event.duration_ps / 1e12
    return found


if __name__ == "__main__":
    sys.exit(main())
