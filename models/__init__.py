"""What a model is: build it, save and load it, ask it, explain it, convert it."""

from support import InputError

# What a model can be exported to, the default first, and the ending of its file; none for a folder.
EXPORT_FORMATS = {"litert": ".tflite", "onnx": ".onnx", "saved_model": ""}
# Of the content of a model file; ConvNeXt-Tiny, the largest of `BACKBONES`, has a tenth of it.
MAX_BYTES = 1 << 30
# What can run a `.keras` file, see `models.engines`; the default first.
ENGINES = ("auto", "keras", "litert")
# Number formats of a `.tflite` file, the default first.
QUANTIZATIONS = ("float32", "float16", "int8")


class ModelError(InputError):
    """A model or its weights cannot be used; the message says what to do."""


class ModelWarning(UserWarning):
    """A model can be used, but perhaps not in the way that the user expects."""


class WeightsUnavailableError(ModelError):
    """Pretrained weights are neither in Keras's cache nor can they be downloaded."""
