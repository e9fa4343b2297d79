"""Additional images for training, of which none may be among those of validation and test."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from data.known import match_ids
from data.splits import Fold, split_by_lesion


@dataclass(frozen=True)
class Counts:
    """What happened to the images of an additional training set.

    Attributes:
        by_id: excluded, because the image, its lesion or its patient is in validation or test.
        by_pixels: excluded, because an image with the same pixels is.
        by_near_duplicates: excluded, because a near-duplicate is.
        by_lesion: excluded, because they show the same lesion or patient as one of these.
        repeated: skipped, because the training split has the image already, by id or by pixels.
        added: added.
    """

    by_id: int
    by_pixels: int
    by_near_duplicates: int
    by_lesion: int
    repeated: int
    added: int


def select_extra(
    frame: pd.DataFrame, extra: pd.DataFrame, near_duplicates: Collection[int] = ()
) -> tuple[pd.DataFrame, pd.DataFrame, Counts]:
    """Select the images of another data set that are not among those of validation and test.

    Public collections repeat each other's images under other ids: Cassidy et al., *Analysis of the
    ISIC image datasets*, Medical Image Analysis 75 (2022), doi:10.1016/j.media.2021.102305. So
    images are compared by their pixels as well, and an image that is excluded takes all images of
    its group with it.

    Args:
        frame: with `image_id`, `lesion_id`, `pixel_hash` and `split`, and perhaps `patient_id`.
        extra: with `image_id`, `lesion_id`, `pixel_hash` and `group`, and perhaps `patient_id`; no
            index label twice.
        near_duplicates: index labels of the rows of `extra` that are near-duplicates of validation
            or test images.

    Returns:
        The rows of `extra` that may be used for training, with `tied` where an image of their group
        is in the training split already; those that are excluded; and the counts.
    """
    train, held_out = frame[frame["split"] == "train"], frame[frame["split"] != "train"]
    hashes = extra["pixel_hash"]
    train_hashes, held_out_hashes = (part["pixel_hash"].dropna() for part in (train, held_out))
    by_id = match_ids(extra["image_id"], held_out["image_id"])
    by_id |= match_ids(extra["lesion_id"], held_out["lesion_id"])
    if "patient_id" in frame and "patient_id" in extra:
        by_id |= match_ids(extra["patient_id"], held_out["patient_id"].dropna())
    by_pixels = hashes.isin(held_out_hashes) & ~by_id
    by_near = extra.index.to_series().isin(near_duplicates) & ~by_id & ~by_pixels
    excluded = by_id | by_pixels | by_near
    by_lesion = extra["group"].isin(extra.loc[excluded, "group"]) & ~excluded
    excluded |= by_lesion
    repeated = match_ids(extra["image_id"], train["image_id"]) | hashes.isin(train_hashes)
    tied = extra["group"].isin(extra.loc[repeated, "group"])
    repeated |= extra["image_id"].duplicated() | (hashes.duplicated() & hashes.notna())
    repeated &= ~excluded
    selected = extra.assign(tied=tied)[~excluded & ~repeated]
    parts = (by_id, by_pixels, by_near, by_lesion, repeated)
    counts = Counts(*(int(part.sum()) for part in parts), len(selected))
    return selected, extra[excluded], counts


def split_extra(
    frame: pd.DataFrame,
    extra: pd.DataFrame,
    near_duplicates: Collection[int] = (),
    *,
    seed: int,
    validation_fraction: float,
    fold: Fold | None = None,
) -> pd.Series:
    """Assign additional images to training and validation, by lesion.

    Args:
        frame: with `lesion_id`, `split`, and perhaps `patient_id`.
        extra: from `select_extra`.
        near_duplicates: index labels of the rows of `extra` that are near-duplicates of training
            images, or `tied` to them.
        seed: as for `data.splits.split_by_lesion`.
        validation_fraction: fraction of the images.
        fold: as for `data.splits.split_by_lesion`.

    Returns:
        `train` or `val` for each row, under the index of `extra`. Images that show a lesion or a
        patient of the training split are for training, with all images of their group.
    """
    train = frame[frame["split"] == "train"]
    tied = match_ids(extra["lesion_id"], train["lesion_id"])
    tied |= extra.index.to_series().isin(near_duplicates)
    if "patient_id" in frame and "patient_id" in extra:
        tied |= match_ids(extra["patient_id"], train["patient_id"].dropna())
    tied = extra["group"].isin(extra.loc[tied, "group"])
    split = pd.Series("train", index=extra.index, name="split", dtype=object)
    if not tied.all():
        free = extra[~tied]
        own = split_by_lesion(
            free,
            seed=seed,
            validation_fraction=validation_fraction,
            test_fraction=0.0,
            fold=fold,
        )
        split.update(own)
    return split
