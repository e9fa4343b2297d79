"""The state of an unfinished training, from which it goes on as if it had never stopped."""

import json
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from models import ModelError
from models.bundle import first_line

STATE_FILE = "resume.npz"


@dataclass(frozen=True)
class State:
    """What a training was after its last finished epoch.

    Attributes:
        history: one dict an epoch.
        model: values of the model's variables.
        optimizer: values of the optimizer's variables.
    """

    history: list[dict]
    model: list[np.ndarray]
    optimizer: list[np.ndarray]


def save_state(model: keras.Model, history: list[dict], run_dir: str | os.PathLike) -> None:
    """Write the state of a compiled model into its run directory, whole or not at all.

    Args:
        model: compiled; weights and optimizer as the epoch left them.
        history: one dict an epoch, of JSON values.
        run_dir: an existing folder.
    """
    arrays = {f"model_{place}": v.numpy() for place, v in enumerate(model.variables)}
    arrays |= {f"optimizer_{p}": v.numpy() for p, v in enumerate(model.optimizer.variables)}
    path = Path(run_dir, STATE_FILE)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            np.savez(file, history=np.array(json.dumps(history)), **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load_state(run_dir: str | os.PathLike) -> State | None:
    """Read the state that `save_state` wrote.

    Returns:
        None where no epoch was finished.

    Raises:
        ModelError: the file is damaged.
    """
    path = Path(run_dir, STATE_FILE)
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            values = {
                kind: [file[f"{kind}_{place}"] for place in range(_count(file.files, kind))]
                for kind in ("model", "optimizer")
            }
            return State(json.loads(str(file["history"])), **values)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path} should hold the state of a training, but cannot be read: "
            f"{first_line(error)}; start the training anew"
        ) from error


def _count(names: list[str], kind: str) -> int:
    return sum(name.startswith(f"{kind}_") for name in names)


def restore(variables: list[keras.Variable], values: list[np.ndarray]) -> None:
    """Give variables the values of a state.

    Raises:
        ModelError: they are not those of the state.
    """
    expected = [tuple(variable.shape) for variable in variables]
    received = [value.shape for value in values]
    if expected != received:
        raise ModelError(
            f"the state should hold {len(expected)} variables of this training, received "
            f"{len(received)} of other shapes; start the training anew"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
