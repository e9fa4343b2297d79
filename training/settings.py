"""Complete settings of a training: defaults, presets of model and start, and flags.

Only the standard library is imported, so that a wrong flag is reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config import PRESETS, TrainConfig
from models.applications import check_model_name, find_backbone, is_model_name, model_presets
from models.backbones import BACKBONES
from models.description import Description
from models.description_checks import peek_description
from support.cli import naming_flag
from training import TrainingError
from training.model_paths import find_model

# What `--help` calls the presets that are not those of a model.
_SHOWN = {"sample": "--sample", "from_scratch": "--weights none", "init_from": "--init_from"}


def list_presets() -> dict[str, dict[str, Any]]:
    """Return all presets by the model or the flag that they go with, for `--help`."""
    return {
        _SHOWN.get(name, name): {**model_presets(name), **PRESETS.get(name, {})}
        for name in dict.fromkeys([*BACKBONES, *PRESETS])
    }


def build_train_config(given: Mapping[str, Any]) -> TrainConfig:
    """Build complete settings: defaults, then presets, then the flags that were given.

    Args:
        given: values by field name.

    Raises:
        ValueError: a value is outside its limits, or flags contradict each other.
    """
    model, sample = given.get("model", TrainConfig.model), given.get("sample", False)
    if sample and "data_dir" in given:
        raise ValueError("--sample generates its own data; give --sample or --data_dir, not both")
    if given.get("weights", "").endswith(".keras"):
        raise ValueError(
            "--weights should be imagenet, none or a file of backbone weights, received the whole "
            f"model {given['weights']}; start from it with --init_from"
        )
    start: dict[str, Any] = {}
    if given.get("init_from") is not None:
        start = _start_from_model(given)
        model = start["model"]
    with naming_flag("--model"):
        check_model_name(model)
    # Later presets replace earlier ones.
    presets = [model_presets(model)]
    if model == "sequential":
        for name in ("head_epochs", "fine_tune_layers"):
            if name in given:
                raise ValueError(f"--{name} is for pretrained backbones; sequential has none")
        presets.append(PRESETS["sequential"])
    if sample:
        presets.append(PRESETS["sample"])
    weights = given.get("weights", "none" if sample else TrainConfig.weights)
    if model != "sequential" and weights == "none" and not start:
        presets.append(PRESETS["from_scratch"])
    presets.append(start)
    if backbone := find_backbone(model):
        presets.append(PRESETS.get(backbone.presets_of or model, {}))
    values: dict[str, Any] = {}
    for preset in [*presets, given]:
        values |= preset
    return TrainConfig(**values)


def read_initial_model(init_from: str) -> tuple[Path, Description]:
    """Find the model that a training starts from; see `read_trained_model`."""
    with naming_flag("--init_from"):
        return read_trained_model(init_from)


def read_trained_model(model_path: str) -> tuple[Path, Description]:
    """Find a model of this project, and read what it says about itself.

    Args:
        model_path: a `.keras` file, or the folder of a run.

    Returns:
        The file, and its description.

    Raises:
        TrainingError: it is no model of this project.
    """
    path = find_model(model_path)
    description = peek_description(path)
    if not path.is_file():
        raise TrainingError(f"found no file {path}; check the path")
    if description is None or not is_model_name(description.model):
        raise TrainingError(
            f"expected a .keras file that train.py wrote, received {path}; use such a file"
        )
    return path, description


def _start_from_model(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a model to start from brings: its architecture and image size."""
    if "weights" in given:
        raise ValueError("--init_from brings its own initial weights; remove --weights")
    path, description = read_initial_model(given["init_from"])
    if given.get("model", description.model) != description.model:
        raise ValueError(
            f"--init_from {path} is a model {description.model}, received --model "
            f"{given['model']}; remove --model"
        )
    return {
        **PRESETS["init_from"],
        "model": description.model,
        "image_size": description.image_size,
    }
