"""Complete settings of a training: defaults, presets of model and start, and flags.

Only the standard library is imported, so that a wrong flag is reported at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from config import PRESETS, TrainConfig
from models.backbones import PRESETS as MODEL_PRESETS


def list_presets() -> dict[str, dict[str, Any]]:
    """Return all presets by name, for `--help`."""
    names = dict.fromkeys([*MODEL_PRESETS, *PRESETS])
    return {name: {**MODEL_PRESETS.get(name, {}), **PRESETS.get(name, {})} for name in names}


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
    # Later presets replace earlier ones.
    presets = [MODEL_PRESETS.get(model, {})]
    if model == "sequential":
        for name in ("head_epochs", "head_learning_rate", "fine_tune_layers"):
            if name in given:
                raise ValueError(f"--{name} is for pretrained backbones; sequential has none")
        presets.append(PRESETS["sequential"])
    if sample:
        presets.append(PRESETS["sample"])
    if model != "sequential":
        weights = given.get("weights", "none" if sample else TrainConfig.weights)
        if weights == "none":
            presets.append(PRESETS["from_scratch"])
        presets.append(PRESETS.get(model, {}))
    values: dict[str, Any] = {}
    for preset in [*presets, given]:
        values |= preset
    return TrainConfig(**values)
