"""Labels: read, checked and split before TensorFlow is imported."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from config import TrainConfig
from data import DataError
from data.classes import HAM10000, ClassScheme, scheme_of_model
from data.duplicates import pixel_hashes
from data.groups import find_unknown_lesions, group_images
from data.known import Excluded, exclude_known, find_known, match_ids
from data.near_duplicates import Pair
from data.provenance import name_folder, name_sources
from data.sample import write_sample_dataset
from data.splits import (
    complete_split,
    count_shared,
    join_lesions,
    select_split,
    split_by_lesion,
)
from data.tables import warn
from models.description import Description
from support.cli import naming_flag
from support.files import count_noun
from support.terminal import Progress
from training.duplicates import add_groups, read_frame, search
from training.extra import add_extra, split_options
from training.initial import respect_initial
from training.labels import (
    check_classes,
    choose_classes,
    describe_classes,
    read_labels,
    read_training_labels,
)
from training.settings import read_initial_model
from training.teachers import Teacher, check_teacher, read_teachers

_OTHER_IMAGES = (
    "evaluate on images that the model does not know, such as the official test set of ISIC 2018 "
    "(python -m data.download --test_set)"
)


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
        fingerprints = read_frame(frame)
        frame["pixel_hash"] = pd.Series(fingerprints.hashes, index=frame.index, dtype=object)
        frame["group"] = _join(frame, search(fingerprints.thumbnails))
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
        frame, thumbnails = add_extra(frame, extra, thumbnails, settings, initial)
        unused += unused_extra
    for teacher in teachers:
        with naming_flag("--teacher"):
            check_teacher(teacher, frame, classes)
    return LabeledImages(frame, unused, classes, initial, teachers)


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
        progress = Progress("comparing images")
        hashes = pixel_hashes(frame["path"].tolist(), on_progress=progress.update)
        frame["pixel_hash"] = pd.Series(hashes, index=frame.index, dtype=object)
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
    fingerprints = read_frame(frame)
    frame = frame.assign(pixel_hash=pd.Series(fingerprints.hashes, frame.index, object))
    reasons = find_known(frame, description)
    known = pd.concat(reasons, axis=1).any(axis=1).to_numpy()
    _warn_of_names(frame, description, reasons["pixels"])
    found = []
    if (known.any() and not known.all()) or find_unknown_lesions(frame).any():
        # The search depends on all images: the same ones give the same pairs as in the training.
        found = search(fingerprints.thumbnails)
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
