"""The state of an interrupted training, from which it resumes as if it had never stopped."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from support.files import first_line, replacing
from training import TrainingError


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
        with np.load(path, allow_pickle=False) as file:
            values = {
                kind: [file[f"{kind}_{i}"] for i in range(_count(file.files, kind))]
                for kind in ("model", "optimizer")
            }
            return Checkpoint(json.loads(str(file["history"])), **values)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is damaged: {first_line(error)}; start a new run") from error


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
