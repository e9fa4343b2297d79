"""The self-describing model file: one `.keras` file is all that is needed to use a model."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from models import ModelError
from models.archive import check_archive
from support.files import first_line, replacing

# Format 2 added the fields for warnings, format 3 renamed them.
FORMAT = 3
_OLD_FORMATS = (1, 2)
_OLD_NAMES = {"unsure_below": "confidence_threshold", "unsure_accuracy": "threshold_accuracy"}
# A batch of larger images takes gigabytes.
MAX_IMAGE_SIZE = 2048
PIXEL_SCALING = "inside the model; feed 0..255"


@dataclass(frozen=True)
class Description:
    """What a model file says about itself.

    Attributes:
        model: name of the architecture.
        class_names: of the outputs, in order.
        image_size: side length of the input, pixels.
        temperature: divides the logits before the softmax.
        pixel_scaling: what to do with pixels before they enter the model.
        train_image_ids: images of the training split.
        train_lesion_ids: their lesions.
        validation_image_ids: images of the validation split.
        validation_lesion_ids: their lesions.
        confidence_threshold: predictions of lower confidence are uncertain; None if unknown.
        threshold_accuracy: fraction of correct predictions among the validation images with at
            least this confidence.
        detector: for out-of-distribution images, see `models.novelty.read_detector`; None without.
        format: version of this description.
    """

    model: str
    class_names: tuple[str, ...]
    image_size: int
    temperature: float = 1.0
    pixel_scaling: str = PIXEL_SCALING
    train_image_ids: tuple[str, ...] = ()
    train_lesion_ids: tuple[str, ...] = ()
    validation_image_ids: tuple[str, ...] = ()
    validation_lesion_ids: tuple[str, ...] = ()
    confidence_threshold: float | None = None
    threshold_accuracy: float | None = None
    detector: dict | None = None
    format: int = FORMAT


def read_description(values: Mapping[str, Any]) -> Description:
    """Build a description from the values in a file, of this or an older format.

    The values are not checked; see `check_description`.

    Args:
        values: the fields as JSON values.

    Raises:
        TypeError: there are unknown fields, or some are missing.
    """
    if values.get("format") in _OLD_FORMATS:
        values = {_OLD_NAMES.get(name, name): value for name, value in values.items()}
        values["format"] = FORMAT
    return Description(
        **{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    )


def check_description(description: Description) -> None:
    """Refuse a description with values that cannot be used.

    Args:
        description: from a file that may have been written by anybody.

    Raises:
        ModelError: its format is unknown, or a value cannot be used.
    """
    if description.format != FORMAT:
        received = str(description.format)[:50]
        raise ModelError(f"expected description format 1 to {FORMAT}, received {received}")
    strings = ("a list of strings", _are_strings)
    fraction = ("a fraction in 0..1 or null", _is_fraction_or_none)
    checks = {
        "model": ("a string", lambda value: isinstance(value, str)),
        "pixel_scaling": ("a string", lambda value: isinstance(value, str)),
        "class_names": ("two or more different strings", _are_class_names),
        "train_image_ids": strings,
        "train_lesion_ids": strings,
        "validation_image_ids": strings,
        "validation_lesion_ids": strings,
        "image_size": (
            f"an integer from 1 to {MAX_IMAGE_SIZE}",
            lambda value: type(value) is int and 1 <= value <= MAX_IMAGE_SIZE,
        ),
        "temperature": (
            "a number above 0",
            lambda value: type(value) in (int, float) and 0 < value <= sys.float_info.max,
        ),
        "confidence_threshold": fraction,
        "threshold_accuracy": fraction,
        "detector": ("an object or null", lambda value: isinstance(value, dict | None)),
    }
    for name, (expected, is_valid) in checks.items():
        value = getattr(description, name)
        if not is_valid(value):
            raise ModelError(
                f"expected {expected} as {name} in its description, received {value!r:.50}"
            )
    if (description.confidence_threshold is None) != (description.threshold_accuracy is None):
        raise ModelError(
            "expected both or neither of confidence_threshold and threshold_accuracy in its "
            "description, received one"
        )


def _are_strings(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, str) for item in value)


def _are_class_names(value: object) -> bool:
    return _are_strings(value) and 1 < len(set(value)) == len(value)


def _is_fraction_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and 0 <= value <= 1)


@keras.saving.register_keras_serializable(package="ham10000")
class ClassProbabilities(keras.layers.Layer):
    """Turns logits into probabilities and carries the description of the model.

    Args:
        description: the fields of a `Description`, of this or an older format.
        kwargs: of every Keras layer, such as `name`.
    """

    def __init__(self, description: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.description = read_description(description)

    def call(self, logits):
        """Return probabilities, float `[batch, classes]`, for logits of the same shape."""
        return ops.softmax(logits / self.description.temperature, axis=-1)

    def compute_output_shape(self, input_shape):
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict:
        """Return what the layer is rebuilt from."""
        return {**super().get_config(), "description": asdict(self.description)}


def get_description(model: keras.Model) -> Description:
    """Return the description inside a model.

    Raises:
        ModelError: the model does not end in `ClassProbabilities`.
    """
    layer = model.layers[-1]
    if not isinstance(layer, ClassProbabilities):
        raise ModelError(
            "expected a model that describes its classes and input, received one without a "
            "description"
        )
    return layer.description


def describe(model: keras.Model, **changes: Any) -> None:
    """Replace fields of the description inside a model.

    A temperature takes effect once the model is saved and loaded again.

    Args:
        model: ends in `ClassProbabilities`.
        changes: new values by the name of the field; ids are sorted, duplicates dropped.

    Raises:
        ValueError: the temperature is not above 0.
        TypeError: there is no such field.
    """
    for name in changes:
        if name.endswith("_ids"):
            changes[name] = tuple(sorted(set(changes[name])))
    description = replace(get_description(model), **changes)
    if not description.temperature > 0:
        raise ValueError(f"temperature should be above 0, received {description.temperature}")
    model.layers[-1].description = description


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Save weights, architecture and description as one `.keras` file, whole or not at all.

    Args:
        model: ends in `ClassProbabilities`.
        path: ends in `.keras`; replaced if it exists.

    Raises:
        ModelError: the model has no description.
    """
    get_description(model)
    # A copy that was never compiled has no optimizer state, which would triple the size.
    copy = model.__class__.from_config(_in_float32(model.get_config()))
    copy.set_weights(model.get_weights())
    with replacing(path) as temporary:
        copy.save(temporary)


def _in_float32(config: object) -> object:
    """Return a configuration without mixed precision, which is slow on CPUs."""
    if isinstance(config, dict):
        return {key: _in_float32(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_in_float32(value) for value in config)
    return "float32" if config == "mixed_float16" else config


def load_model(path: str | os.PathLike) -> keras.Model:
    """Load a model that `save_model` wrote.

    Args:
        path: a `.keras` file, which may have been written by anybody.

    Returns:
        The model, not compiled; `get_description` describes it.

    Raises:
        ModelError: there is no such file, or it is not a model of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: model file not found; check the path, or train a model")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path}: expected a .keras file, received another format; use a model file that "
            "train.py wrote"
        )
    written_by = check_archive(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        description = get_description(model)
        check_description(description)
    except ModelError as error:
        raise ModelError(f"{path}: {error}; use a model file that train.py wrote") from error
    except Exception as error:  # a broken configuration fails wherever Keras first reads it
        remedy = "use a model file that train.py wrote"
        if written_by != keras.__version__:
            remedy = f"it was written by Keras {written_by}: pip install keras=={written_by}"
        raise ModelError(
            f"{path}: Keras {keras.__version__} cannot load the model: {first_line(error)}; "
            f"{remedy}"
        ) from error
    size, classes = description.image_size, len(description.class_names)
    expected = ((None, size, size, 3), (None, classes))
    received = (model.input_shape, model.output_shape)
    if received != expected:
        raise ModelError(
            f"{path}: expected the input {expected[0]} and the output {expected[1]}, as its "
            f"description says, received {received[0]} and {received[1]}; train the model again"
        )
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError(f"{path}: the weights contain NaN or infinity; train the model again")
    return model
