"""Which images are for training, validation and test; labels as numbers; class weights."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from data import DataError
from data.duplicates import group_lesions, unpack_hashes
from data.ham10000 import CLASS_NAMES
from support.files import csv_cell, replacing

SPLIT_NAMES = ("train", "val", "test")


class KnownImages(Protocol):
    """The images that a model was trained and validated on, such as its description."""

    train_image_ids: Collection[str]
    train_lesion_ids: Collection[str]
    train_pixel_hashes: str
    validation_image_ids: Collection[str]
    validation_lesion_ids: Collection[str]
    validation_pixel_hashes: str


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
        frame: with `lesion_id` and `label`; the first label of a lesion counts for all of it. With
            `pixel_hash`, lesions that have an identical image count as one.
        seed: seed of the shuffling.
        validation_fraction: fraction of the images, in (0, 1).
        test_fraction: fraction of the images, in [0, 1); 0 for a split into training and validation
            alone.

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
    names = [name for name in SPLIT_NAMES if fractions[name]]
    targets = np.array([fractions[name] for name in names])
    groups = frame["lesion_id"]
    if "pixel_hash" in frame:
        groups = group_lesions(groups, frame["pixel_hash"].tolist())
    rng = np.random.default_rng(seed)
    lesions = frame.groupby(groups, sort=True)["label"].agg(["first", "size"])
    split_of: dict[str, str] = {}
    for label in sorted(lesions["first"].unique()):
        sizes = lesions.loc[lesions["first"] == label, "size"]
        sizes = sizes.iloc[rng.permutation(len(sizes))].sort_values(ascending=False, kind="stable")
        images = np.zeros(len(names))
        for lesion_id, size in sizes.items():
            smallest = int(np.argmin(images / targets))
            images[smallest] += size
            split_of[lesion_id] = names[smallest]
    return groups.map(split_of).rename("split")


def complete_split(frame: pd.DataFrame, *, seed: int, validation_fraction: float) -> pd.Series:
    """Return a split that the data set gives, with validation images taken from training if needed.

    Args:
        frame: with `lesion_id`, `label` and `split`; perhaps `pixel_hash`.
        seed: as for `split_by_lesion`.
        validation_fraction: fraction of the training images.
    """
    split = frame["split"].copy()
    if "val" not in set(split):
        train = frame[split == "train"]
        options = {"seed": seed, "validation_fraction": validation_fraction, "test_fraction": 0.0}
        split.update(split_by_lesion(train, **options))
    return split


def count_shared(frame: pd.DataFrame) -> int:
    """Count the images outside training whose lesion or pixels are in training as well.

    Args:
        frame: with `lesion_id`, `pixel_hash` and `split`.
    """
    groups = group_lesions(frame["lesion_id"], frame["pixel_hash"].tolist())
    is_train = frame["split"] == "train"
    return int((groups.isin(groups[is_train]) & ~is_train).sum())


def select_split(frame: pd.DataFrame, split: str, known: KnownImages) -> pd.DataFrame:
    """Select the images of one split of a model, by their ids.

    Args:
        frame: with `image_id` and `lesion_id`.
        split: `train` or `val`: images that the model was trained or validated on; `test`: images
            whose id and whose lesion are in neither, see also `exclude_copies`; `all`: every image.
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
        selected = _is_in(frame["image_id"], known.train_image_ids)
    elif split == "val":
        selected = _is_in(frame["image_id"], known.validation_image_ids)
    else:
        selected = ~_is_known(frame, known)
    if not selected.any():
        raise DataError(
            f"expected images of the model's split {split!r}, received {len(frame)} images of which"
            " none is in it; choose the split 'all' for every image"
        )
    return frame[selected]


def exclude_copies(frame: pd.DataFrame, known: KnownImages) -> pd.DataFrame:
    """Exclude images with the pixels of one that a model knows, and the others of their lesions.

    Args:
        frame: with `lesion_id` and `pixel_hash`.
        known: what the model knows.

    Raises:
        DataError: nothing is left.
    """
    lesions = frame.loc[_is_copy(frame, known), "lesion_id"]
    rest = frame[~frame["lesion_id"].isin(lesions)]
    if rest.empty:
        raise DataError(
            f"expected images that the model does not know, received {len(frame)} with the pixels "
            "of its training or validation images; choose the split 'all' for every image"
        )
    return rest


def count_known(frame: pd.DataFrame, known: KnownImages) -> int:
    """Count the images that a model was trained or validated on, or that show such a lesion.

    Args:
        frame: with `image_id`, `lesion_id` and, optionally, `pixel_hash`.
        known: what the model knows.
    """
    is_known = _is_known(frame, known)
    if "pixel_hash" in frame:
        is_known |= _is_copy(frame, known)
    return int(is_known.sum())


def _is_known(frame: pd.DataFrame, known: KnownImages) -> pd.Series:
    images = [*known.train_image_ids, *known.validation_image_ids]
    lesions = [*known.train_lesion_ids, *known.validation_lesion_ids]
    return _is_in(frame["image_id"], images) | _is_in(frame["lesion_id"], lesions)


def _is_copy(frame: pd.DataFrame, known: KnownImages) -> pd.Series:
    packed = (known.train_pixel_hashes, known.validation_pixel_hashes)
    return frame["pixel_hash"].isin(set().union(*map(unpack_hashes, packed)))


def _is_in(ids: pd.Series, known: Iterable[str]) -> pd.Series:
    """Compare ids as file names are compared on many systems: upper and lower case are equal."""
    return ids.str.casefold().isin([value.casefold() for value in known])


def write_split(frame: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write `image_id`, `lesion_id`, `label` and `split` of each image as CSV."""
    table = frame[["image_id", "lesion_id", "label", "split"]].map(csv_cell)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)


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
        frame: with `image_id`, `lesion_id`, `pixel_hash` and `split`.
        extra: with `image_id`, `lesion_id` and `pixel_hash`.

    Returns:
        The frame with the rows of `extra` that may be used for training, and the counts.
    """
    train, held_out = frame[frame["split"] == "train"], frame[frame["split"] != "train"]
    hashes = extra["pixel_hash"]
    train_hashes, held_out_hashes = (part["pixel_hash"].dropna() for part in (train, held_out))
    by_id = _is_in(extra["image_id"], held_out["image_id"])
    by_id |= _is_in(extra["lesion_id"], held_out["lesion_id"])
    by_pixels = hashes.isin(held_out_hashes) & ~by_id
    lesions = extra.loc[by_id | by_pixels, "lesion_id"]
    by_lesion = extra["lesion_id"].isin(lesions) & ~by_id & ~by_pixels
    excluded = by_id | by_pixels | by_lesion
    repeated = _is_in(extra["image_id"], train["image_id"]) | hashes.isin(train_hashes)
    repeated |= extra["image_id"].duplicated() | (hashes.duplicated() & hashes.notna())
    repeated &= ~excluded
    added = extra[~excluded & ~repeated].assign(split="train")
    counts = Counts(
        *(int(part.sum()) for part in (by_id, by_pixels, by_lesion, repeated)), len(added)
    )
    return pd.concat([frame, added], ignore_index=True), counts
