"""The self-describing `.keras` file: one file is enough to use a model rightly."""

import io
import json
import math
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops

from models import ModelError

# 2 added what the warnings need; files of format 1 have none, and serve as before.
FORMAT = 2
_FORMATS = (1, 2)
# Of a file's members unpacked; the largest model of this project has a tenth of it.
MAX_BYTES = 1 << 30
# More takes gigabytes for a batch of pictures.
MAX_SIDE = 2048
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# What holds code of whoever wrote the file, loads it from elsewhere, or reads other files.
_CODE = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_CODE |= {"function", "__typespec__", "StringLookup", "IntegerLookup", "TextVectorization"}
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
        unsure_below: confidence below which an answer comes with a warning; None without one.
        unsure_accuracy: share of the validation images answered rightly among those with at least
            this confidence.
        detector: of pictures unlike those of the training, for `models.novelty.read_detector`;
            None without one.
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
    unsure_below: float | None = None
    unsure_accuracy: float | None = None
    detector: dict | None = None
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
    # A models.tflite.TFLiteModel has it at hand.
    described = getattr(model, "description", None)
    if isinstance(described, Description):
        return described
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


def set_warnings(
    model: keras.Model, *, unsure_below: float, unsure_accuracy: float, detector: dict
) -> None:
    """Write into a model's description what it warns by.

    Args:
        model: ends in `ClassProbabilities`.
        unsure_below: from `models.calibration.fit_confidence_threshold`.
        unsure_accuracy: the accuracy that it was fitted for.
        detector: from `models.novelty.NoveltyDetector.to_config`.
    """
    model.layers[-1].description = replace(
        get_description(model),
        unsure_below=unsure_below,
        unsure_accuracy=unsure_accuracy,
        detector=detector,
        format=FORMAT,
    )


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
    check_description(description, path)
    side, classes = description.image_size, len(description.class_names)
    expected = ((None, side, side, 3), (None, classes))
    received = (model.input_shape, model.output_shape)
    if received != expected:
        raise ModelError(
            f"{path} should take {expected[0]} and give {expected[1]}, as it describes itself, "
            f"received {received[0]} and {received[1]}; train it again"
        )
    if not all(np.isfinite(weights).all() for weights in model.get_weights()):
        raise ModelError(f"{path} has weights that are no numbers; train it again")
    return model


def check_description(description: Description, path: Path) -> None:
    """Refuse a description that whoever uses the model would trip over.

    Args:
        description: as a file gave it.
        path: the file, for the message.

    Raises:
        ModelError: it is of another format, or a value cannot be used.
    """
    if description.format not in _FORMATS:
        raise ModelError(
            f"{path} has description format {str(description.format)[:50]}, expected {FORMAT}; "
            "train it again with this version"
        )
    names, ids = description.class_names, ("train_", "validation_")
    lists = [getattr(description, f"{a}{b}") for a in ids for b in ("image_ids", "lesion_ids")]
    texts = [(description.model,), (description.pixel_scaling,), names, *lists]
    side, temperature = description.image_size, description.temperature
    checks = {
        "texts": all(
            isinstance(values, tuple) and all(isinstance(text, str) for text in values)
            for values in texts
        ),
        "class_names": isinstance(names, tuple) and 1 < len(set(names)) == len(names),
        "image_size": type(side) is int and 1 <= side <= MAX_SIDE,
        "temperature": type(temperature) in (int, float)
        and temperature > 0
        and math.isfinite(temperature),
    }
    wrong = [name for name, right in checks.items() if not right]
    if wrong:
        raise ModelError(
            f"{path} should describe itself as train.py does, but its {wrong[0]} cannot be used; "
            "train it again"
        )
    for name in ("unsure_below", "unsure_accuracy"):
        value = getattr(description, name)
        if value is not None and not (isinstance(value, int | float) and 0 <= value <= 1):
            raise ModelError(
                f"{path} should have a share of 0 to 1 as {name}, received {str(value)[:50]}; "
                "train it again"
            )
    if (description.unsure_below is None) != (description.unsure_accuracy is None):
        raise ModelError(f"{path} has half of what a warning needs; train it again")
    if not isinstance(description.detector, dict | None):
        raise ModelError(f"{path} has a detector that is none; train it again")


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
            known = module in (None, "keras") or module.startswith("keras.")
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


def choose_model(
    model_path: str | None, *, runs_dir: str, shipped: str, root: Path
) -> tuple[Path, str]:
    """Return the model file to use, and how to name it: the one asked for, else the newest run's,
    else the one that comes with the project.

    Args:
        model_path: the one asked for, None for none.
        runs_dir: folder of the run directories.
        shipped: the model that comes with the project, relative to `root`.
        root: folder of the project.
    """
    if model_path is not None:
        return Path(model_path), model_path
    newest = newest_model(runs_dir)
    if newest is not None:
        return newest, f"{newest} (the newest run)"
    return root / shipped, f"{shipped} (the shipped one; {runs_dir}/ has no run)"
