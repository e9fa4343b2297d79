"""Starting TensorFlow, once the arguments are known to be right."""

import contextlib
import os
import sys
from collections.abc import Iterator

from models import ModelError

# Keras imports these for wrappers that nothing here uses, which doubles the time of its import.
_NOT_NEEDED = ("sklearn", "pandas", "matplotlib")
_SILENT = "3"


def start_tensorflow(*, repeatable: bool = False) -> str:
    """Import TensorFlow as Keras's backend, without its start-up log.

    TensorFlow writes a dozen lines about CPU features and absent GPUs, part of them before any
    of its settings can stop it. Whoever sets `TF_CPP_MIN_LOG_LEVEL` sees them all.

    Args:
        repeatable: whether gradients on a CPU have to be the same in every run, for which steps of
            a training take about a sixth longer. Whoever sets `TF_NUM_INTEROP_THREADS` decides
            otherwise.

    Returns:
        What it will compute on, for people: `GPU (2)` or `CPU (8 threads)`.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _SILENT)
        return _import(repeatable)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep native libraries' logs off stderr; exceptions pass as ever.

    They are shown where `TF_CPP_MIN_LOG_LEVEL` asks for them.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", _SILENT) != _SILENT:
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    devnull = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(devnull, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(devnull)


def _import(repeatable: bool) -> str:
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    try:
        # None makes an import fail as if the package were not installed.
        sys.modules.update(dict.fromkeys(hidden))
        import keras  # noqa: F401  (its import logs, too)
    finally:
        for name in hidden:
            del sys.modules[name]
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if repeatable and not gpus:
        # One operation after the other, each on all cores, and runs repeat. Side by side they free
        # their buffers in no fixed order, AddN begins its sum with the first that is free, and so
        # three or more gradients, as of BatchNorm, come to sums that differ in their last digits.
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # First use starts the devices, which logs as well.
    tf.constant(0)
    return f"GPU ({len(gpus)})" if gpus else f"CPU ({os.cpu_count()} threads)"


def choose_strategy(name: str, *, batch_size: int):
    """Return how a training is spread over devices, and on what it runs, for people.

    Args:
        name: `none` for one device, `mirrored` for all visible GPUs: each has a copy of the model
            and computes its share of every batch; the mean of the gradients goes to all copies.
        batch_size: images in a batch, on all devices together.

    Returns:
        A `tf.distribute.Strategy` in whose scope the model is to be built, and a line.

    Raises:
        ModelError: the batch cannot be divided evenly.
    """
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    device = "GPU" if gpus else f"CPU ({os.cpu_count()} threads)"
    if name == "none":
        hint = f" (1 of {gpus}; --strategy mirrored takes all)" if gpus > 1 else ""
        return tf.distribute.get_strategy(), device + hint
    if gpus > 1:
        if batch_size % gpus:
            # The mean of unequal shares would weigh their images differently.
            raise ModelError(
                f"--batch_size should be a multiple of the {gpus} GPUs for --strategy mirrored, "
                f"received {batch_size}"
            )
        return tf.distribute.MirroredStrategy(), f"{gpus} GPUs, mirrored"
    found = "one GPU" if gpus else "no GPU"
    return tf.distribute.get_strategy(), (
        f"{device} (--strategy mirrored found {found}: the same training as without it)"
    )


def check_mixed_precision() -> None:
    """Find out whether this machine gains from float16.

    Raises:
        ModelError: there is no GPU, or one without fast float16.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise ModelError("--mixed_precision needs a GPU, found none; leave it out")
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        # The first with cores for float16: https://www.tensorflow.org/guide/mixed_precision
        if capability < (7, 0):
            raise ModelError(
                "--mixed_precision needs GPUs of compute capability 7.0 or higher, received "
                f"{details.get('device_name', gpu.name)} with {capability[0]}.{capability[1]}; "
                "leave it out"
            )


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Let the layers that are built inside compute in float16, if so asked; weights are float32."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
