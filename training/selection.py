"""Which images an evaluation measures, and which model predicts them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data import DataError, warn
from data.classes import scheme_of_model
from data.groups import describe_grouping, find_unknown_lesions, group_images
from data.known import Excluded, exclude_known, find_known, match_ids
from data.near_duplicates import Pair
from data.splits import join_lesions, select_split
from metrics.intervals import LESIONS
from models.description import Description
from models.ensemble import Ensemble, are_folds
from models.predictions import BaseClassifier
from support.cli import naming_flag
from training.duplicates import (
    add_groups,
    fingerprint_images,
    hash_images,
    search_near_duplicates,
    with_hashes,
)
from training.labels import read_labels

_OTHER_IMAGES = (
    "evaluate on images that the model does not know, such as the official test set of ISIC 2018 "
    "(python -m data.download --test_set)"
)


@dataclass(frozen=True)
class Selection:
    """The images of an evaluation, and who predicts them.

    Attributes:
        split: name of their split.
        parts: models, and the images that each of them predicts.
        description: of the models together.
    """

    split: str
    parts: list[tuple[BaseClassifier, pd.DataFrame]]
    description: Description

    @property
    def is_out_of_fold(self) -> bool:
        """Whether each image is predicted by the model that it validated, and only by that."""
        return len(self.parts) > 1

    @property
    def frame(self) -> pd.DataFrame:
        """All images."""
        return pd.concat([frame for _, frame in self.parts], ignore_index=True)


def select(classifier: BaseClassifier, data_dir: str, split: str | None) -> Selection:
    """Select the images of an evaluation.

    Args:
        classifier: one model or an ensemble.
        data_dir: folder of labels and images.
        split: as for `data.splits.select_split`; None for the test split, or for the validation
            images of all models if they are the folds of one split.

    Raises:
        DataError: the data set cannot be used, or no image is left.
    """
    description = classifier.description
    members = classifier.members if isinstance(classifier, Ensemble) else ()
    descriptions = [member.description for member in members]
    folds = are_folds(descriptions)
    split = split or ("val" if folds else "test")
    if folds and split == "val":
        parts = list(zip(members, select_out_of_fold(data_dir, descriptions), strict=True))
    else:
        parts = [(classifier, select_images(data_dir, split, description))]
    return Selection(split, parts, description)


def count_images(frame: pd.DataFrame) -> str:
    """Say how many images and lesions a frame has, or groups where not all lesions are known."""
    count, grouping = frame["group"].nunique(), describe_grouping(frame)
    groups = f"of {count:,} lesions" if grouping == LESIONS else f"in {count:,} groups ({grouping})"
    return f"{len(frame):,} images {groups}"


def select_images(data_dir: str, split: str, description: Description) -> pd.DataFrame:
    """Read a data set, and select the images of one split of a model.

    Labels that are no class of the model are skipped. Images of a patient that the model knows,
    and copies and near-duplicates of images that it knows, are no test images; their number is
    printed. Near-duplicates are found only of images that the data set has.

    Args:
        data_dir: its folder, or its table.
        split: as for `data.splits.select_split`.
        description: of the model.

    Returns:
        Their rows, with `group`: what the bootstrap resamples, see `data.groups`.

    Raises:
        DataError: the data set cannot be used, or no image is left.
    """
    with naming_flag("--data_dir"):
        frame, _ = read_labels(data_dir, classes=scheme_of_model(description))
    with naming_flag("--split"):
        if split == "test":
            try:
                return _select_test_images(frame, description)
            except DataError as error:
                raise DataError(f"{error}, or {_OTHER_IMAGES}") from error
        frame = add_groups(select_split(frame, split, description).reset_index(drop=True))
    if split == "all" and "pixel_hash" not in frame:
        return hash_images(frame)
    return frame


def select_out_of_fold(data_dir: str, descriptions: Sequence[Description]) -> list[pd.DataFrame]:
    """Read a data set, and select for each fold of a cross-validation the images that validate it.

    Args:
        data_dir: as for `select_images`.
        descriptions: of the models of all folds.

    Raises:
        DataError: as for `select_images`.
    """
    with naming_flag("--data_dir"):
        frame, _ = read_labels(data_dir, classes=scheme_of_model(descriptions[0]))
    with naming_flag("--split"):
        frames = [select_split(frame, "val", description) for description in descriptions]
    grouped = add_groups(pd.concat(frames, ignore_index=True))
    stops = np.cumsum([len(frame) for frame in frames])
    return [grouped[stop - len(frame) : stop] for stop, frame in zip(stops, frames, strict=True)]


def _select_test_images(frame: pd.DataFrame, description: Description) -> pd.DataFrame:
    select_split(frame, "test", description)  # refuses a data set without test images at once
    fingerprints = fingerprint_images(frame)
    frame = with_hashes(frame, fingerprints.hashes)
    reasons = find_known(frame, description)
    known = pd.concat(reasons, axis=1).any(axis=1).to_numpy()
    _warn_of_names(frame, description, reasons["pixels"])
    found = []
    if (known.any() and not known.all()) or find_unknown_lesions(frame).any():
        # The search depends on all images: the same ones give the same pairs as in the training.
        found = search_near_duplicates(fingerprints.thumbnails)
    pairs = [
        pair if known[pair.second] else Pair(pair.second, pair.first, pair.similarity)
        for pair in found
        if known[pair.first] != known[pair.second]
    ]
    grouped = frame.assign(group=join_lesions(frame, pairs))
    near_duplicates = frame.index[[pair.first for pair in pairs]]
    rest, excluded = exclude_known(grouped, description, near_duplicates)
    if any(vars(excluded).values()):
        count = int((~reasons["id"]).sum())
        same = "lesions or patients" if "patient_id" in frame else "lesions"
        print(_describe_excluded(excluded, count, same), file=sys.stderr)
    groups = group_images(frame, fingerprints.hashes, found)
    return rest.assign(group=groups).reset_index(drop=True)


def _warn_of_names(frame: pd.DataFrame, description: Description, by_pixels: pd.Series) -> None:
    """Warn about images that a model knows by name only: other data may have the same names."""
    ids = [*description.train_image_ids, *description.validation_image_ids]
    by_name = match_ids(frame["image_id"], ids) & frame["pixel_hash"].notna() & ~by_pixels
    if description.train_pixel_hashes and by_name.any():
        warn(
            f"{by_name.sum():,} of {len(frame):,} images have the name of an image that the model "
            "was trained or validated on, but other pixels, and are excluded; rename them if they "
            "show other lesions"
        )


def _describe_excluded(excluded: Excluded, count: int, same: str) -> str:
    """Say why images of other ids are no test images of a model."""
    reasons = {
        "by pixels": excluded.by_pixels,
        "by near-duplicates": excluded.by_near_duplicates,
        "by patient id": excluded.by_patient,
        f"of the same {same}": excluded.by_lesion,
    }
    parts = [f"{number:,} {reason}" for reason, number in reasons.items() if number]
    return (
        f"excluded {sum(reasons.values()):,} of {count:,} images, since the model was trained or "
        f"validated on them: {', '.join(parts)}"
    )
