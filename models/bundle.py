"""The self-describing `.keras` file: one file is enough to use a model rightly."""

import io
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import keras
from keras import ops

from models import ModelError

FORMAT = 1
# Of a file's members unpacked; the largest model of this project has a tenth of it.
MAX_BYTES = 1 << 30
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# Layers that hold code of whoever wrote the file, or load it from elsewhere.
_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_MODULES = ("keras.",)
# All that a model of this project needs of keras-hub; other classes there fetch files.
_HUB_CLASSES = {("keras_hub.src.models.deit.deit_backbone", "DeiTBackbone")}
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
    copy = model.__class__.from_config(_in_float32(model.get_config()))
    copy.set_weights(model.get_weights())
    path = Path(path)
    part = path.with_name(f".{path.stem}.part.keras")
    try:
        copy.save(part)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _in_float32(settings: object) -> object:
    """Return a model's configuration without mixed precision, which is slow but on GPUs."""
    if isinstance(settings, dict):
        return {key: _in_float32(value) for key, value in settings.items()}
    if isinstance(settings, list | tuple):
        return type(settings)(_in_float32(value) for value in settings)
    return "float32" if settings == "mixed_float16" else settings


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
    written_by = _check_archive(path)
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # a broken description fails wherever Keras first trips over it
        raise ModelError(
            f"{path} should be a model that train.py wrote, but Keras {keras.__version__} cannot "
            f"load it: {first_line(error)}{_advice(written_by)}"
        ) from error
    description = get_description(model)
    if description.format != FORMAT:
        raise ModelError(
            f"{path} has description format {description.format}, expected {FORMAT}; train it "
            "again with this version"
        )
    side, classes = description.image_size, len(description.class_names)
    expected = ((None, side, side, 3), (None, classes))
    received = (model.input_shape, model.output_shape)
    if received != expected:
        raise ModelError(
            f"{path} should take {expected[0]} and give {expected[1]}, as it describes itself, "
            f"received {received[0]} and {received[1]}; train it again"
        )
    return model


def _check_archive(path: Path) -> str:
    """Look at a file before Keras makes anything of it; returns the Keras version that wrote it.

    A model is a program. Keras's safe mode refuses the code of Lambda layers; here all else is
    refused that a model of this project does not need.
    """
    foreign = f"{path} should be a .keras file that train.py wrote, but "
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {item.filename: item.file_size for item in archive.infolist()}
            if set(sizes) != _MEMBERS or len(archive.infolist()) != len(_MEMBERS):
                raise ModelError(f"{foreign}it holds {', '.join(sorted(sizes))[:200]}")
            if sum(sizes.values()) > MAX_BYTES:
                raise ModelError(
                    f"{foreign}unpacked it would have {sum(sizes.values()):,} bytes, at most "
                    f"{MAX_BYTES:,} are taken"
                )
            settings = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
            weights = archive.read("model.weights.h5")
        for module, name in _classes(settings):
            if (module, name) in _HUB_CLASSES:
                import_keras_hub(str(path))
                continue
            ours = name == "ClassProbabilities"
            known = module in (None, "keras", "builtins") or module.startswith(_MODULES)
            if name in _CODE or not (known or ours):
                raise ModelError(f"{foreign}it holds a {name} of {module}, which may run any code")
        with h5py.File(io.BytesIO(weights)) as file:
            _check_weights(file, foreign)
        return str(metadata.get("keras_version", ""))
    except ModelError:
        raise
    except Exception as error:  # broken archives, texts and tables fail in many ways
        raise ModelError(f"{foreign}it is damaged: {first_line(error)}; copy it anew") from error


def import_keras_hub(user: str):
    """Return keras-hub, which only some models need.

    Args:
        user: what needs it, for people.

    Raises:
        ModelError: it is not installed, or cannot be used with what is.
    """
    try:
        import keras_hub
    except ImportError as error:
        raise ModelError(
            f"{user} needs keras-hub ({first_line(error)}): pip install -r requirements-vit.txt"
        ) from error
    return keras_hub


def _classes(settings: object) -> Iterator[tuple[str | None, str]]:
    """Walk through a model's configuration; yields module and name of all that it will build."""
    waiting = [settings]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                module = item.get("module")
                name, registered = str(item["class_name"]), str(item.get("registered_name") or "")
                yield None if module is None else str(module), name
                # Keras looks by this name first, and would build that class instead.
                if registered and registered.rpartition(">")[2] != name:
                    yield registered, registered.rpartition(">")[2]
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _check_weights(group: h5py.Group, foreign: str) -> int:
    """Refuse weights that lie in other files or unpack to too much; returns their bytes."""
    total = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ModelError(f"{foreign}its weights {group.name}/{name} lie elsewhere")
        item = group[name]
        if isinstance(item, h5py.Group):
            total += _check_weights(item, foreign)
        elif item.external or item.is_virtual:
            raise ModelError(f"{foreign}its weights {item.name} lie in another file")
        else:
            total += item.nbytes
        if total > MAX_BYTES:
            raise ModelError(f"{foreign}its weights unpack to more than {MAX_BYTES:,} bytes")
    return total


def _advice(written_by: str) -> str:
    if written_by == keras.__version__:
        return ""
    return f"; it was written by Keras {written_by}: pip install keras=={written_by}"


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
