"""The images of a training: read, checked and split before TensorFlow is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from config import TrainConfig
from data import DataError, warn
from data.classes import HAM10000, ClassScheme
from data.near_duplicates import Pair
from data.provenance import name_folder, name_sources
from data.sample import write_sample_dataset
from data.splits import complete_split, count_shared, join_lesions, split_by_lesion
from models.description import Description
from support.cli import naming_flag
from support.files import count_noun
from support.terminal import Progress
from training.duplicates import fingerprint_images, search_near_duplicates, with_hashes
from training.extra import EXCLUDED, add_extra, split_options
from training.initial import respect_initial
from training.labels import (
    check_classes,
    choose_classes,
    describe_classes,
    read_training_labels,
)
from training.settings import read_initial_model
from training.teachers import Teacher, check_teacher, read_teachers


@dataclass(frozen=True)
class LabeledImages:
    """The images of a training.

    Attributes:
        frame: one row per image, with `image_id`, `lesion_id`, `label`, `path`, `pixel_hash`,
            `group` (what a split keeps together), `split`, `data_set` (the name of its data folder)
            and `source` (that of the table, else the same), and perhaps `patient_id`.
        unused: number of labels without an image file or of other classes.
        classes: of the labels.
        initial: what the model that the training starts from says about itself; None without one.
        teachers: models that teach the new one.
    """

    frame: pd.DataFrame
    unused: int
    classes: ClassScheme = HAM10000
    initial: Description | None = None
    teachers: Sequence[Teacher] = ()

    @property
    def earlier(self) -> list[Description]:
        """What the models that the new one learns from say about themselves."""
        initial = [] if self.initial is None else [self.initial]
        return [*initial, *(teacher.description for teacher in self.teachers)]


def read_labeled_images(settings: TrainConfig) -> LabeledImages:
    """Read the data sets of a training and split the first one by lesion, unless it is split.

    Args:
        settings: of the training.

    Raises:
        DataError: a data set or a class list cannot be used.
        TrainingError: there is no initial model where there should be one.
    """
    if settings.sample and not Path(settings.data_dir).exists():
        print(f"Generating a synthetic data set in {settings.data_dir}.", flush=True)
        write_sample_dataset(
            settings.data_dir,
            images_per_class=settings.sample_images_per_class,
            on_progress=Progress("generating", log_tenths=True).update,
        )
    # Everything may be missing if the user allows it.
    limit = 1.0 if settings.allow_missing else settings.missing_image_limit
    classes, initial = choose_classes(settings.classes), None
    teachers = read_teachers(settings.teacher)
    name, *extra_names = _name_data_sets([settings.data_dir, *settings.extra_data_dir])
    with naming_flag("--data_dir"):
        frame, unused, classes = read_training_labels(
            settings.data_dir, limit=limit, classes=classes
        )
        if settings.classes != TrainConfig.classes:
            print(describe_classes(frame, classes), flush=True)
        check_classes(frame, classes.names, settings.data_dir)
        frame["data_set"], frame["source"] = name, name_sources(frame, name)
        fingerprints = fingerprint_images(frame)
        frame = with_hashes(frame, fingerprints.hashes)
        frame["group"] = _join(frame, search_near_duplicates(fingerprints.thumbnails))
        is_given = "split" in frame
        frame["split"] = _split(frame, settings)
    if settings.init_from is not None:
        path, initial = read_initial_model(settings.init_from)
        with naming_flag("--init_from"):
            frame["split"] = respect_initial(frame, path, initial, is_given=is_given)
    thumbnails = fingerprints.thumbnails
    for folder, name in zip(settings.extra_data_dir, extra_names, strict=True):
        with naming_flag("--extra_data_dir"):
            extra, unused_extra, _ = read_training_labels(folder, limit=limit, classes=classes)
        extra["data_set"], extra["source"] = name, name_sources(extra, name)
        frame, thumbnails = add_extra(frame, extra, thumbnails, settings, initial, teachers)
        unused += unused_extra
    frame = frame[frame["split"] != EXCLUDED].reset_index(drop=True)
    for teacher in teachers:
        with naming_flag("--teacher"):
            check_teacher(teacher, frame, classes)
    return LabeledImages(frame, unused, classes, initial, teachers)


def _name_data_sets(folders: list[str]) -> list[str]:
    """Return a name for each data folder; those of one name are numbered."""
    names = [name_folder(folder) for folder in folders]
    return [f"{n} ({i})" if names.count(n) > 1 else n for i, n in enumerate(names, start=1)]


def _join(frame: pd.DataFrame, pairs: list[Pair]) -> pd.Series:
    """Return what a split keeps together, and print what was joined."""
    if "split" not in frame:
        lesions, hashes = (frame[name].tolist() for name in ("lesion_id", "pixel_hash"))
        # Identical images are reported by themselves.
        count = sum(
            lesions[pair.first] != lesions[pair.second]
            and (hashes[pair.first] is None or hashes[pair.first] != hashes[pair.second])
            for pair in pairs
        )
        if count:
            print(f"  {count_noun(count, 'pair')} of near-duplicates joined")
        if patients := frame.get("patient_id", pd.Series(dtype=object)).replace("", None).nunique():
            print(f"  {patients:,} patients, each with all images in one split")
    return join_lesions(frame, pairs)


def _split(frame: pd.DataFrame, settings: TrainConfig) -> pd.Series:
    """Return the split of each image: that of the data set, or else by lesion.

    Raises:
        DataError: there are no training or no validation images.
    """
    options = split_options(settings)
    if "split" in frame:
        split = complete_split(frame, **options)
        if shared := count_shared(frame.assign(split=split)):
            warn(
                f"{shared:,} validation or test images of the split in {settings.data_dir} show a "
                f"lesion{_or_patient(frame)} of the train split, or are copies or near-duplicates "
                "of its images: their metrics are too high"
            )
    else:
        split = split_by_lesion(frame, test_fraction=settings.test_fraction, **options)
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


def _or_patient(frame: pd.DataFrame) -> str:
    return " or patient" if "patient_id" in frame else ""
