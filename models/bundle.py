"""The self-describing `.keras` file: one file is enough to use a model rightly."""

import os
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
from keras import ops

from models import ModelError

FORMAT = 1
PIXEL_SCALING = "inside the model; feed 0..255"


@dataclass(frozen=True)
class Description:
    """What a model file says about itself.

    Attributes:
        model: name of the architecture.
        class_names: of the outputs, in order.
        image_size: side of the input, pixels.
        temperature: divides the logits before the softmax.
        pixel_scaling: what to do to pixels before the model.
        train_image_ids: images the model learned from.
        train_lesion_ids: their lesions.
        validation_image_ids: images that chose the model among its epochs.
        validation_lesion_ids: their lesions.
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
    format: int = FORMAT


@keras.saving.register_keras_serializable(package="ham10000")
class ClassProbabilities(keras.layers.Layer):
    """Turn logits into probabilities, and carry the description of the model.

    Args:
        description: the fields of a `Description`, as a dict.
    """

    def __init__(self, description: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items()}
        self.description = Description(**values)

    def call(self, logits):
        return ops.softmax(logits / self.description.temperature, axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        return {**super().get_config(), "description": asdict(self.description)}


def get_description(model: keras.Model) -> Description:
    """Return what a model says about itself.

    Raises:
        ModelError: the model's last layer carries no description.
    """
    layer = model.layers[-1]
    if not isinstance(layer, ClassProbabilities):
        raise ModelError(
            "the model should end in a ClassProbabilities layer with its description, received "
            f"{type(layer).__name__}; use a model that train.py wrote"
        )
    return layer.description


def set_split(
    model: keras.Model,
    *,
    train_image_ids: list[str],
    train_lesion_ids: list[str],
    validation_image_ids: list[str],
    validation_lesion_ids: list[str],
) -> None:
    """Write into a model's description what it learns from and what chooses it."""
    model.layers[-1].description = replace(
        get_description(model),
        train_image_ids=tuple(sorted(train_image_ids)),
        train_lesion_ids=tuple(sorted(set(train_lesion_ids))),
        validation_image_ids=tuple(sorted(validation_image_ids)),
        validation_lesion_ids=tuple(sorted(set(validation_lesion_ids))),
    )


def set_temperature(model: keras.Model, temperature: float) -> None:
    """Write a temperature into a model's description; it takes effect when the model is saved.

    Args:
        model: ends in `ClassProbabilities`.
        temperature: above 0.
    """
    if not temperature > 0:
        raise ValueError(f"a temperature should be above 0, received {temperature}")
    model.layers[-1].description = replace(get_description(model), temperature=temperature)


def save_model(model: keras.Model, path: str | os.PathLike) -> None:
    """Save weights, architecture and description as one `.keras` file, whole or not at all.

    Args:
        model: ends in `ClassProbabilities`.
        path: ends in `.keras`; replaced if it exists.

    Raises:
        ModelError: the model carries no description.
    """
    get_description(model)
    # A copy that was never compiled has no optimizer, whose state would triple the file.
    copy = model.__class__.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    path = Path(path)
    part = path.with_name(f".{path.stem}.part.keras")
    try:
        copy.save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_model(path: str | os.PathLike) -> keras.Model:
    """Load a model that `save_model` wrote.

    Args:
        path: a `.keras` file of this project.

    Returns:
        The model, not compiled; `get_description` tells what it is.

    Raises:
        ModelError: there is no such file, or it is no model of this project.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"expected a model file, found none at {path}; train.py writes one")
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path} should be a .keras file that train.py wrote, received another format"
        )
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ModelError(
            f"{path} should be a model that train.py wrote, but Keras {keras.__version__} cannot "
            f"load it: {first_line(error)}"
        ) from error
    description = get_description(model)
    if description.format != FORMAT:
        raise ModelError(
            f"{path} has description format {description.format}, expected {FORMAT}; train it "
            "again with this version"
        )
    return model


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def newest_model(runs_dir: str | os.PathLike) -> Path | None:
    """Return the model file of the newest run, None where no run has one.

    Args:
        runs_dir: folder of the run directories.
    """
    found = Path(runs_dir).glob("*/model.keras")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)
