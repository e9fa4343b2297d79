"""Images that a model knows: excluded from its test split, and from that of its successor."""

from types import SimpleNamespace

import pandas as pd
import pytest

from data import DataError
from data.fingerprints import pack_hashes
from data.known import exclude_known, keep_apart, match_ids

KNOWN = SimpleNamespace(
    train_image_ids=("t",),
    train_lesion_ids=("T",),
    train_patient_ids=("p",),
    train_pixel_hashes=pack_hashes(["aa" * 8]),
    validation_image_ids=("v",),
    validation_lesion_ids=("V",),
    validation_patient_ids=("q",),
    validation_pixel_hashes=pack_hashes(["bb" * 8]),
)
COLUMNS = ["image_id", "lesion_id", "patient_id", "pixel_hash", "group"]


def make_frame(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


def test_ids_match_in_any_case_and_an_empty_id_matches_nothing():
    assert match_ids(pd.Series(["A", "b", ""]), ["a", "B", ""]).tolist() == [True, True, False]


def test_what_a_model_knows_is_excluded_and_counted_once_by_the_first_reason():
    frame = make_frame(
        ("t", "T", "p", "aa" * 8, "T"),  # known by its id: not counted
        ("n1", "N1", "p", "01" * 8, "N1"),
        ("n2", "N2", "", "bb" * 8, "N2"),  # a copy of a validation image
        ("n3", "N3", "", "03" * 8, "N3"),  # a near-duplicate
        ("n4", "N4", "", "04" * 8, "N3"),  # in one group with that
        ("n5", "N5", "", None, "N5"),
    )
    rest, excluded = exclude_known(frame, KNOWN, near_duplicates=[3])
    assert rest["image_id"].tolist() == ["n5"]
    assert vars(excluded) == {
        "by_patient": 1,
        "by_pixels": 1,
        "by_near_duplicates": 1,
        "by_lesion": 1,
    }
    assert list(rest) == COLUMNS
    with pytest.raises(DataError, match="received 5 that it was trained or validated on, or copie"):
        exclude_known(frame[:5], KNOWN, near_duplicates=[3])


def test_a_frame_without_patients_has_none_to_exclude():
    frame = make_frame(("n", "N", "p", None, "N")).drop(columns="patient_id")
    rest, excluded = exclude_known(frame, KNOWN)
    assert len(rest) == 1
    assert not any(vars(excluded).values())


@pytest.mark.parametrize(
    ("known", "before", "after"),
    [
        # Trained on: only training is left. Validated on: not test.
        ("train", "train", "train"),
        ("train", "val", "train"),
        ("train", "test", "train"),
        ("validation", "train", "train"),
        ("validation", "val", "val"),
        ("validation", "test", "val"),
        ("nowhere", "test", "test"),
        ("nowhere", "val", "val"),
    ],
)
@pytest.mark.parametrize("by", ["image", "lesion", "patient", "pixels"])
def test_no_image_of_the_first_model_validates_or_tests_the_second(known, before, after, by):
    facts = {
        "train": {"image": "t", "lesion": "T", "patient": "p", "pixels": "aa" * 8},
        "validation": {"image": "v", "lesion": "V", "patient": "q", "pixels": "bb" * 8},
    }
    row = {"image": "x", "lesion": "X", "patient": "", "pixels": None}
    if known in facts:
        row[by] = facts[known][by]
    # Another image of the group moves with it.
    frame = make_frame((*row.values(), "G"), ("y", "Y", "", None, "G"), ("z", "Z", "", None, "Z"))
    frame["split"] = [before, before, "test"]
    split, to_train, to_validation = keep_apart(frame, KNOWN)
    assert split.tolist() == [after, after, "test"]
    assert to_train == (2 if after == "train" != before else 0)
    assert to_validation == (2 if after == "val" != before else 0)


def test_a_group_that_was_trained_and_validated_on_is_for_training():
    frame = make_frame(("t", "X", "", None, "G"), ("v", "Y", "", None, "G"))
    frame["split"] = ["test", "test"]
    split, to_train, to_validation = keep_apart(frame, KNOWN)
    assert split.tolist() == ["train", "train"]
    assert (to_train, to_validation) == (2, 0)
