"""Which models may teach another one."""

from pathlib import Path

import pandas as pd
import pytest

from data import DataWarning
from data.classes import ClassScheme
from data.fingerprints import pack_hashes
from models.description import Description
from training import TrainingError
from training.teachers import Teacher, check_teacher, read_teachers

CLASSES = ClassScheme(("mel", "nv"))
HASH = "0f" * 8


def make_frame() -> pd.DataFrame:
    """Two images for each split; v1 and t0 each share a group with a training image."""
    rows = [(f"{part}{i}", f"L{part}{i}", split) for part, split in PARTS.items() for i in (0, 1)]
    frame = pd.DataFrame(rows, columns=["image_id", "lesion_id", "split"])
    frame["pixel_hash"] = [f"{i:016x}" for i in range(len(frame))]
    frame["group"] = frame["lesion_id"]
    return frame


PARTS = {"n": "train", "v": "val", "t": "test"}


def make_teacher(**fields) -> Teacher:
    fields = {"class_names": ("nv", "mel"), "train_pixel_hashes": pack_hashes([HASH]), **fields}
    return Teacher(Path("t.keras"), Description("mobilenet", image_size=32, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"train_image_ids": ("n0", "other")},
        {"train_image_ids": ("n0",), "train_lesion_ids": ("Ln1",)},
        # What chose its best epoch may do so for the student, too.
        {"train_image_ids": ("n0",), "validation_image_ids": ("v0", "v1", "t1")},
    ],
)
def test_a_teacher_may_know_the_training_images_of_its_student(fields):
    check_teacher(make_teacher(**fields), make_frame(), CLASSES)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_image_ids": ("n0", "v1")}, "validation images, .* trained on 1 of them"),
        ({"train_image_ids": ("t0", "t1")}, "test images, .* trained on 2 of them"),
        ({"train_image_ids": ("x",), "train_lesion_ids": ("lv0",)}, "validation images"),
        (
            {"train_image_ids": ("x",), "train_pixel_hashes": pack_hashes([f"{4:016x}"])},
            "test images",
        ),
    ],
)
def test_a_teacher_that_was_trained_on_validation_or_test_images_is_refused(fields, message):
    with pytest.raises(TrainingError, match=rf"not trained on {message}.*same split$"):
        check_teacher(make_teacher(**fields), make_frame(), CLASSES)


def test_a_near_duplicate_of_a_training_image_of_the_teacher_is_refused():
    frame = make_frame()
    # A near-duplicate that the teacher's split had in training, and the student's in validation.
    frame.loc[1, "split"] = "val"
    frame.loc[:1, "group"] = "Ln0"
    with pytest.raises(TrainingError, match=r"trained on 1 of them, or on .* near-duplicates"):
        check_teacher(make_teacher(train_image_ids=("n0",)), frame, CLASSES)


def test_a_teacher_of_other_classes_is_refused():
    teacher = make_teacher(class_names=("mel", "nv", "bkl"), train_image_ids=("n0",))
    with pytest.raises(TrainingError, match=r"the classes mel, nv, received .* mel, nv, bkl"):
        check_teacher(teacher, make_frame(), CLASSES)


def test_a_teacher_that_does_not_know_its_images_is_a_warning():
    with pytest.warns(DataWarning, match=r"t\.keras does not say which images"):
        check_teacher(make_teacher(), make_frame(), CLASSES)


@pytest.mark.parametrize("name", ["missing.keras", "other.tflite"])
def test_a_file_that_is_no_model_is_refused(tmp_path, name):
    (tmp_path / "other.tflite").write_bytes(b"TFL3")
    with pytest.raises(TrainingError, match=r"^--teacher: (found no file|expected a \.keras)"):
        read_teachers((str(tmp_path / name),))
