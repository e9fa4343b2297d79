"""Additional training images: which are excluded, and why."""

import numpy as np
import pandas as pd
from PIL import Image

from data.extra import select_extra, split_extra
from data.fingerprints import pixel_hashes
from data.splits import Fold


def test_no_image_of_validation_or_test_enters_training(tmp_path):
    def write(name: str, number: int) -> str:
        pixels = np.random.default_rng(number).integers(0, 256, (10, 14, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
        return str(tmp_path / name)

    rows = [("t", "T", "train"), ("v", "V", "val"), ("x", "X", "test"), ("y", "Y", "test")]
    frame = pd.DataFrame(rows, columns=["image_id", "lesion_id", "split"])
    frame["label"] = "nv"
    paths = [write(f"{name}.png", number) for number, (name, _, _) in enumerate(rows)]
    frame["pixel_hash"] = pixel_hashes(paths)
    extra = pd.DataFrame(
        [
            ("v", "A", 10),  # an image of validation, under another lesion
            ("a2", "A", 11),  # the same lesion as that image
            ("b", "V", 12),  # a lesion of validation
            ("c", "C", 2),  # the pixels of a test image
            ("c2", "C", 13),  # the same lesion as those
            ("t", "D", 14),  # an image of training
            ("e", "E", 0),  # the pixels of a training image
            ("f", "T", 15),  # another image of a training lesion
            ("g", "G", 16),
            ("g2", "G2", 16),  # the pixels of the one before
            ("h", "H", 17),  # a near-duplicate of a test image
            ("h2", "H", 18),  # the same lesion as that one
        ],
        columns=["image_id", "lesion_id", "number"],
    )
    paths = [write(f"extra-{row.image_id}.png", row.number) for row in extra.itertuples()]
    extra["pixel_hash"], extra["group"] = pixel_hashes(paths), extra["lesion_id"]
    extra = extra.assign(label="mel").drop(columns="number")
    selected, _, counts = select_extra(frame, extra, near_duplicates=[10])
    assert selected["image_id"].tolist() == ["f", "g"]
    assert vars(counts) == {
        "by_id": 2,
        "by_pixels": 1,
        "by_near_duplicates": 1,
        "by_lesion": 3,
        "repeated": 3,
        "added": 2,
    }
    assert selected.index.tolist() == [7, 8]


def test_a_patient_of_validation_or_test_enters_training_with_no_image():
    columns = ["image_id", "lesion_id", "patient_id", "pixel_hash", "split"]
    rows = [("a", "A", "p", "1", "train"), ("b", "B", "q", "2", "test"), ("c", "C", "", "3", "val")]
    frame = pd.DataFrame(rows, columns=columns)
    rows = [("d", "D", "Q", "4"), ("e", "E", "p", "5"), ("f", "F", "", "6")]
    extra = pd.DataFrame(rows, columns=columns[:-1]).assign(group=["D", "E", "F"])
    selected, _, counts = select_extra(frame, extra)
    assert selected["image_id"].tolist() == ["e", "f"]
    assert (counts.by_id, counts.added) == (1, 2)
    # Without patients, lesions decide.
    assert select_extra(frame.drop(columns="patient_id"), extra)[2].added == 3


def test_an_image_of_the_group_of_a_copy_stays_out():
    columns = ["image_id", "lesion_id", "pixel_hash", "split"]
    frame = pd.DataFrame([("a", "A", "1", "train"), ("b", "B", "2", "test")], columns=columns)
    rows = [("c", "C", "2", "C"), ("d", "D", "9", "C"), ("e", "E", "8", "E")]
    extra = pd.DataFrame(rows, columns=[*columns[:-1], "group"])
    selected, _, counts = select_extra(frame, extra)
    assert selected["image_id"].tolist() == ["e"]
    assert (counts.by_pixels, counts.by_lesion) == (1, 1)


def test_validation_gets_additional_images_of_no_training_lesion_or_patient():
    columns = ["image_id", "lesion_id", "patient_id", "split"]
    rows = [("a", "A", "p", "train"), ("b", "B", "q", "val")]
    frame = pd.DataFrame(rows, columns=columns)
    extra = pd.DataFrame(
        {
            "image_id": [f"x{i}" for i in range(24)],
            "lesion_id": ["A", *(f"L{i // 2}" for i in range(1, 24))],
            "patient_id": ["", "p", *[""] * 22],
            "label": ["nv", "mel"] * 12,
        }
    )
    extra["group"] = extra["lesion_id"]
    extra.index += 100
    options = {"seed": 0, "validation_fraction": 0.25}
    split = split_extra(frame, extra, [104], **options)
    assert split.index.equals(extra.index)
    # x0 is of a training lesion, x1 of a training patient, x4 a near-duplicate; x5 is of its group.
    assert set(split.iloc[[0, 1, 4, 5]]) == {"train"}
    assert split.groupby(extra["group"]).nunique().eq(1).all()
    assert 4 <= (split == "val").sum() <= 6
    assert split_extra(frame, extra, extra.index, **options).eq("train").all()
    folds = [split_extra(frame, extra, [104], **options, fold=Fold(i, 4)) for i in range(4)]
    validated = sum((fold == "val").astype(int) for fold in folds)
    assert validated.tolist() == [0, 0, 1, 1, 0, 0, *[1] * 18]


def test_an_image_of_the_group_of_a_repeated_one_is_tied_to_the_train_split():
    frame = pd.DataFrame({"image_id": ["a", "b"], "lesion_id": ["HAM_1", "HAM_2"]})
    frame = frame.assign(pixel_hash=["1", "2"], split=["train", "val"])
    # The other data set calls the lesion of a something else, and has another image of it.
    extra = pd.DataFrame({"image_id": ["a", "c", "d"], "lesion_id": ["IL_1", "IL_1", "IL_2"]})
    extra = extra.assign(pixel_hash=["9", "8", "7"], group=["IL_1", "IL_1", "IL_2"])
    selected, _, counts = select_extra(frame, extra)
    assert (counts.repeated, counts.added) == (1, 2)
    assert selected.set_index("image_id")["tied"].to_dict() == {"c": True, "d": False}
