from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from data import DataError
from data.fingerprints import pack_hashes
from data.ham10000 import CLASS_NAMES
from data.known import count_known
from data.near_duplicates import Pair
from data.sources import read_dataset
from data.splits import (
    Fold,
    complete_split,
    count_shared,
    join_lesions,
    select_split,
    split_by_lesion,
    write_split,
)
from data.targets import class_fractions, class_indices, class_weights, one_hot

FRACTIONS = {"validation_fraction": 0.15, "test_fraction": 0.15}


def make_frame() -> pd.DataFrame:
    """A small HAM10000: its class fractions, and several images of some lesions."""
    rng = np.random.default_rng(0)
    counts = dict(zip(CLASS_NAMES, (33, 51, 110, 12, 111, 670, 14), strict=True))
    rows = []
    for label, count in counts.items():
        lesion = -1
        while count > 0:
            lesion += 1
            images = min(count, int(rng.choice([1, 2, 3, 6], p=[0.72, 0.2, 0.06, 0.02])))
            rows += [(f"{label}-{lesion}", label)] * images
            count -= images
    frame = pd.DataFrame(rows, columns=["lesion_id", "label"])
    frame["image_id"] = [f"ISIC_{index:07d}" for index in range(len(frame))]
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


def check_split(frame: pd.DataFrame, seed: int) -> None:
    frame = frame.assign(split=split_by_lesion(frame, seed=seed, **FRACTIONS))
    assert frame.groupby("lesion_id")["split"].nunique().max() == 1
    overall = frame["label"].value_counts(normalize=True)
    sizes = frame["split"].value_counts(normalize=True)
    for name, fraction in {"train": 0.7, "val": 0.15, "test": 0.15}.items():
        assert sizes[name] == pytest.approx(fraction, abs=0.01)
        inside = frame.loc[frame["split"] == name, "label"].value_counts(normalize=True)
        assert (inside - overall).abs().max() < 0.015


@pytest.mark.parametrize("seed", range(10))
def test_a_split_keeps_lesions_whole_and_class_fractions(seed):
    check_split(make_frame(), seed)


def test_splits_of_the_real_metadata_for_ten_seeds(ham10000_dir):
    frame = read_dataset(ham10000_dir).frame
    for seed in range(10):
        check_split(frame, seed)


def test_a_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    frame = make_frame()
    first = split_by_lesion(frame, seed=3, **FRACTIONS)
    assert first.equals(split_by_lesion(frame, seed=3, **FRACTIONS))
    assert not first.equals(split_by_lesion(frame, seed=4, **FRACTIONS))
    backwards = split_by_lesion(frame.iloc[::-1], seed=3, **FRACTIONS)
    assert first.equals(backwards.sort_index())


def test_a_class_of_three_lesions_is_in_all_three_splits():
    frame = pd.DataFrame({"lesion_id": ["a", "a", "b", "c", "c"], "label": ["df"] * 5})
    assert set(split_by_lesion(frame, seed=0, **FRACTIONS)) == {"train", "val", "test"}


def test_a_lesion_with_two_diagnoses_stays_in_one_split():
    frame = pd.DataFrame({"lesion_id": ["a"] * 3, "label": ["mel", "nv", "bkl"]})
    assert split_by_lesion(frame, seed=0, **FRACTIONS).nunique() == 1


def test_fractions_that_leave_no_training_images_are_refused():
    with pytest.raises(ValueError, match="should be above 0"):
        split_by_lesion(make_frame(), seed=0, validation_fraction=0.5, test_fraction=0.5)


def test_lesions_with_an_identical_image_stay_in_one_split():
    frame = pd.DataFrame({"lesion_id": [f"L{i:03d}" for i in range(120)], "label": "nv"})
    # Each image of the first half has a copy under another lesion in the second.
    frame["pixel_hash"] = [f"{i % 60:016x}" for i in range(120)]
    split = split_by_lesion(frame, seed=0, **FRACTIONS)
    assert split[:60].tolist() == split[60:].tolist()
    assert set(split) == {"train", "val", "test"}
    apart = split_by_lesion(frame.drop(columns="pixel_hash"), seed=0, **FRACTIONS)
    assert apart[:60].tolist() != apart[60:].tolist()


@pytest.mark.parametrize("test_fraction", [0.0, 0.15])
@pytest.mark.parametrize("count", [2, 5])
def test_folds_validate_each_image_outside_the_test_split_once(count, test_fraction):
    frame = make_frame()
    options = {"seed": 0, "validation_fraction": 0.15, "test_fraction": test_fraction}
    splits = [split_by_lesion(frame, **options, fold=Fold(i, count)) for i in range(count)]
    is_test = split_by_lesion(frame, **options) == "test"
    validated = sum((split == "val").astype(int) for split in splits)
    assert validated.equals(1 - is_test.astype(int))
    for split in splits:
        assert (split == "test").equals(is_test)
        assert split.groupby(frame["lesion_id"]).nunique().max() == 1
        sizes = pd.crosstab(frame["label"][~is_test], split[~is_test])
        # The largest lesions have six images.
        assert (sizes["val"] - sizes.sum(axis=1) / count).abs().max() <= 6
    assert is_test.mean() == pytest.approx(test_fraction, abs=0.01)


def test_folds_of_a_given_split_leave_its_test_images_alone():
    frame = make_frame()
    frame["split"] = [("test", "val", "train", "train")[i % 4] for i in frame.index]
    options = {"seed": 0, "validation_fraction": 0.15}
    splits = [complete_split(frame, **options, fold=Fold(i, 3)) for i in range(3)]
    for split in splits:
        assert (split == "test").equals(frame["split"] == "test")
    validated = sum((split == "val").astype(int) for split in splits)
    assert validated.equals((frame["split"] != "test").astype(int))


def test_a_given_split_without_validation_takes_it_from_training_by_lesion():
    frame = make_frame()
    frame["split"] = ["test" if i % 5 == 0 else "train" for i in range(len(frame))]
    split = complete_split(frame, seed=0, validation_fraction=0.2)
    assert (split == "test").equals(frame["split"] == "test")
    train = frame[frame["split"] == "train"].assign(split=split)
    assert train.groupby("lesion_id")["split"].nunique().max() == 1
    assert (train["split"] == "val").mean() == pytest.approx(0.2, abs=0.01)
    whole = frame.assign(split=split)
    assert complete_split(whole, seed=1, validation_fraction=0.5).equals(split)


def test_images_that_a_given_split_shares_with_training_are_counted():
    rows = [("A", "train"), ("A", "val"), ("B", "test"), ("C", "test"), ("A", "test")]
    frame = pd.DataFrame(rows, columns=["group", "split"])
    assert count_shared(frame) == 2
    assert count_shared(frame[1:]) == 0


def test_near_duplicates_move_to_one_split_and_hardly_any_other_image_moves():
    frame = make_frame()
    before = split_by_lesion(frame, seed=0, **FRACTIONS)
    # Six pairs of lesions in different splits.
    places = {name: np.flatnonzero(before == name) for name in ("train", "val", "test")}
    pairs = [
        Pair(int(places[one][10 * k]), int(places[other][10 * k + 5]), 1.0)
        for k, (one, other) in enumerate([("train", "test"), ("train", "val"), ("val", "test")] * 2)
    ]
    frame["group"] = join_lesions(frame, pairs)
    assert frame["lesion_id"].nunique() - frame["group"].nunique() == 6
    after = split_by_lesion(frame, seed=0, **FRACTIONS)
    assert frame.assign(split=after).groupby("group")["split"].nunique().max() == 1
    moved = (before != after).sum()
    assert 6 <= moved <= 30
    check_split(frame, 0)


def test_images_of_a_patient_stay_in_one_split():
    frame = pd.DataFrame({"lesion_id": [f"L{i:03d}" for i in range(120)], "label": "nv"})
    frame["patient_id"] = ["" if i < 20 else f"P{i // 4}" for i in range(120)]
    split = split_by_lesion(frame, seed=0, **FRACTIONS)
    assert frame[20:].assign(split=split).groupby("patient_id")["split"].nunique().max() == 1
    assert set(split) == {"train", "val", "test"}
    # Patients that are not known are not one patient.
    assert split[:20].nunique() == 3


FRAME = pd.DataFrame(
    {
        "image_id": ["t1", "t2", "v1", "new of t", "new of v", "new"],
        "lesion_id": ["T", "T", "V", "T", "V", "N"],
    }
)
IDS = SimpleNamespace(
    train_image_ids=("t1", "t2"),
    train_lesion_ids=("T",),
    train_patient_ids=("p",),
    train_pixel_hashes=pack_hashes(["aa" * 8]),
    validation_image_ids=("v1",),
    validation_lesion_ids=("V",),
    validation_patient_ids=("q",),
    validation_pixel_hashes=pack_hashes(["bb" * 8]),
)


@pytest.mark.parametrize(
    ("split", "images"),
    [
        ("train", ["t1", "t2"]),
        ("val", ["v1"]),
        ("test", ["new"]),
        ("all", FRAME["image_id"].tolist()),
    ],
)
def test_the_test_split_has_no_lesion_that_the_model_knows(split, images):
    assert select_split(FRAME, split, IDS)["image_id"].tolist() == images


def test_known_images_are_those_of_training_and_validation_and_of_their_lesions():
    assert count_known(FRAME, IDS) == 5
    assert count_known(FRAME[5:], IDS) == 0


def test_ids_of_another_case_are_known():
    frame = pd.DataFrame({"image_id": ["T1", "n"], "lesion_id": ["other", "v"]})
    assert count_known(frame, IDS) == 2
    assert select_split(frame, "train", IDS)["image_id"].tolist() == ["T1"]


def test_images_of_another_lesion_of_a_known_patient_are_known():
    frame = FRAME.assign(patient_id=["p", "p", "q", "p", "q", "P"])
    assert count_known(frame, IDS) == 6
    with pytest.raises(DataError, match="none is in it"):
        select_split(frame, "test", IDS)
    # An unknown patient is nobody.
    assert count_known(FRAME.assign(patient_id=""), IDS) == 5


def test_a_copy_is_known_by_its_pixels():
    frame = FRAME.assign(pixel_hash=[None] * 5 + ["bb" * 8])
    assert count_known(frame, IDS) == 6
    assert count_known(FRAME.assign(pixel_hash=None), IDS) == 5


@pytest.mark.parametrize(
    ("split", "message"),
    [("test", "choose the split 'all'"), ("testing", "among train, val, test, all, received")],
)
def test_a_split_that_is_empty_or_unknown_is_refused(split, message):
    with pytest.raises(DataError, match=message):
        select_split(FRAME[:3], split, IDS)


def test_a_split_is_written_as_a_table(tmp_path):
    frame = pd.DataFrame([("a", "L", "nv", "x.jpg", "test")])
    frame.columns = ["image_id", "lesion_id", "label", "path", "split"]
    write_split(frame, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text() == "image_id,lesion_id,label,split\na,L,nv,test\n"
    assert [path.name for path in tmp_path.iterdir()] == ["split.csv"]


def test_an_id_that_begins_like_a_formula_is_text_in_a_spreadsheet(tmp_path):
    row = {"image_id": "=1+1", "lesion_id": "@L\x1b", "label": "nv", "split": "test"}
    write_split(pd.DataFrame([row]), tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text().splitlines()[1] == "'=1+1,'@L\\u001b,nv,test"


def test_labels_are_encoded_as_indices_and_one_hot():
    labels = pd.Series(["b", "a", "b"], index=[7, 8, 9])
    assert class_indices(labels, ("a", "b", "c")).tolist() == [1, 0, 1]
    encoded = one_hot(labels, ("a", "b", "c"))
    assert encoded.dtype == np.float32
    assert encoded.tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    assert one_hot([], ("a", "b")).shape == (0, 2)


def test_a_label_that_is_not_a_class_is_refused_and_named():
    with pytest.raises(DataError, match="among a, b, received c, d"):
        class_indices(["d", "a", "c", "d"], ("a", "b"))


def test_class_weights_of_a_hand_made_case():
    labels = pd.Series(["nv"] * 9 + ["mel"])
    assert set(class_weights(labels, "none", CLASS_NAMES).values()) == {1.0}
    balanced = class_weights(labels, "balanced", CLASS_NAMES)
    assert balanced["mel"] == pytest.approx(9 * balanced["nv"])
    assert balanced["mel"] == pytest.approx(5.0)
    root = class_weights(labels, "sqrt", CLASS_NAMES)
    assert root["mel"] == pytest.approx(3 * root["nv"])
    assert (9 * root["nv"] + root["mel"]) / 10 == pytest.approx(1.0)
    assert balanced["df"] == 1.0
    assert set(class_weights(labels, "sqrt", ("mel", "nv", "wart"))) == {"mel", "nv", "wart"}


def test_class_fractions_of_a_hand_made_case():
    labels = pd.Series(["nv"] * 11 + ["mel"] * 4)
    fractions = dict(zip(CLASS_NAMES, class_fractions(labels, CLASS_NAMES), strict=True))
    # The five classes without images count as one image each, of 20.
    assert (fractions["nv"], fractions["mel"], fractions["df"]) == (11 / 20, 4 / 20, 1 / 20)
