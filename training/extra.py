"""Additional data sets of a training: which images join it, and in which split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from config import TrainConfig
from data import DataError
from data.extra import select_extra, split_extra
from data.known import is_known, keep_apart
from data.near_duplicates import Pair
from data.splits import Fold, join_lesions
from data.thumbnails import Thumbnails
from models.description import Description
from support.cli import naming_flag
from training.duplicates import fingerprint_images, search_near_duplicates, with_hashes
from training.teachers import Teacher, check_taught

# In place of a split: images that are not used, since they show what validates or tests.
EXCLUDED = "excluded"


def split_options(settings: TrainConfig) -> dict[str, Any]:
    """Return the arguments of all functions that split images."""
    fold = Fold(settings.fold, settings.folds) if settings.folds else None
    return {
        "seed": settings.split_seed,
        "validation_fraction": settings.validation_fraction,
        "fold": fold,
    }


def add_extra(
    frame: pd.DataFrame,
    extra: pd.DataFrame,
    thumbnails: Thumbnails,
    settings: TrainConfig,
    initial: Description | None,
    teachers: Sequence[Teacher] = (),
) -> tuple[pd.DataFrame, Thumbnails]:
    """Add images to the train and validation splits, and print how many were excluded.

    Args:
        frame: the images so far, see `training.dataset.LabeledImages`.
        extra: the images to add, with the same columns but for `pixel_hash`, `group` and `split`.
        thumbnails: of `frame`.
        settings: of the training.
        initial: what the model that the training starts from says about itself; None without one.
        teachers: models that teach the new one.

    Returns:
        All images, and their thumbnails. Excluded images are among them, as the split `EXCLUDED`:
        a later data set may have others of their lesions.

    Raises:
        DataError: no validation images are left.
        TrainingError: a teacher was trained on near-duplicates of validation or test images.
    """
    fingerprints = fingerprint_images(extra)
    extra = with_hashes(extra, fingerprints.hashes)
    extra["group"] = join_lesions(extra, search_near_duplicates(fingerprints.thumbnails))
    pairs = search_near_duplicates(fingerprints.thumbnails, thumbnails)
    if initial is not None:
        frame = _move_copies(frame, extra, pairs, initial)
    for teacher in teachers:
        with naming_flag("--teacher"):
            check_taught(teacher, frame, _find_copies(frame, extra, pairs, teacher.description))
    is_train = (frame["split"] == "train").to_numpy()
    near_train, near_held_out = (
        extra.index[[pair.first for pair in pairs if is_train[pair.second] == wanted]]
        for wanted in (True, False)
    )
    added, excluded, counts = select_extra(frame, extra, near_held_out)
    tied = near_train.union(added.index[added["tied"]])
    split = split_extra(frame, added, tied, **split_options(settings))
    moved = 0
    if initial is not None:
        split, moved, _ = keep_apart(added.assign(split=split), initial)
    ids, same = "image or lesion", "lesions"
    if "patient_id" in extra:
        ids, same = "image, lesion or patient", "lesions or patients"
    print(
        f"  added: {counts.added:,} of {len(extra):,} images, {(split == 'train').sum():,} to the "
        f"train and {(split == 'val').sum():,} to the validation split\n"
        "  excluded, since they are in the validation or test split: "
        f"{counts.by_id:,} by {ids} id, {counts.by_pixels:,} by pixels, "
        f"{counts.by_near_duplicates:,} by near-duplicates, "
        f"{counts.by_lesion:,} of the same {same}\n"
        f"  excluded, since they are in the train split already: {counts.repeated:,}"
        + (f"\n  in the train split, since --init_from knows them: {moved:,}" if moved else ""),
        flush=True,
    )
    kept = [added.drop(columns="tied").assign(split=split), excluded.assign(split=EXCLUDED)]
    indices = extra.index.get_indexer(pd.concat(kept).index)
    merged = pd.concat([frame, *kept], ignore_index=True)
    return merged, thumbnails.append(fingerprints.thumbnails.take(indices))


def _find_copies(
    frame: pd.DataFrame, extra: pd.DataFrame, pairs: Sequence[Pair], model: Description
) -> pd.Series:
    """Tell which images are in a group with near-duplicates of extra images that a model knows.

    These are not in the model file themselves: they are known only by their copies.
    """
    known = is_known(extra, model, parts=("train",))
    known = extra["group"].isin(extra.loc[known, "group"]).to_numpy()
    copies = frame["group"].iloc[[pair.second for pair in pairs if known[pair.first]]]
    return frame["group"].isin(copies)


def _move_copies(
    frame: pd.DataFrame, extra: pd.DataFrame, pairs: Sequence[Pair], initial: Description
) -> pd.DataFrame:
    """Move to the train split what an initial model knows as near-duplicates among extra images.

    Raises:
        DataError: no validation images are left.
    """
    held_out = frame["split"].isin(["val", "test"])
    moved = _find_copies(frame, extra, pairs, initial) & held_out
    if not moved.any():
        return frame
    print(
        f"  moved {moved.sum():,} images to the train split, since --init_from was trained on "
        "near-duplicates of them",
        flush=True,
    )
    frame = frame.assign(split=frame["split"].mask(moved, "train"))
    if "val" not in set(frame["split"]):
        raise DataError(
            "expected validation images that --init_from was not trained on, received none; add "
            "images, or start from other weights"
        )
    return frame
