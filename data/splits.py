"""Which images are for training, validation and test."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data import DataError
from data.groups import group_lesions
from data.known import KnownImages, is_known, match_ids
from data.near_duplicates import Pair
from support.files import csv_cell, replacing

SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation, which validates a model trained on all others.

    Attributes:
        index: of the fold, from 0.
        count: number of folds, at least 2.
    """

    index: int
    count: int


def split_by_lesion(
    frame: pd.DataFrame,
    *,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    fold: Fold | None = None,
) -> pd.Series:
    """Assign each group of lesions, with all their images, to training, validation or test.

    Within each class, the lesions are shuffled and sorted by their number of images, largest first;
    each goes to the split that is furthest below its fraction. Each class is thus divided to within
    about one lesion, and a class of three lesions is in all three splits. (`StratifiedGroupKFold`
    makes equal folds: it reaches 70/15/15 only with twenty of them, and then leaves the rarest
    classes out of some splits.)

    Lesions that have an identical image, and those of one patient, count as one. Where a `group` is
    larger than that, since it joins near-duplicates, the first of its lesions decides for all: the
    split of other lesions stays as it is without near-duplicates, or nearly so.

    Args:
        frame: with `lesion_id` and `label`, and perhaps `pixel_hash`, `patient_id` and `group`; the
            first label of a lesion counts for all of it.
        seed: seed of the shuffling.
        validation_fraction: fraction of the images, in (0, 1).
        test_fraction: fraction of the images, in [0, 1); 0 for a split into training and validation
            alone.
        fold: divides what is not for the test into folds of equal size instead, of which this one
            is for validation. The test images are the same as without folds.

    Returns:
        `train`, `val` or `test` for each row, under the index of the frame.

    Raises:
        ValueError: a fraction, or what is left for training, is too small.
    """
    fractions = {
        "train": 1 - validation_fraction - test_fraction,
        "val": validation_fraction,
        "test": test_fraction,
    }
    if min(fractions["train"], fractions["val"]) <= 0 or fractions["test"] < 0:
        raise ValueError(
            "fractions of training, validation and test should be above 0, received "
            f"{list(fractions.values())}"
        )
    split = _assign(frame, {name: part for name, part in fractions.items() if part}, seed)
    return split if fold is None else _choose_fold(frame, split, fold, seed)


def _choose_fold(frame: pd.DataFrame, split: pd.Series, fold: Fold, seed: int) -> pd.Series:
    """Return a split with the same test images, whose validation images are those of a fold."""
    rest = frame[split != "test"]
    folds = _assign(rest, {index: 1 / fold.count for index in range(fold.count)}, seed)
    split = split.copy()
    split.update(folds.map(lambda index: "val" if index == fold.index else "train"))
    return split


def _assign(frame: pd.DataFrame, fractions: Mapping, seed: int) -> pd.Series:
    """Assign groups to parts of the given fractions; see `split_by_lesion`."""
    names, targets = list(fractions), np.array(list(fractions.values()))
    lesion_ids = join_lesions(frame)
    groups = frame.get("group", lesion_ids)
    group_of = groups.groupby(lesion_ids).first()
    rng = np.random.default_rng(seed)
    lesions = frame.groupby(lesion_ids, sort=True)["label"].agg(["first", "size"])
    split_of: dict[str, int] = {}
    for label in sorted(lesions["first"].unique()):
        sizes = lesions.loc[lesions["first"] == label, "size"]
        sizes = sizes.iloc[rng.permutation(len(sizes))].sort_values(ascending=False, kind="stable")
        images = np.zeros(len(names))
        for lesion_id, size in sizes.items():
            chosen = split_of.setdefault(group_of[lesion_id], int(np.argmin(images / targets)))
            images[chosen] += size
    return groups.map(split_of).map(lambda chosen: names[chosen]).rename("split")


def join_lesions(frame: pd.DataFrame, pairs: Iterable[Pair] = ()) -> pd.Series:
    """Return for each image what a split keeps together: its lesion, joined with others.

    Args:
        frame: with `lesion_id`, and perhaps `pixel_hash` and `patient_id`.
        pairs: near-duplicates, by their indices in the frame.

    Returns:
        The name of a lesion, the same for all that share an identical image, a pair or a patient.
    """
    count = len(frame)
    return group_lesions(
        frame["lesion_id"],
        frame["pixel_hash"].tolist() if "pixel_hash" in frame else [None] * count,
        pairs=list(pairs),
        patient_ids=frame["patient_id"].tolist() if "patient_id" in frame else None,
    )


def complete_split(
    frame: pd.DataFrame, *, seed: int, validation_fraction: float, fold: Fold | None = None
) -> pd.Series:
    """Return a split that the data set gives, with validation images taken from training if needed.

    Args:
        frame: as for `split_by_lesion`, with `split`.
        seed: as for `split_by_lesion`.
        validation_fraction: fraction of the training images.
        fold: as for `split_by_lesion`; its images replace the validation images of the data set.
    """
    split = frame["split"].copy()
    if fold is not None:
        return _choose_fold(frame, split, fold, seed)
    if "val" not in set(split):
        train = frame[split == "train"]
        options = {"seed": seed, "validation_fraction": validation_fraction, "test_fraction": 0.0}
        split.update(split_by_lesion(train, **options))
    return split


def count_shared(frame: pd.DataFrame) -> int:
    """Count the images outside training whose group is in training as well.

    Args:
        frame: with `group` and `split`.
    """
    is_train = frame["split"] == "train"
    return int((frame["group"].isin(frame.loc[is_train, "group"]) & ~is_train).sum())


def select_split(frame: pd.DataFrame, split: str, known: KnownImages) -> pd.DataFrame:
    """Select the images of one split of a model, by their ids.

    Args:
        frame: with `image_id` and `lesion_id`, and perhaps `patient_id` and `pixel_hash`.
        split: `train` or `val`: images that the model was trained or validated on; `test`: images
            that it does not know in any way, see also `data.known.exclude_known`; `all`: every
            image.
        known: what the model knows.

    Returns:
        The rows of the frame in that split.

    Raises:
        DataError: the split is unknown, or has none of the images.
    """
    names = (*SPLIT_NAMES, "all")
    if split not in names:
        raise DataError(f"expected a split among {', '.join(names)}, received {split!r}")
    if split == "all":
        return frame
    if split == "train":
        selected = match_ids(frame["image_id"], known.train_image_ids)
    elif split == "val":
        selected = match_ids(frame["image_id"], known.validation_image_ids)
    else:
        selected = ~is_known(frame, known)
    if not selected.any():
        raise DataError(
            f"expected images of the model's split {split!r}, received {len(frame)} images of which"
            " none is in it; choose the split 'all' for every image"
        )
    return frame[selected]


def write_split(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write `image_id`, `lesion_id`, `label` and `split` of each image as CSV."""
    table = frame[["image_id", "lesion_id", "label", "split"]].map(csv_cell)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
