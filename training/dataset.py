"""The labels of a training: read, split and checked before TensorFlow is imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from config import TrainConfig
from data import DataError
from data.sample import write_sample_dataset
from data.sources import drop_missing, read_dataset
from data.splits import SPLIT_NAMES, add_training_data, split_by_lesion
from support.cli import naming_flag


@dataclass(frozen=True)
class LabeledImages:
    """The images of a training.

    Attributes:
        frame: one row per image, with `image_id`, `lesion_id`, `label`, `path` and `split`.
        missing: number of labels without an image file.
    """

    frame: pd.DataFrame
    missing: int


def read_labeled_images(settings: TrainConfig) -> LabeledImages:
    """Read the data sets of a training and split the first one by lesion.

    Args:
        settings: of the training.

    Raises:
        DataError: a data set cannot be used.
    """
    if settings.sample and not Path(settings.data_dir).exists():
        print(f"Generating a synthetic data set in {settings.data_dir}.", flush=True)
        write_sample_dataset(settings.data_dir, images_per_class=settings.sample_images_per_class)
    with naming_flag("--data_dir"):
        frame, missing = _read_folder(settings.data_dir, settings)
        _check_classes(frame, settings.data_dir)
        frame["split"] = split_by_lesion(
            frame,
            seed=settings.seed,
            validation_fraction=settings.validation_fraction,
            test_fraction=settings.test_fraction,
        )
        if not {"train", "val"} <= set(frame["split"]):
            raise DataError(
                f"expected at least three lesions per class in {settings.data_dir}, received "
                f"{frame['lesion_id'].nunique()} lesions in all; add images"
            )
    for folder in settings.extra_data_dir:
        with naming_flag("--extra_data_dir"):
            extra, without_file = _read_folder(folder, settings)
        frame = _add_extra(frame, extra)
        missing += without_file
    return LabeledImages(frame, missing)


def _read_folder(data_dir: str, settings: TrainConfig) -> tuple[pd.DataFrame, int]:
    """Read a data set and print what it is; returns the rows with a file, and how many have none.

    Raises:
        DataError: it cannot be used, or too many images are missing.
    """
    dataset = read_dataset(data_dir)
    print(f"{data_dir}: {dataset.layout}", *dataset.notes, sep="\n  ", flush=True)
    frame, line = drop_missing(dataset.frame, data_dir)
    missing = len(dataset.frame) - len(frame)
    if missing > settings.missing_image_limit * len(dataset.frame) and not settings.allow_missing:
        raise DataError(
            f"expected image files for at least {1 - settings.missing_image_limit:.0%} of the "
            f"labels, but {line.removeprefix('skipped ')}; unpack all image archives there, or "
            "train without these images with --allow_missing"
        )
    if line:
        print(line, file=sys.stderr)
    return frame, missing


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
