"""Starting TensorFlow and choosing its devices.

Scripts import this module before TensorFlow, so its functions import TensorFlow and Keras late.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

from models import ModelError
from support.files import first_line

if TYPE_CHECKING:
    import tensorflow as tf

# Keras imports these for wrappers that this project does not use; that doubles its import time.
_NOT_NEEDED = ("sklearn", "pandas", "matplotlib")
_SILENT = "3"
# Of NVIDIA, of Windows to its Linux, and of AMD.
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
# The first two cap the epochs and steps of every `fit`; the third needs a package for JAX.
_KERAS_VARIABLES = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")


def start_tensorflow(*, one_at_a_time: bool = False) -> None:
    """Import TensorFlow as Keras's backend, without its start-up log.

    TensorFlow logs a dozen lines about CPU features and missing GPUs, some of them before any of
    its settings takes effect. Set `TF_CPP_MIN_LOG_LEVEL` to see them.

    Keras gets the settings that the models need, whatever its file `keras.json` and its environment
    variables say.

    Args:
        one_at_a_time: whether operations run one after the other on a CPU, which makes gradients
            identical in every run, and training steps slower. The environment variable
            `TF_NUM_INTEROP_THREADS` takes precedence.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    for name in _KERAS_VARIABLES:
        os.environ.pop(name, None)
    with quiet():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _SILENT)
        _import_tensorflow(one_at_a_time)


def has_gpu() -> bool:
    """Tell whether TensorFlow has a GPU, without importing it where there cannot be one."""
    if not (any(map(os.path.exists, _GPU_DEVICES)) or _is_installed("tensorflow-metal")):
        return False
    start_tensorflow()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


class _Silence:
    """What `quiet` shares: several threads may ask for silence at the same time."""

    lock = threading.Lock()
    users = 0
    stderr = -1


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the logs of native libraries off stderr, unless `TF_CPP_MIN_LOG_LEVEL` asks for them."""
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", _SILENT) != _SILENT:
        yield
        return
    with _Silence.lock:
        if _Silence.users == 0:
            sys.stderr.flush()
            _Silence.stderr = os.dup(2)
            devnull = os.open(os.devnull, os.O_WRONLY)
            os.dup2(devnull, 2)
            os.close(devnull)
        _Silence.users += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.users -= 1
            if _Silence.users == 0:
                sys.stderr.flush()
                os.dup2(_Silence.stderr, 2)
                os.close(_Silence.stderr)


def _import_tensorflow(one_at_a_time: bool) -> None:
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    try:
        # None makes an import fail as if the package were not installed.
        sys.modules.update(dict.fromkeys(hidden))
        with _without_keras_json():
            import keras  # it logs, too
    finally:
        for name in hidden:
            del sys.modules[name]
    import tensorflow as tf

    # In case something imported Keras before.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy("float32")

    if one_at_a_time and not tf.config.list_physical_devices("GPU"):
        # Operations that run in parallel free their buffers in varying order, and AddN starts its
        # sum with the first free one: sums of three or more gradients would differ in their last
        # digits. One operation at a time still uses all cores.
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # The first use initializes the devices, which logs as well.
    tf.constant(0)


@contextlib.contextmanager
def _without_keras_json() -> Iterator[None]:
    """Keep Keras from reading `keras.json`, with which its import can fail, or writing one."""
    home = os.environ.get("KERAS_HOME")
    # No folder, so nothing is in it.
    os.environ["KERAS_HOME"] = os.devnull
    try:
        yield
    finally:
        del os.environ["KERAS_HOME"]
        if home is not None:
            os.environ["KERAS_HOME"] = home


def choose_strategy(name: str, *, batch_size: int) -> tuple[tf.distribute.Strategy, str]:
    """Choose how to distribute a training over devices.

    Args:
        name: `none` for one device, `mirrored` for all visible GPUs: each has a copy of the model
            and processes its part of every batch; all copies get the mean of the gradients.
        batch_size: images in a batch, on all devices together.

    Returns:
        The strategy, in whose scope the model must be built, and a description for display.

    Raises:
        ModelError: the batch size is not a multiple of the number of GPUs.
    """
    import tensorflow as tf

    gpus = len(tf.config.list_physical_devices("GPU"))
    device = "GPU" if gpus else f"CPU ({os.cpu_count()} threads)"
    if name == "none":
        hint = f" (1 of {gpus}; the strategy mirrored uses all)" if gpus > 1 else ""
        return tf.distribute.get_strategy(), device + hint
    if gpus > 1:
        if batch_size % gpus:
            # The mean of unequal parts would weight their images differently.
            raise ModelError(
                f"expected a batch size that is a multiple of the {gpus} GPUs, received "
                f"{batch_size}; try {gpus * max(1, batch_size // gpus)}"
            )
        return tf.distribute.MirroredStrategy(), f"{gpus} GPUs, mirrored"
    found = "one GPU" if gpus else "no GPU"
    return tf.distribute.get_strategy(), (
        f"{device} (the strategy mirrored found {found} and changes nothing)"
    )


def check_mixed_precision() -> None:
    """Check that float16 is fast on the GPUs of this machine.

    Raises:
        ModelError: there is no GPU, or one without fast float16.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise ModelError("expected a GPU for mixed precision, found none; train in float32")
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        capability = details.get("compute_capability", (0, 0))
        # The first with float16 units: https://www.tensorflow.org/guide/mixed_precision
        if capability < (7, 0):
            raise ModelError(
                "expected GPUs of compute capability 7.0 or higher for mixed precision, received "
                f"{details.get('device_name', gpu.name)} with {capability[0]}.{capability[1]}; "
                "train in float32"
            )


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Set the precision of the layers that are built inside the block.

    Args:
        mixed: whether they compute in float16, with float32 weights; else nothing changes.
    """
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16" if mixed else before)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def import_keras_hub(user: str) -> ModuleType:
    """Import keras-hub, which only the model `vit` needs.

    Args:
        user: what needs it, for the message.

    Returns:
        The package.

    Raises:
        ModelError: it is not installed, or does not work with the installed packages.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ModelError(
            f"{user} needs keras-hub ({first_line(error)}): pip install -r requirements-vit.txt"
        ) from error
    return keras_hub


def import_onnx(user: str) -> tuple[ModuleType, ModuleType]:
    """Import the packages that read and run ONNX files, which are optional.

    Args:
        user: what needs them, for the message.

    Returns:
        The packages onnx and onnxruntime.

    Raises:
        ModelError: one of them is not installed, or does not work with the installed packages.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise _missing_onnx(user, error) from error
    return onnx, onnxruntime


def check_onnx_converter(user: str) -> None:
    """Check that the packages with which Keras writes ONNX files are installed.

    Args:
        user: what needs them, for the message.

    Raises:
        ModelError: one of them is not installed, or does not work with the installed packages.
    """
    import_onnx(user)
    try:
        with quiet():
            import tf2onnx  # noqa: F401
    except ImportError as error:
        raise _missing_onnx(user, error) from error


def _missing_onnx(user: str, error: ImportError) -> ModelError:
    return ModelError(
        f"{user} needs onnx, onnxruntime and tf2onnx ({first_line(error)}): pip install -r "
        "requirements-onnx.txt"
    )
