"""Starting TensorFlow, once the arguments are known to be right."""

import contextlib
import os
import sys
from collections.abc import Iterator

# Keras imports these for wrappers that nothing here uses, which doubles the time of its import.
_NOT_NEEDED = ("sklearn", "pandas", "matplotlib")
_SILENT = "3"


def start_tensorflow() -> str:
    """Import TensorFlow as Keras's backend, without its start-up log.

    TensorFlow writes a dozen lines about CPU features and absent GPUs, part of them before any
    of its settings can stop it. Whoever sets `TF_CPP_MIN_LOG_LEVEL` sees them all.

    Returns:
        What it will compute on, for people: `GPU (2)` or `CPU (8 threads)`.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    with quiet():
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", _SILENT)
        return _import()


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


def _import() -> str:
    hidden = [name for name in _NOT_NEEDED if name not in sys.modules]
    try:
        # None makes an import fail as if the package were not installed.
        sys.modules.update(dict.fromkeys(hidden))
        import keras  # noqa: F401  (its import logs, too)
    finally:
        for name in hidden:
            del sys.modules[name]
    import tensorflow as tf

    # Listing and first use start the devices, which logs as well.
    gpus = tf.config.list_physical_devices("GPU")
    tf.constant(0)
    return f"GPU ({len(gpus)})" if gpus else f"CPU ({os.cpu_count()} threads)"
