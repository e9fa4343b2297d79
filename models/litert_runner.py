"""Running a Keras model with LiteRT, which takes about half of Keras's time on a CPU."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from models.backend import quiet
from models.litert import open_interpreter
from models.tflite_conversion import to_flatbuffer


class LiteRunner:
    """Predicts what a Keras model predicts, up to rounding; for one thread at a time.

    Args:
        model: from `load_model`; later changes of its weights are not seen.

    Raises:
        Exception: TensorFlow's converter does not know one of its operations, and says so in many
            ways; see `build_runner`.
    """

    def __init__(self, model: keras.Model) -> None:
        flatbuffer = to_flatbuffer(model, model.input_shape[1], "float32", dtype=tf.float32)
        with quiet():
            self._interpreter = open_interpreter(flatbuffer)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        self._shape: tuple[int, ...] = ()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return the probabilities of a batch, float32 `[images, classes]`.

        Args:
            images: float32 `[images, image_size, image_size, 3]`, 0..255.
        """
        if images.shape != self._shape:
            self._interpreter.resize_tensor_input(self._input, images.shape)
            self._interpreter.allocate_tensors()
            self._shape = images.shape
        self._interpreter.set_tensor(self._input, images)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)


def build_runner(model: keras.Model) -> LiteRunner | None:
    """Return a runner for a model; None where Keras has to run it.

    That is on a GPU, with several devices, and for operations that the converter does not know,
    such as those of a transformer.

    Args:
        model: from `load_model`.
    """
    if tf.config.list_logical_devices("GPU") or model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    try:
        return LiteRunner(model)
    except Exception:  # the converter raises whatever its passes raise
        return None
