"""What has to be unchanged when a run resumes, and how a change is named.

Only the standard library is imported, as for `training.run`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config import TrainConfig
from support.files import count_noun, read_json
from training import TrainingError

# What has to be unchanged for each image.
IMAGE_FACTS = ("split", "label", "lesion", "checksum of the pixels")


def comparable(settings: TrainConfig) -> dict[str, Any]:
    """Return settings as they look after JSON, without what differs between start and resume."""
    return json.loads(json.dumps({**dataclasses.asdict(settings), "resume": None}))


def read_origin(path: Path) -> dict[str, dict]:
    """Read the settings, images and facts at the start of a run.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        origin = read_json(path, max_bytes=1 << 25)  # half a million images
        found = {kind: dict(origin[kind]) for kind in ("settings", "images", "facts")}
        if any(len(facts) != len(IMAGE_FACTS) for facts in found["images"].values()):
            raise ValueError("an image lacks a fact")
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        raise TrainingError(f"{path} is damaged; start a new run") from error
    return found


def compare_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Compare settings, from `comparable`, with those at the start of a run.

    Raises:
        TrainingError: they differ.
    """
    if changed := _find_changes(before, now):
        name = changed[0]
        raise TrainingError(
            f"{count_noun(len(changed), 'setting')} changed since {folder} started, for example "
            f"{name}: {before.get(name)} before, {now.get(name)} now; restore config.json, "
            "or start a new run"
        )


def compare_images(before: Mapping[str, list], now: Mapping[str, list], folder: Path) -> None:
    """Compare the values of `IMAGE_FACTS` by image id with those at the start of a run.

    Raises:
        TrainingError: they or their order differ.
    """
    if changed := _find_changes(before, now):
        name = changed[0]
        raise TrainingError(
            f"{count_noun(len(changed), 'image')} changed since {folder} started, for example "
            f"{name}: {_describe_change(before.get(name), now.get(name))}; restore the "
            "data, or start a new run"
        )
    # The content of a batch depends on the position of each image in the table.
    if list(before) != list(now):
        raise TrainingError(
            f"the order of the images changed since {folder} started; restore the table, "
            "or start a new run"
        )


def compare_facts(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Compare facts, by name, with those at the start of a run.

    Raises:
        TrainingError: they differ.
    """
    now = json.loads(json.dumps(now))
    for name in now:
        if name in before and before[name] != now[name]:
            shown = [", ".join(v) if isinstance(v, list) else v for v in (before[name], now[name])]
            values = ": {:.200} before, {:.200} now".format(*map(str, shown))
            raise TrainingError(
                f"the {name} changed since {folder} started{values}; restore them, or start a new "
                "run"
            )


def _find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]


def _describe_change(before: list | None, now: list | None) -> str:
    """Describe how an image differs from the start of a run."""
    if now is None:
        return "no longer in the train or validation split"
    if before is None:
        return "new in the train or validation split"
    pairs = zip(IMAGE_FACTS, before, now, strict=True)
    return ", ".join(f"{fact} {old} before, {new} now" for fact, old, new in pairs if old != new)
