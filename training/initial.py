"""A training that starts from a model of this project: its weights, its classes, its images.

The new model goes on from what the initial one has learned, so it knows the images of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data import DataError, warn
from data.classes import ClassScheme
from data.fingerprints import pack_hashes, unpack_hashes
from data.known import PARTS, keep_apart
from models.description import Description
from support.files import one_line

_IDS = {"image_ids": "image_id", "lesion_ids": "lesion_id", "patient_ids": "patient_id"}


def match_classes(new: ClassScheme, old: ClassScheme) -> dict[str, str]:
    """Return which classes of two models are the same.

    Args:
        new: the classes of one model.
        old: those of another.

    Returns:
        The class of `old` by that of `new`, in the order of `new`: that of the same name, or else
        the one that either name stands for among the classes of the other model.
    """
    matches = {}
    for name in new.names:
        found = old.find(name)
        if found is None:
            candidates = [other for other in old.names if new.find(other) == name]
            found = candidates[0] if len(candidates) == 1 else None
        if found is not None:
            matches[name] = found
    return matches


def describe_start(path: Path, model: str, matches: dict[str, str]) -> str:
    """Say in one line which weights come from an initial model.

    Args:
        path: its file.
        model: name of its architecture.
        matches: from `match_classes`.
    """
    body = "all layers but the head" if model == "sequential" else "backbone"
    names = [new if new == old else f"{new} = {old}" for new, old in matches.items()]
    head = f"head of the classes {', '.join(names)}" if names else "new head: no class agrees"
    return one_line(f"Initial weights: {path} ({body}; {head})")


def respect_initial(
    frame: pd.DataFrame, path: Path, initial: Description, *, is_given: bool
) -> pd.Series:
    """Return a split without images in validation and test that the initial model knows.

    What moves is printed. This changes a split that the data set gives, too, with a warning: in
    validation, such images would calibrate the new model wrongly; in test, they are known to it.

    Args:
        frame: as for `data.known.keep_apart`.
        path: the file of the initial model.
        initial: its description.
        is_given: whether the data set gives the split.

    Raises:
        DataError: no validation images are left.
    """
    warn_of_unknown_images(path, initial)
    split, to_train, to_validation = keep_apart(frame, initial)
    if not to_train and not to_validation:
        return split
    line = (
        f"moved {to_train:,} images to the train split and {to_validation:,} from test to "
        f"validation, since {path} was trained or validated on them, or on images of their lesions "
        "or patients"
    )
    if "val" not in set(split):
        raise DataError(
            f"expected validation images that {path} was not trained on, received none among "
            f"{len(frame):,} images; add images, or start from other weights"
        )
    if is_given:
        warn(f"the split that the data set gives is changed: {line}")
    else:
        print(one_line(f"  {line}"), flush=True)
    return split


def warn_of_unknown_images(path: Path, description: Description) -> None:
    """Warn if a model does not say which images it was trained on.

    Args:
        path: its file.
        description: of it.
    """
    if not description.train_image_ids:
        warn(
            f"{path} does not say which images it was trained on: validation and test images may "
            "be among them, and their metrics too high"
        )
    elif not description.train_pixel_hashes:
        warn(
            f"{path} has no pixel hashes: copies of its training images under other names are not "
            "recognized, and may be among the validation and test images"
        )


def describe_images(frame: pd.DataFrame, earlier: Sequence[Description]) -> dict[str, object]:
    """Return what the description of a model says about the images that it knows.

    Args:
        frame: with `image_id`, `lesion_id`, `pixel_hash` and `split`, and perhaps `patient_id`.
        earlier: of the models that the training starts from or learns from. Their images count as
            training images, except those that validate the new model.

    Returns:
        Fields of a `models.description.Description`.
    """
    fields: dict[str, object] = {}
    for part, split in zip(PARTS, ("train", "val"), strict=True):
        rows = frame[frame["split"] == split]
        for name, column in _IDS.items():
            fields[f"{part}_{name}"] = {*rows[column].dropna()} - {""} if column in rows else set()
        fields[f"{part}_pixel_hashes"] = {*rows["pixel_hash"].dropna()}
    for name in (*_IDS, "pixel_hashes"):
        before = {
            value
            for description in earlier
            for part in PARTS
            for value in _values(description, f"{part}_{name}")
        }
        validating = {value.casefold() for value in fields[f"validation_{name}"]}
        fields[f"train_{name}"] |= {v for v in before if v.casefold() not in validating}
    return {
        name: pack_hashes(values) if name.endswith("hashes") else tuple(sorted(values))
        for name, values in fields.items()
    }


def _values(description: Description, name: str) -> set[str]:
    found = getattr(description, name)
    return unpack_hashes(found) if name.endswith("hashes") else set(found)
