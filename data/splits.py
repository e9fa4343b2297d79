"""Which images are for training, validation and test; labels as numbers; class weights."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from data import DataError
from data.duplicates import pixel_hashes
from data.ham10000 import CLASS_NAMES
from support.files import replacing

SPLIT_NAMES = ("train", "val", "test")


class KnownIds(Protocol):
    """The images and lesions that a model was trained and validated on."""

    train_image_ids: Collection[str]
    train_lesion_ids: Collection[str]
    validation_image_ids: Collection[str]
    validation_lesion_ids: Collection[str]


@dataclass(frozen=True)
class Counts:
    """What happened to the images of an additional training set.

    Attributes:
        by_id: excluded, because the image or its lesion is in validation or test.
        by_pixels: excluded, because an image with the same pixels is.
        by_lesion: excluded, because they show the same lesion as one of these.
        repeated: skipped, because the training split has the image already, by id or by pixels.
        added: added to the training split.
    """

    by_id: int
    by_pixels: int
    by_lesion: int
    repeated: int
    added: int


def split_by_lesion(
    frame: pd.DataFrame, *, seed: int, validation_fraction: float, test_fraction: float
) -> pd.Series:
    """Assign each lesion, with all its images, to training, validation or test.

    Within each class, the lesions are shuffled and sorted by their number of images, largest first;
    each goes to the split that is furthest below its fraction. Each class is thus divided to within
    about one lesion, and a class of three lesions is in all three splits. (`StratifiedGroupKFold`
    makes equal folds: it reaches 70/15/15 only with twenty of them, and then leaves the rarest
    classes out of some splits.)

    Args:
        frame: with `lesion_id` and `label`; the first label of a lesion counts for all of it.
        seed: seed of the shuffling.
        validation_fraction: fraction of the images, in (0, 1).
        test_fraction: fraction of the images, in (0, 1).

    Returns:
        `train`, `val` or `test` for each row, under the index of the frame.

    Raises:
        ValueError: a fraction, or what is left for training, is not above 0.
    """
    fractions = np.array(
        [1 - validation_fraction - test_fraction, validation_fraction, test_fraction]
    )
    if fractions.min() <= 0:
        raise ValueError(
            "fractions of training, validation and test should be above 0, received "
            f"{fractions.tolist()}"
        )
    rng = np.random.default_rng(seed)
    lesions = frame.groupby("lesion_id", sort=True)["label"].agg(["first", "size"])
    split_of: dict[str, str] = {}
    for label in sorted(lesions["first"].unique()):
        sizes = lesions.loc[lesions["first"] == label, "size"]
        sizes = sizes.iloc[rng.permutation(len(sizes))].sort_values(ascending=False, kind="stable")
        images = np.zeros(3)
        for lesion_id, size in sizes.items():
            smallest = int(np.argmin(images / fractions))
            images[smallest] += size
            split_of[lesion_id] = SPLIT_NAMES[smallest]
    return frame["lesion_id"].map(split_of).rename("split")


def select_split(frame: pd.DataFrame, split: str, ids: KnownIds) -> pd.DataFrame:
    """Select the images of one split of a model.

    Args:
        frame: with `image_id` and `lesion_id`.
        split: `train` or `val`: images that the model was trained or validated on; `test`: images
            whose id and whose lesion are in neither; `all`: every image.
        ids: what the model knows, such as its description.

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
        selected = frame["image_id"].isin(list(ids.train_image_ids))
    elif split == "val":
        selected = frame["image_id"].isin(list(ids.validation_image_ids))
    else:
        selected = ~_is_known(frame, ids)
    if not selected.any():
        raise DataError(
            f"expected images of the model's split {split!r}, received {len(frame)} images of which"
            " none is in it; choose the split 'all' for every image"
        )
    return frame[selected]


def count_known(frame: pd.DataFrame, ids: KnownIds) -> int:
    """Count the images that a model was trained or validated on, or that show such a lesion.

    Args:
        frame: with `image_id` and `lesion_id`.
        ids: what the model knows, such as its description.
    """
    return int(_is_known(frame, ids).sum())


def _is_known(frame: pd.DataFrame, ids: KnownIds) -> pd.Series:
    images = [*ids.train_image_ids, *ids.validation_image_ids]
    lesions = [*ids.train_lesion_ids, *ids.validation_lesion_ids]
    return frame["image_id"].isin(images) | frame["lesion_id"].isin(lesions)


def write_split(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write `image_id`, `lesion_id`, `label` and `split` of each image as CSV."""
    with replacing(path) as temporary:
        frame[["image_id", "lesion_id", "label", "split"]].to_csv(temporary, index=False)


def class_indices(labels: Iterable[str], class_names: Sequence[str]) -> np.ndarray:
    """Encode labels as class indices.

    Args:
        labels: class names.
        class_names: all classes, in the order of the model's outputs.

    Returns:
        int64 `[labels]`.

    Raises:
        DataError: a label is not a class.
    """
    index_of = {name: index for index, name in enumerate(class_names)}
    labels = list(labels)
    if unknown := sorted(set(labels) - set(index_of)):
        raise DataError(
            f"expected labels among {', '.join(class_names)}, received {', '.join(unknown)}"
        )
    return np.array([index_of[label] for label in labels], np.int64)


def one_hot(labels: Iterable[str], class_names: Sequence[str]) -> np.ndarray:
    """Encode labels one-hot: float32 `[labels, classes]`; see `class_indices`."""
    return np.eye(len(class_names), dtype=np.float32)[class_indices(labels, class_names)]


def class_weights(labels: pd.Series, mode: str) -> dict[str, float]:
    """Return the weight of each class in the loss.

    Args:
        labels: one of `CLASS_NAMES` for each training image.
        mode: `none` (all 1), `balanced` (inverse frequency) or `sqrt` (its square root).

    Returns:
        A weight for each of `CLASS_NAMES`, scaled so that their mean over the images is 1; a
        class without images has weight 1.
    """
    power = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}[mode]
    counts = labels.value_counts().reindex(CLASS_NAMES, fill_value=0)
    raw = counts.where(counts > 0, 1).astype(float) ** -power
    scale = len(labels) / (raw * counts).sum()
    return {name: float(raw[name] * scale) if counts[name] else 1.0 for name in CLASS_NAMES}


def class_fractions(labels: pd.Series) -> np.ndarray:
    """Return the fraction of the images in each class.

    Args:
        labels: one of `CLASS_NAMES` for each image.

    Returns:
        float64 `[classes]`, in the order of `CLASS_NAMES`; a class without images counts as one
        image, so that the logarithm of its fraction is finite.
    """
    counts = labels.value_counts().reindex(CLASS_NAMES, fill_value=0).clip(lower=1)
    return (counts / counts.sum()).to_numpy()


def add_training_data(frame: pd.DataFrame, extra: pd.DataFrame) -> tuple[pd.DataFrame, Counts]:
    """Add images to the training split, except those of validation and test.

    Public collections repeat each other's images under other ids: Cassidy et al., *Analysis of the
    ISIC image datasets*, Medical Image Analysis 75 (2022), doi:10.1016/j.media.2021.102305. So
    images are compared by their pixels as well, and an image that is excluded takes all images of
    its lesion with it.

    Args:
        frame: with `image_id`, `lesion_id`, `path` and `split`.
        extra: with `image_id`, `lesion_id` and `path`.

    Returns:
        The frame with the rows of `extra` that may be used for training, and the counts.
    """
    train, held_out = frame[frame["split"] == "train"], frame[frame["split"] != "train"]
    hashes = pd.Series(pixel_hashes(extra["path"].tolist()), index=extra.index, dtype=object)
    train_hashes, held_out_hashes = (
        {value for value in pixel_hashes(part["path"].tolist()) if value}
        for part in (train, held_out)
    )
    by_id = extra["image_id"].isin(held_out["image_id"])
    by_id |= extra["lesion_id"].isin(held_out["lesion_id"])
    by_pixels = hashes.isin(held_out_hashes) & ~by_id
    lesions = extra.loc[by_id | by_pixels, "lesion_id"]
    by_lesion = extra["lesion_id"].isin(lesions) & ~by_id & ~by_pixels
    excluded = by_id | by_pixels | by_lesion
    repeated = extra["image_id"].isin(train["image_id"]) | hashes.isin(train_hashes)
    repeated |= extra["image_id"].duplicated() | (hashes.duplicated() & hashes.notna())
    repeated &= ~excluded
    added = extra[~excluded & ~repeated].assign(split="train")
    counts = Counts(
        *(int(part.sum()) for part in (by_id, by_pixels, by_lesion, repeated)), len(added)
    )
    return pd.concat([frame, added], ignore_index=True), counts
