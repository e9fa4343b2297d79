"""What has to be unchanged when a run resumes, besides its settings; `training.origin` compares."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from data.classes import ClassScheme
from data.pipeline import checksums
from models.description import Description


def list_image_facts(frame: pd.DataFrame, images: Mapping[str, np.ndarray]) -> dict[str, list]:
    """Return what has to be unchanged for each image of the train and validation splits.

    Args:
        frame: rows of the images, in their order.
        images: their pixels by split.

    Returns:
        Values of `training.origin.IMAGE_FACTS` by image id.
    """
    facts = {}
    for split, pixels in images.items():
        rows = frame[frame["split"] == split]
        columns = (rows[name] for name in ("image_id", "label", "lesion_id"))
        for image_id, label, lesion_id, checksum in zip(*columns, checksums(pixels), strict=True):
            facts[image_id] = [split, label, lesion_id, checksum]
    return facts


def list_facts(
    classes: ClassScheme,
    initial: Description | None,
    teachers: Sequence[Description],
    sources: Mapping[str, int],
) -> dict[str, Any]:
    """Return what else has to be unchanged, by its name, as JSON values.

    Args:
        classes: of the training.
        initial: of the model that the training starts from; None without one.
        teachers: of the models that teach it.
        sources: number of training images by source.
    """
    facts: dict[str, Any] = {
        "classes": list(classes.names),
        "descriptions of the classes": dict(classes.titles),
        "malignant classes": list(classes.malignant),
        "other names of the classes": dict(classes.aliases),
        "sources of the training images": dict(sources),
    }
    if initial is not None:
        facts["description of the initial model"] = _checksum(initial)
    if teachers:
        facts["descriptions of the teachers"] = [_checksum(teacher) for teacher in teachers]
    return facts


def _checksum(description: Description) -> str:
    text = json.dumps(dataclasses.asdict(description), sort_keys=True)
    return f"checksum {hashlib.sha256(text.encode()).hexdigest()[:16]}"
