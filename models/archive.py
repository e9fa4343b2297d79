"""What a `.keras` file may contain: checks on a file before Keras loads it.

A model is a program. Keras's safe mode refuses the code of Lambda layers; these checks refuse
everything else that a model of this project does not need.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py

from models import ModelError
from models.backend import import_keras_hub
from support.files import first_line

# After decompression; the largest model of this project has a tenth of it.
MAX_BYTES = 1 << 30
_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
# Classes of Keras that hold code of the file's author, load code, or read other files.
_UNSAFE_CLASSES = {"Lambda", "__lambda__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer"}
_UNSAFE_CLASSES |= {"FlaxLayer", "function", "__typespec__"}
_UNSAFE_CLASSES |= {"StringLookup", "IntegerLookup", "TextVectorization"}
# The only class of keras-hub that a model of this project needs; others download files.
_HUB_CLASS = ("keras_hub.src.models.deit.deit_backbone", "DeiTBackbone")


def check_archive(path: Path) -> str:
    """Check a `.keras` file that may have been written by anybody; nothing in it is executed.

    Args:
        path: a zip archive.

    Returns:
        The version of Keras that wrote the file; empty if the file does not name it.

    Raises:
        ModelError: the file is damaged, has unexpected content, or needs a missing package.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive)
            config = json.loads(archive.read("config.json"))
            metadata = json.loads(archive.read("metadata.json"))
            weights = archive.read("model.weights.h5")
        needs_keras_hub = _check_classes(config)
        with h5py.File(io.BytesIO(weights)) as file:
            check_weights(file)
        written_by = str(metadata.get("keras_version", ""))
    except ModelError as error:
        raise ModelError(f"{path}: {error}; use a model file that train.py wrote") from error
    except Exception as error:  # damaged archives, JSON and HDF5 fail in many ways
        raise ModelError(
            f"{path}: the file is damaged: {first_line(error)}; copy it again"
        ) from error
    if needs_keras_hub:
        import_keras_hub(str(path))
    return written_by


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


def _check_classes(config: object) -> bool:
    """Refuse classes that could run code; returns whether the model needs keras-hub."""
    needs_keras_hub = False
    for module, name in _list_classes(config):
        if (module, name) == _HUB_CLASS:
            needs_keras_hub = True
            continue
        from_keras = module in (None, "keras") or module.startswith("keras.")
        if name in _UNSAFE_CLASSES or not (from_keras or name == "ClassProbabilities"):
            raise ModelError(
                f"expected built-in layers of Keras, received {name} from {module}, which could "
                "run code or read other files"
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


def check_weights(group: h5py.Group) -> int:
    """Refuse weights stored in other files, or too large.

    Args:
        group: of an HDF5 file that may have been written by anybody.

    Returns:
        Their size in bytes.

    Raises:
        ModelError: the message names no file.
    """
    total = 0
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ModelError(
                f"expected weights inside the file, {group.name}/{name} is stored elsewhere"
            )
        item = group[name]
        if isinstance(item, h5py.Group):
            total += check_weights(item)
        elif item.external or item.is_virtual:
            raise ModelError(f"expected weights inside the file, {item.name} is stored elsewhere")
        else:
            total += item.nbytes
        if total > MAX_BYTES:
            raise ModelError(
                f"expected at most {MAX_BYTES:,} bytes of weights, received {total:,} or more"
            )
    return total
