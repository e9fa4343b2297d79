"""Labels of a data set: read, named and checked, with the classes that they stand for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from data import DataError
from data.classes import HAM10000, ClassScheme, read_class_list
from data.sources import Dataset, drop_missing, read_dataset
from data.splits import SPLIT_NAMES
from support.cli import naming_flag
from support.files import count_noun, list_names, one_line


def choose_classes(classes: str) -> ClassScheme | None:
    """Return the classes of `--classes`; None for those of the labels."""
    if classes == "ham10000":
        return HAM10000
    if classes == "data":
        return None
    with naming_flag("--classes"):
        if not Path(classes).is_file():
            raise DataError(
                f"expected ham10000, data, or a file with one class a line, found no file {classes}"
            )
        return read_class_list(classes)


def describe_classes(frame: pd.DataFrame, classes: ClassScheme) -> str:
    """Name the classes, with their numbers of images, and which of them are malignant."""
    counts = frame["label"].value_counts()
    images = ", ".join(f"{name} {counts.get(name, 0):,}" for name in classes.names)
    malignant = ", ".join(classes.malignant) or "unknown"
    return one_line(f"  {len(classes.names)} classes, images: {images}; malignant: {malignant}")


def read_labels(
    data_dir: str, *, limit: float = 1.0, classes: ClassScheme = HAM10000
) -> tuple[pd.DataFrame, int]:
    """Read a data set, and print what it is and what is skipped.

    Args:
        data_dir: its folder, or its table.
        limit: largest fraction of the labels that may have no image file, and of the images that
            may be of other classes.
        classes: that its labels stand for.

    Returns:
        The rows that have an image file, as in `data.sources.Dataset`; and the number of labels
        that are skipped.

    Raises:
        DataError: it cannot be used, or too much of it would be skipped.
    """
    return _use(read_dataset(data_dir, classes), data_dir, limit)


def read_training_labels(
    data_dir: str, *, limit: float, classes: ClassScheme | None
) -> tuple[pd.DataFrame, int, ClassScheme]:
    """Read a data set of a training as `read_labels` does.

    Args:
        data_dir: as for `read_labels`.
        limit: as for `read_labels`.
        classes: that its labels stand for; None for those that the labels have.

    Returns:
        As `read_labels`; and the classes.

    Raises:
        DataError: as for `read_labels`; if other classes would do, the message says so.
    """
    try:
        dataset = read_dataset(data_dir, classes)
    except DataError as error:
        labels = [] if classes is None else _list_labels(data_dir)
        # Where some labels fit, others are mistakes rather than classes.
        if not labels or any(map(classes.find, labels)):
            raise
        raise DataError(
            f"{error}; or take the classes that the labels have ({list_names(labels, 4)}) with "
            "--classes data"
        ) from error
    return *_use(dataset, data_dir, limit), dataset.classes


def _list_labels(data_dir: str) -> tuple[str, ...]:
    """Return the labels of a data set, whatever they are; none if it cannot be used in any way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read_dataset(data_dir, None).classes.names
        except DataError:
            return ()


def _use(dataset: Dataset, data_dir: str, limit: float) -> tuple[pd.DataFrame, int]:
    """Print what a data set is, and leave out what cannot be used; see `read_labels`."""
    print(one_line(f"{data_dir}: {dataset.layout}"), *dataset.notes, sep="\n  ", flush=True)
    frame, missing_line = drop_missing(dataset.frame, data_dir)
    missing = len(dataset.frame) - len(frame)
    other = sum(dataset.skipped.values())
    labeled = len(dataset.frame) + other
    other_line = f"{other:,} of {labeled:,} images, of other classes: {_name(dataset.skipped)}"
    if missing > limit * len(dataset.frame):
        raise DataError(
            f"expected image files for at least {100 * (1 - limit):g} % of the labels, but "
            f"{missing_line.removeprefix('skipped ')}; unpack all image archives there, or train "
            "without these images with --allow_missing"
        )
    if other > limit * labeled:
        raise DataError(
            f"expected the classes {list_names(dataset.classes.names)} for at least "
            f"{100 * (1 - limit):g} % of the images, but {other_line}; correct these names, train "
            "without these images with --allow_missing, or on all classes of the labels with "
            "--classes data"
        )
    if missing:
        print(missing_line, file=sys.stderr)
    if other:
        print(f"skipped {other_line}", file=sys.stderr)
    return frame, missing + other


def check_classes(frame: pd.DataFrame, class_names: Sequence[str], data_dir: str) -> None:
    """Refuse a data set of one class, and warn about classes of too few lesions for all splits.

    Args:
        frame: with `label` and `lesion_id`.
        class_names: all classes of the model.
        data_dir: for the messages.

    Raises:
        DataError: there is only one class.
    """
    lesions = frame.groupby("label")["lesion_id"].nunique()
    if len(lesions) < 2:
        raise DataError(
            f"expected images of at least two classes in {data_dir}, received "
            f"{lesions.index[0]} only; add another class"
        )
    for name in class_names:
        count = int(lesions.get(name, 0))
        if count >= len(SPLIT_NAMES):
            continue
        problem = (
            f"{count_noun(count, 'lesion')}, too few for the {len(SPLIT_NAMES)} splits; its "
            "metrics will be missing or meaningless"
        )
        problem = problem if count else "no images; the model will not learn it"
        print(f"warning: class {name} has {problem}", file=sys.stderr)


def _name(skipped: dict[str, int]) -> str:
    """Name the most frequent of some labels, with the number of their images."""
    ranked = sorted(skipped.items(), key=lambda item: -item[1])
    return list_names([f"{count:,} {name[:60]!r}" for name, count in ranked], 8)
