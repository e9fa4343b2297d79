import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.ham10000 import (
    CLASS_NAMES,
    class_shares,
    class_weights,
    find_masks,
    read_metadata,
    select_split,
    split_by_lesion,
)

LABELS = {"ISIC_0000001": "nv", "ISIC_0000002": "mel", "ISIC_0000003": "bkl", "ISIC_0000004": "nv"}


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"line_end": "\r\n"},
        {"folders": ("images",)},
        {"folders": ("any name/deeper",)},
        {"folders": (".",)},
        {"table": "HAM10000_metadata.tab", "separator": "\t", "with_dataset_column": True},
        {"table": "HAM10000_metadata"},
        {"table": "my_labels.csv", "with_dataset_column": True},
    ],
    ids=["kaggle", "crlf", "one folder", "nested", "beside", "tab, 8 columns", "no ending", "name"],
)
def test_reads_every_layout(write_ham10000, layout):
    frame = read_metadata(write_ham10000(LABELS, **layout))
    assert dict(zip(frame["image_id"], frame["label"], strict=True)) == LABELS
    assert [os.path.basename(path) for path in frame["path"]] == [f"{i}.jpg" for i in LABELS]
    assert frame["age"].tolist() == [50.0] * 4
    assert all(os.path.isfile(path) for path in frame["path"])


def test_without_lesion_id_each_image_is_its_own_lesion_and_that_is_said(write_ham10000):
    root = write_ham10000(LABELS, with_lesion_id=False)
    with pytest.warns(DataWarning, match="no column lesion_id"):
        frame = read_metadata(root)
    assert frame["lesion_id"].tolist() == list(LABELS)


def test_pixel_tables_and_masks_are_not_taken_for_metadata_and_images(write_ham10000):
    root = write_ham10000(LABELS, table="labels.csv")
    (root / "hmnist_8_8_L.csv").write_text("pixel0000,pixel0001,label\n1,2,3\n")
    mask = root / "masks" / "ISIC_0000001_segmentation.png"
    mask.parent.mkdir()
    mask.write_bytes(b"")
    frame = read_metadata(root)
    assert frame["path"].iloc[0].endswith("ISIC_0000001.jpg")


def test_an_image_without_file_has_no_path(write_ham10000):
    root = write_ham10000(LABELS)
    (root / "HAM10000_images_part_1" / "ISIC_0000001.jpg").unlink()
    frame = read_metadata(root)
    assert frame["path"].isna().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("mel", "wart"), "received 'wart' in line 3"),
        (lambda text: text.replace("ISIC_0000002", "ISIC_0000001"), "comes again with .* line 3"),
        (lambda text: text.splitlines()[0], "a row for each image, received none"),
        (lambda text: "<!DOCTYPE html><html>" + text, "is a web page; download the file itself"),
        (lambda text: text + '"', "cannot be read: .*; correct that place"),
        (lambda text: text.replace("dx,", "diagnosis,"), "should have the columns image_id and dx"),
        (lambda text: text.replace("ISIC_", "ISIC_9"), "none of them is in its folder"),
        (lambda text: "", "begins with nothing"),
    ],
)
def test_bad_metadata_is_refused_with_its_place(write_ham10000, spoil, message):
    root = write_ham10000(LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(spoil(table.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        read_metadata(root)
    assert "\n" not in str(caught.value)


def test_a_table_in_another_encoding_is_refused(write_ham10000):
    root = write_ham10000(LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_bytes(table.read_bytes() + b"HAM_9,ISIC_9,nv,histo,50,male,R\xfccken\n")
    with pytest.raises(DataError, match="table in UTF-8, but cannot be read"):
        read_metadata(root)


def test_a_row_that_stands_twice_is_taken_once_and_that_is_said(write_ham10000):
    root = write_ham10000(LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    with pytest.warns(DataWarning, match="1 rows stand twice, such as ISIC_0000001"):
        assert len(read_metadata(root)) == len(LABELS)


def test_a_lesion_with_two_diagnoses_is_kept_whole_and_that_is_said(write_ham10000):
    root = write_ham10000(LABELS, lesions=dict.fromkeys(LABELS, "HAM_1"))
    with pytest.warns(DataWarning, match="1 lesions have more than one diagnosis, such as HAM_1"):
        frame = read_metadata(root)
    assert frame["label"].tolist() == list(LABELS.values())
    assert split_by_lesion(frame, seed=0).nunique() == 1


def test_ids_cannot_lead_out_of_the_folder(write_ham10000, tmp_path):
    (tmp_path / "outside.jpg").write_bytes(b"")
    root = write_ham10000(LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("ISIC_0000001", "../outside"))
    assert read_metadata(root)["path"].isna().tolist() == [True, False, False, False]


def test_missing_folder_and_missing_table_are_refused(tmp_path):
    with pytest.raises(DataError, match="--data_dir"):
        read_metadata(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"HAM10000_metadata\.csv"):
        read_metadata(tmp_path)


def make_frame() -> pd.DataFrame:
    """HAM10000's traits in small: its class shares, and repeat photographs of some lesions."""
    rng = np.random.default_rng(0)
    counts = dict(zip(CLASS_NAMES, (33, 51, 110, 12, 111, 670, 14), strict=True))
    rows = []
    for label, count in counts.items():
        lesion = -1
        while count > 0:
            lesion += 1
            photographs = min(count, int(rng.choice([1, 2, 3, 6], p=[0.72, 0.2, 0.06, 0.02])))
            rows += [(f"{label}-{lesion}", label)] * photographs
            count -= photographs
    frame = pd.DataFrame(rows, columns=["lesion_id", "label"])
    frame["image_id"] = [f"ISIC_{place:07d}" for place in range(len(frame))]
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


def check_split(frame: pd.DataFrame, seed: int) -> None:
    frame = frame.assign(split=split_by_lesion(frame, seed=seed))
    assert frame.groupby("lesion_id")["split"].nunique().max() == 1
    overall = frame["label"].value_counts(normalize=True)
    sizes = frame["split"].value_counts(normalize=True)
    for name, share in {"train": 0.7, "val": 0.15, "test": 0.15}.items():
        assert sizes[name] == pytest.approx(share, abs=0.01)
        shares = frame.loc[frame["split"] == name, "label"].value_counts(normalize=True)
        assert (shares - overall).abs().max() < 0.015


@pytest.mark.parametrize("seed", range(10))
def test_split_keeps_lesions_whole_and_shares_of_classes(seed):
    check_split(make_frame(), seed)


def test_split_of_the_real_metadata_for_ten_seeds(ham10000_dir):
    frame = read_metadata(ham10000_dir)
    for seed in range(10):
        check_split(frame, seed)


def test_split_depends_on_the_seed_alone_and_not_on_row_order():
    frame = make_frame()
    first = split_by_lesion(frame, seed=3)
    assert first.equals(split_by_lesion(frame, seed=3))
    assert not first.equals(split_by_lesion(frame, seed=4))
    turned = frame.iloc[::-1]
    assert first.equals(split_by_lesion(turned, seed=3).sort_index())


def test_a_class_of_three_lesions_is_in_all_three_splits():
    frame = pd.DataFrame({"lesion_id": ["a", "a", "b", "c", "c"], "label": ["df"] * 5})
    assert set(split_by_lesion(frame, seed=0)) == {"train", "val", "test"}


def test_class_weights_on_a_hand_made_case():
    labels = pd.Series(["nv"] * 9 + ["mel"])
    assert set(class_weights(labels, "none").values()) == {1.0}
    balanced = class_weights(labels, "balanced")
    assert balanced["mel"] == pytest.approx(9 * balanced["nv"])
    assert balanced["mel"] == pytest.approx(5.0)
    root = class_weights(labels, "sqrt")
    assert root["mel"] == pytest.approx(3 * root["nv"])
    assert (9 * root["nv"] + root["mel"]) / 10 == pytest.approx(1.0)
    assert balanced["df"] == 1.0


def test_class_shares_on_a_hand_made_case():
    shares = dict(zip(CLASS_NAMES, class_shares(pd.Series(["nv"] * 11 + ["mel"] * 4)), strict=True))
    # The five classes without images count as one image each, of 20.
    assert (shares["nv"], shares["mel"], shares["df"]) == (11 / 20, 4 / 20, 1 / 20)


def test_masks_are_found_by_the_id_of_their_image(write_ham10000):
    root = write_ham10000({"ISIC_0000001": "nv", "ISIC_0000002": "mel"})
    assert find_masks(root) == {}
    (root / "masks").mkdir()
    path = root / "masks" / "ISIC_0000002_segmentation.png"
    Image.new("L", (4, 3)).save(path)
    assert find_masks(root) == {"ISIC_0000002": str(path)}
    assert len(read_metadata(root)) == 2


SPLIT_FRAME = pd.DataFrame(
    {
        "image_id": ["t1", "t2", "v1", "new of t", "new of v", "new"],
        "lesion_id": ["T", "T", "V", "T", "V", "N"],
    }
)
KNOWN = {
    "train_image_ids": ["t1", "t2"],
    "train_lesion_ids": ["T"],
    "validation_image_ids": ["v1"],
    "validation_lesion_ids": ["V"],
}


@pytest.mark.parametrize(
    ("split", "images"),
    [
        ("train", ["t1", "t2"]),
        ("val", ["v1"]),
        ("test", ["new"]),
        ("all", SPLIT_FRAME["image_id"].tolist()),
    ],
)
def test_select_split_leaves_known_lesions_out_of_test(split, images):
    assert select_split(SPLIT_FRAME, split, **KNOWN)["image_id"].tolist() == images


def test_select_split_without_images_names_the_way_out():
    with pytest.raises(DataError, match="--split all"):
        select_split(SPLIT_FRAME[:3], "test", **KNOWN)
