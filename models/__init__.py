"""What a model is: build it, save and load it, ask it, explain it, convert it."""

from support import InputError

# Number formats of a `.tflite` file, the default first.
QUANTIZATIONS = ("float32", "float16", "int8")


class ModelError(InputError):
    """A model or its weights cannot be used; the message says what to do."""


class WeightsUnavailableError(ModelError):
    """Pretrained weights are neither in Keras's cache nor can they be downloaded."""
