"""What a `.keras` file may contain: checks on a file before Keras loads it.

A model is a program. Keras's safe mode refuses the code of Lambda layers; these checks refuse
everything else that a model of this project does not need.
"""

from __future__ import annotations

import contextlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from models import MAX_BYTES, ModelError
from models.backend import import_keras_hub
from models.description import find_description
from models.description_checks import check_description
from models.hdf5 import check_hdf5
from support.files import MAX_JSON_BYTES, first_line, parse_json

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# The modules and classes that the models of this project consist of. Others could run code, or read
# other files, in more ways than can be listed.
_ALLOWED_CLASSES = {
    (None, "__keras_tensor__"),
    ("keras", "DTypePolicy"),
    ("keras", "Functional"),
    ("keras", "Sequential"),
    ("keras.src.applications.convnext", "LayerScale"),
    ("keras.src.applications.inception_resnet_v2", "CustomScaleLayer"),
    ("keras.src.models.functional", "Functional"),
    ("keras.src.models.sequential", "Sequential"),
    ("keras.src.ops.numpy", "Add"),
    ("keras.src.ops.numpy", "Multiply"),
    ("models.bundle", "ClassProbabilities"),
    *(
        ("keras.initializers", name)
        for name in ("GlorotUniform", "HeNormal", "Ones", "VarianceScaling", "Zeros")
    ),
    *(
        ("keras.layers", name)
        for name in (
            *("Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate"),
            *("Conv2D", "Cropping1D", "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout"),
            *("GlobalAveragePooling2D", "InputLayer", "LayerNormalization", "MaxPooling2D"),
            *("Multiply", "Normalization", "ReLU", "Rescaling", "Reshape", "SeparableConv2D"),
            "ZeroPadding2D",
        )
    ),
}
# The only class of keras-hub that a model of this project needs; others download files.
_HUB_CLASS = ("keras_hub.src.models.deit.deit_backbone", "DeiTBackbone")


def check_archive(path: Path) -> tuple[dict, str]:
    """Check a `.keras` file that may have been written by anybody; nothing in it is executed.

    Args:
        path: a zip archive.

    Returns:
        The values of its `config.json`, and the version of Keras that wrote the file, empty if the
        file does not name it.

    Raises:
        ModelError: the file is damaged, has unexpected content, or needs a missing package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            config = parse_json(archive.read("config.json"))
            metadata = parse_json(archive.read("metadata.json"))
            weights = archive.read("model.weights.h5")
        needs_keras_hub = _check_classes(config)
        _check_description(config)
        check_hdf5(io.BytesIO(weights))
        written_by = str(metadata.get("keras_version", ""))
        # It becomes part of a command that the user may copy.
        if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}", written_by, re.ASCII):
            written_by = ""
    except ModelError as error:
        raise ModelError(f"{path}: {error}; use a model file that train.py wrote") from error
    except Exception as error:  # damaged archives, JSON and HDF5 fail in many ways
        raise ModelError(
            f"{path}: the file is damaged: {first_line(error)}; copy it again"
        ) from error
    if needs_keras_hub:
        import_keras_hub(str(path))
    return config, written_by


def _check_members(archive: zipfile.ZipFile) -> None:
    names = sorted(item.filename for item in archive.infolist())
    if names != sorted(_MEMBERS):
        raise ModelError(
            f"expected the files {', '.join(sorted(_MEMBERS))} in the archive, received "
            f"{', '.join(names)[:200]}"
        )
    size = sum(item.file_size for item in archive.infolist())
    if size > MAX_BYTES:
        raise ModelError(
            f"expected at most {MAX_BYTES:,} bytes after decompression, received {size:,}"
        )
    for item in archive.infolist():
        if item.filename.endswith(".json") and item.file_size > MAX_JSON_BYTES:
            raise ModelError(
                f"expected at most {MAX_JSON_BYTES:,} bytes in {item.filename}, received "
                f"{item.file_size:,}"
            )


def _check_description(config: object) -> None:
    """Check the description of a model before Keras builds anything from it."""
    with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
        check_description(find_description(config))


def _check_classes(config: object) -> bool:
    """Refuse classes that no model of this project has; returns whether it needs keras-hub."""
    needs_keras_hub = False
    for module, name in _list_classes(config):
        if (module, name) == _HUB_CLASS:
            needs_keras_hub = True
            continue
        if (module, name) not in _ALLOWED_CLASSES:
            raise ModelError(
                f"expected layers that models of this project have, received {name[:100]} from "
                f"{str(module)[:100]}, which could run code or read other files"
            )
    return needs_keras_hub


def _list_classes(config: object) -> Iterator[tuple[str | None, str]]:
    """Yield the module and name of every class that Keras will build from a configuration."""
    pending = [config]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            if "class_name" in item:
                module = item.get("module")
                name, registered = str(item["class_name"]), str(item.get("registered_name") or "")
                yield None if module is None else str(module), name
                # Keras looks this name up first, and builds the class that it finds.
                if registered and registered.rpartition(">")[2] != name:
                    yield registered, registered.rpartition(">")[2]
            pending += item.values()
        elif isinstance(item, list):
            pending += item
