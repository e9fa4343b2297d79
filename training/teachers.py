"""Models that teach another one: found and checked before TensorFlow is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from data.classes import ClassScheme
from data.known import is_known
from models.description import Description
from support.cli import naming_flag
from training import TrainingError
from training.initial import warn_of_unknown_images
from training.settings import read_trained_model


@dataclass(frozen=True)
class Teacher:
    """A trained model whose predictions another one learns.

    Attributes:
        path: its file.
        description: what it says about itself.
    """

    path: Path
    description: Description


def read_teachers(paths: tuple[str, ...]) -> list[Teacher]:
    """Find teachers, and read what they say about themselves.

    Args:
        paths: `.keras` files, or folders of runs.

    Raises:
        TrainingError: one of them is no model of this project.
    """
    with naming_flag("--teacher"):
        return [Teacher(*read_trained_model(path)) for path in paths]


def check_teacher(teacher: Teacher, frame: pd.DataFrame, classes: ClassScheme) -> None:
    """Check that a teacher suits a training.

    What it has learned from validation or test images, it would pass on; these would then measure
    the student too well.

    Args:
        teacher: to check.
        frame: images of the training, with `image_id`, `lesion_id`, `group` and `split`, and
            perhaps `patient_id` and `pixel_hash`.
        classes: of the student.

    Raises:
        TrainingError: it has other classes, or was trained on images that validate or test the
            student.
    """
    path, description = teacher.path, teacher.description
    if set(description.class_names) != set(classes.names):
        raise TrainingError(
            f"expected a teacher with the classes {', '.join(classes.names)}, received {path} with "
            f"{', '.join(description.class_names)}; train it on the same classes"
        )
    warn_of_unknown_images(path, description)
    groups = frame["group"]
    check_taught(
        teacher, frame, groups.isin(groups[is_known(frame, description, parts=("train",))])
    )


def check_taught(teacher: Teacher, frame: pd.DataFrame, taught: pd.Series) -> None:
    """Check that what a teacher was trained on does not validate or test its student.

    Args:
        teacher: to check.
        frame: images of the training, with `split`.
        taught: bool, which of these the teacher was trained on, in whatever copy.

    Raises:
        TrainingError: some are validation or test images.
    """
    for split, name in (("val", "validation"), ("test", "test")):
        if count := int((taught & (frame["split"] == split)).sum()):
            raise TrainingError(
                f"expected a teacher that was not trained on {name} images, received "
                f"{teacher.path}: it was trained on {count:,} of them, or on images of their "
                "lesions or near-duplicates; train both with the same split"
            )
