"""Labels: read, checked and split before TensorFlow is imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from config import TrainConfig
from data import DataError
from data.duplicates import pixel_hashes
from data.sample import write_sample_dataset
from data.sources import drop_missing, read_dataset
from data.splits import (
    SPLIT_NAMES,
    add_training_data,
    class_indices,
    complete_split,
    count_shared,
    exclude_copies,
    select_split,
    split_by_lesion,
)
from data.tables import list_names, warn
from models.description import Description
from support.cli import naming_flag
from support.files import one_line
from support.terminal import Progress


@dataclass(frozen=True)
class LabeledImages:
    """The images of a training.

    Attributes:
        frame: one row per image, with `image_id`, `lesion_id`, `label`, `path`, `pixel_hash` and
            `split`.
        unused: number of labels without an image file or of other classes.
    """

    frame: pd.DataFrame
    unused: int


def read_labeled_images(settings: TrainConfig) -> LabeledImages:
    """Read the data sets of a training and split the first one by lesion, unless it is split.

    Args:
        settings: of the training.

    Raises:
        DataError: a data set cannot be used.
    """
    if settings.sample and not Path(settings.data_dir).exists():
        print(f"Generating a synthetic data set in {settings.data_dir}.", flush=True)
        write_sample_dataset(settings.data_dir, images_per_class=settings.sample_images_per_class)
    # Everything may be missing if the user allows it.
    limit = 1.0 if settings.allow_missing else settings.missing_image_limit
    with naming_flag("--data_dir"):
        frame, unused = read_labels(settings.data_dir, limit=limit)
        _check_classes(frame, settings.data_dir)
        frame["pixel_hash"] = _hash(frame)
        frame["split"] = _split(frame, settings)
    for folder in settings.extra_data_dir:
        with naming_flag("--extra_data_dir"):
            extra, unused_extra = read_labels(folder, limit=limit)
        frame = _add_extra(frame, extra.assign(pixel_hash=_hash(extra)))
        unused += unused_extra
    return LabeledImages(frame, unused)


def read_labels(data_dir: str, *, limit: float = 1.0) -> tuple[pd.DataFrame, int]:
    """Read a data set, and print what it is and what is skipped.

    Args:
        data_dir: its folder, or its table.
        limit: largest fraction of the labels that may have no image file, and of the images that
            may be of other classes.

    Returns:
        The rows that have an image file, as in `data.sources.Dataset`; and the number of labels
        that are skipped.

    Raises:
        DataError: it cannot be used, or too much of it would be skipped.
    """
    dataset = read_dataset(data_dir)
    print(one_line(f"{data_dir}: {dataset.layout}"), *dataset.notes, sep="\n  ", flush=True)
    frame, missing_line = drop_missing(dataset.frame, data_dir)
    missing = len(dataset.frame) - len(frame)
    other = sum(dataset.skipped.values())
    labeled = len(dataset.frame) + other
    other_line = f"{other:,} of {labeled:,} images, of other classes: {_name(dataset.skipped)}"
    if missing > limit * len(dataset.frame):
        raise DataError(
            f"expected image files for at least {1 - limit:.0%} of the labels, but "
            f"{missing_line.removeprefix('skipped ')}; unpack all image archives there, or train "
            "without these images with --allow_missing"
        )
    if other > limit * labeled:
        raise DataError(
            f"expected the classes of HAM10000 for at least {1 - limit:.0%} of the images, but "
            f"{other_line}; correct these names, or train without these images with "
            "--allow_missing"
        )
    if missing:
        print(missing_line, file=sys.stderr)
    if other:
        print(f"skipped {other_line}", file=sys.stderr)
    return frame, missing + other


def select_images(data_dir: str, split: str, description: Description) -> pd.DataFrame:
    """Read a data set, and select the images of one split of a model.

    Images that have the pixels of one that the model knows are no test images, whatever their name;
    their number is printed.

    Args:
        data_dir: its folder, or its table.
        split: as for `data.splits.select_split`.
        description: of the model.

    Raises:
        DataError: the data set cannot be used, or no image is left.
    """
    with naming_flag("--data_dir"):
        frame, _ = read_labels(data_dir)
        class_indices(frame["label"], description.class_names)  # names classes the model lacks
    with naming_flag("--split"):
        frame = select_split(frame, split, description).reset_index(drop=True)
        if split in ("train", "val"):
            return frame
        frame["pixel_hash"] = _hash(frame)
        if split == "all":
            return frame
        rest = exclude_copies(frame, description).reset_index(drop=True)
    if len(rest) < len(frame):
        print(
            f"excluded {len(frame) - len(rest):,} of {len(frame):,} images: they have the pixels "
            "of training or validation images of the model, or show the lesions of such copies",
            file=sys.stderr,
        )
    return rest


def _name(skipped: dict[str, int]) -> str:
    """Name the most frequent of some labels, with the number of their images."""
    ranked = sorted(skipped.items(), key=lambda item: -item[1])
    return list_names([f"{count:,} {name[:60]!r}" for name, count in ranked], 8)


def _hash(frame: pd.DataFrame) -> pd.Series:
    """Return a hash of the pixels of each image, None where it cannot be read."""
    progress = Progress("comparing images")
    hashes = pixel_hashes(frame["path"].tolist(), on_progress=progress.update)
    return pd.Series(hashes, index=frame.index, dtype=object)


def _split(frame: pd.DataFrame, settings: TrainConfig) -> pd.Series:
    """Return the split of each image: that of the data set, or else by lesion.

    Raises:
        DataError: there are no training or no validation images.
    """
    seed, validation_fraction = settings.seed, settings.validation_fraction
    if "split" in frame:
        split = complete_split(frame, seed=seed, validation_fraction=validation_fraction)
        if shared := count_shared(frame.assign(split=split)):
            warn(
                f"{shared:,} validation or test images of the split in {settings.data_dir} show a "
                "lesion of the train split, or have the pixels of one of its images: their metrics "
                "are too high"
            )
    else:
        split = split_by_lesion(
            frame,
            seed=seed,
            validation_fraction=validation_fraction,
            test_fraction=settings.test_fraction,
        )
        _report_copies(frame)
    if not {"train", "val"} <= set(split):
        raise DataError(
            f"expected at least three lesions per class in {settings.data_dir}, received "
            f"{frame['lesion_id'].nunique()} lesions in all; add images"
        )
    return split


def _report_copies(frame: pd.DataFrame) -> None:
    """Warn about images that are stored more than once."""
    known = frame[frame["pixel_hash"].notna()]
    copies = known[known["pixel_hash"].duplicated(keep=False)]
    if copies.empty:
        return
    labels = copies.groupby("pixel_hash")["label"].transform("nunique")
    first = copies[copies["pixel_hash"] == copies["pixel_hash"].iloc[0]]["image_id"]
    several = int((labels > 1).sum())
    warn(
        f"{len(copies):,} images are identical to others, such as {first.iloc[0]} and "
        f"{first.iloc[1]}: identical images stay in one split"
        + (f"; {several:,} of them have several diagnoses" if several else "")
    )


def _check_classes(frame: pd.DataFrame, data_dir: str) -> None:
    lesions = frame.groupby("label")["lesion_id"].nunique()
    if len(lesions) < 2:
        raise DataError(
            f"expected images of at least two classes in {data_dir}, received "
            f"{lesions.index[0]} only; add another class"
        )
    for label in lesions.index[lesions < len(SPLIT_NAMES)]:
        print(
            f"warning: class {label} has {lesions[label]} lesions, too few for the "
            f"{len(SPLIT_NAMES)} splits; its metrics will be missing or meaningless",
            file=sys.stderr,
        )


def _add_extra(frame: pd.DataFrame, extra: pd.DataFrame) -> pd.DataFrame:
    """Add images to the train split, and print how many were excluded."""
    frame, counts = add_training_data(frame, extra)
    print(
        f"  added to the train split: {counts.added:,} of {len(extra):,} images\n"
        f"  excluded, since they are in the validation or test split: {counts.by_id:,} by image or "
        f"lesion id, {counts.by_pixels:,} by pixels, {counts.by_lesion:,} of the same lesions\n"
        f"  excluded, since they are in the train split already: {counts.repeated:,}",
        flush=True,
    )
    return frame
