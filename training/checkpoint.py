"""The state of an interrupted training, from which it resumes as if it had never stopped."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from support.files import first_line, parse_json, replacing
from training import TrainingError

_METRICS = ("loss", "accuracy", "balanced_accuracy")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after its last finished epoch.

    Attributes:
        history: one dict per epoch.
        model: values of the model's variables.
        optimizer: values of the optimizer's variables.
    """

    history: list[dict]
    model: list[np.ndarray]
    optimizer: list[np.ndarray]


def save_checkpoint(path: Path, model: keras.Model, history: list[dict]) -> None:
    """Write the state of a compiled model, whole or not at all.

    Args:
        path: the file, `.npz`.
        model: compiled; weights and optimizer as the epoch left them.
        history: one dict of JSON values per epoch.
    """
    arrays = {f"model_{i}": variable.numpy() for i, variable in enumerate(model.variables)}
    optimizer = enumerate(model.optimizer.variables)
    arrays |= {f"optimizer_{i}": variable.numpy() for i, variable in optimizer}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, history=np.array(json.dumps(history)), **arrays)


def load_checkpoint(path: Path) -> Checkpoint | None:
    """Read the state that `save_checkpoint` wrote.

    Returns:
        None if there is no such file, since no epoch was finished.

    Raises:
        TrainingError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, os.path.getsize(path))
        with np.load(path, allow_pickle=False) as file:
            values = {
                kind: [file[f"{kind}_{i}"] for i in range(_count(file.files, kind))]
                for kind in ("model", "optimizer")
            }
            history = parse_json(str(file["history"]).encode())
        _check_history(history)
    except Exception as error:  # damaged archives and arrays fail in many ways
        raise TrainingError(f"{path} is damaged: {first_line(error)}; start a new run") from error
    return Checkpoint(history, **values)


def _check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError unless the arrays of an archive take no more memory than the file."""
    members = archive.infolist()
    if any(item.compress_type != zipfile.ZIP_STORED for item in members):
        raise ValueError("expected arrays that are not compressed")
    if sum(item.file_size for item in members) > size:
        raise ValueError("its arrays are larger than the file")
    for item in members:
        with archive.open(item) as file:
            version = np.lib.format.read_magic(file)
            if version != (1, 0):
                raise ValueError(f"expected arrays of version 1.0, received {version}")
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            if math.prod(shape) * dtype.itemsize != item.file_size - file.tell():
                raise ValueError(f"{item.filename} has another size than its header says")
            kinds = "U" if item.filename == "history.npy" else "biuf"
            if dtype.kind not in kinds:
                raise ValueError(f"{item.filename} holds {dtype}")


def _check_history(history: object) -> None:
    """Raise an error unless a history is one that `training.callbacks.BestEpoch` wrote."""
    if not isinstance(history, list):
        raise ValueError("its history is no list")
    for epoch, row in enumerate(history, start=1):
        numbers = {name: value for name, value in row.items() if name != "phase"}
        expected = {"learning_rate", *(prefix + key for key in _METRICS for prefix in ("", "val_"))}
        if (
            row["epoch"] != epoch
            or not isinstance(row["phase"], str)
            or row.keys() != history[0].keys()
            or not expected <= row.keys()
            or not all(type(value) in (int, float) for value in numbers.values())
            or not all(map(math.isfinite, numbers.values()))
        ):
            raise ValueError(f"epoch {epoch} of its history lacks a metric")


def restore(variables: Sequence[keras.Variable], values: Sequence[np.ndarray]) -> None:
    """Assign the values of a checkpoint to variables.

    Raises:
        TrainingError: their number or shapes differ.
    """
    expected = [tuple(variable.shape) for variable in variables]
    received = [value.shape for value in values]
    if expected != received:
        raise TrainingError(
            f"expected a checkpoint with the shapes of this model's {len(expected)} variables, "
            f"received {len(received)} variables of other shapes; start a new run"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _count(names: list[str], kind: str) -> int:
    return sum(name.startswith(f"{kind}_") for name in names)
