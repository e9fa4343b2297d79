"""The self-describing model file: one `.keras` file is all that is needed to use a model."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from models import ModelError
from models.archive import check_archive
from models.checksums import is_bundled
from models.description import Description, read_description
from models.description_checks import check_description
from models.footprint import check_footprint
from support.files import first_line, replacing

# Name of the last Dense layer.
HEAD = "logits"


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


def add_features(model: keras.Model) -> keras.Model:
    """Return a model of two outputs: probabilities, and the input of the layer `logits`.

    Args:
        model: as `build_model` builds it; both share their layers.

    Raises:
        ModelError: the model has no such layer.
    """
    if HEAD not in {layer.name for layer in model.layers}:
        raise ModelError(
            f"expected a model whose last Dense layer is named {HEAD}, found no such layer; "
            "train the model again"
        )
    outputs = [model.outputs[0], model.get_layer(HEAD).input]
    # A name of its own would be numbered, and so would the parts of an exported file.
    return keras.Model(model.inputs, outputs, name=model.name)


def update_description(model: keras.Model, **changes: Any) -> None:
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
    # The checks take a fraction of a second; a model that comes with the project has passed them.
    config, written_by = (None, "") if is_bundled(path) else check_archive(path)
    try:
        if config is not None:
            check_footprint(config)
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        if not isinstance(model, keras.Model):
            raise ModelError(f"expected a model, received a {type(model).__name__}")
        description = get_description(model)
        check_description(description)
        received = (model.input_shape, model.output_shape)
    except ModelError as error:
        raise ModelError(f"{path}: {error}; use a model file that train.py wrote") from error
    except Exception as error:  # a broken configuration fails wherever Keras first reads it
        remedy = "use a model file that train.py wrote"
        if written_by and written_by != keras.__version__:
            remedy = f"it was written by Keras {written_by}: pip install keras=={written_by}"
        raise ModelError(
            f"{path}: Keras {keras.__version__} cannot load the model: {first_line(error)}; "
            f"{remedy}"
        ) from error
    size, classes = description.image_size, len(description.class_names)
    expected = ((None, size, size, 3), (None, classes))
    if received != expected:
        raise ModelError(
            f"{path}: expected the input {expected[0]} and the output {expected[1]}, as its "
            f"description says, received {received[0]} and {received[1]}; train the model again"
        )
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError(f"{path}: the weights contain NaN or infinity; train the model again")
    return model
