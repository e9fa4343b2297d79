from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.given_splits import split_of_name, split_of_path, without_split
from data.sources import read_dataset

pytestmark = pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")

CLASSES = ["akiec", "bcc", "bkl", "df", "mel", "nv"]
IDS = [f"i{index}" for index in range(6)]
SPLITS = ["train", "train", "train", "val", "val", "test"]


def rows(indices, header: str = "image_id,dx") -> str:
    return "\n".join([header, *(f"{IDS[i]},{CLASSES[i]}" for i in indices)]) + "\n"


def one_hot(indices) -> str:
    lines = [",".join(["image", *map(str.upper, CLASSES)])]
    lines += [",".join([IDS[i], *(str(int(i == k)) for k in range(6))]) for i in indices]
    return "\n".join(lines) + "\n"


def write(root: Path, tables: dict[str, str], images=None) -> Path:
    for name, text in tables.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    rng = np.random.default_rng(0)
    for name in images or [f"images/{image_id}.png" for image_id in IDS]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(root / name)
    return root


@pytest.mark.parametrize(
    ("name", "rest"),
    [
        ("mel_train", "mel"),
        ("Test - nv", "nv"),
        ("MelTrain", "Mel"),
        ("trainingMEL", "MEL"),
        ("contest", "contest"),
        ("a_val_b", "ab"),
        ("train", ""),
    ],
)
def test_a_name_without_its_split_is_the_rest(name, rest):
    assert without_split(name) == rest


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("ISIC2018_Task3_Training_GroundTruth", "train"),
        ("HAM10000ValidationSet", "val"),
        ("valid", "val"),
        ("dev-labels", "val"),
        ("TEST_2", "test"),
        ("ISICTest", "test"),
        ("contest", ""),
        ("latest", ""),
        ("train_test_split", ""),
        ("trainable", ""),
    ],
)
def test_a_split_is_a_word_of_a_name(name, split):
    assert split_of_name(name) == split


def test_the_name_of_the_data_folder_itself_is_no_split():
    assert split_of_path(Path("test/labels.csv"), Path("test")) == ""
    assert split_of_path(Path("data/test/x/labels.csv"), Path("data")) == "test"


@pytest.mark.parametrize(
    "names",
    [
        ("splits/train.csv", "splits/val.csv", "splits/test.csv"),
        ("train/labels.csv", "valid/labels.csv", "testing/labels.csv"),
    ],
)
def test_tables_named_as_splits_give_the_split(tmp_path, names):
    parts = (range(3), range(3, 5), range(5, 6))
    tables = {name: rows(part) for name, part in zip(names, parts, strict=True)}
    dataset = read_dataset(write(tmp_path, tables))
    assert dataset.frame["image_id"].tolist() == IDS
    assert dataset.frame["split"].tolist() == SPLITS
    assert dataset.notes[0] == f"split given by {names[0]}, {names[1]} and {names[2]}"


def test_the_tables_of_a_challenge_give_the_split(tmp_path):
    tables = {
        f"ISIC2018_Task3_{part}_GroundTruth/ISIC2018_Task3_{part}_GroundTruth.csv": one_hot(indices)
        for part, indices in {"Training": range(5), "Test": [5]}.items()
    }
    frame = read_dataset(write(tmp_path, tables)).frame
    assert frame["split"].tolist() == ["train"] * 5 + ["test"]


@pytest.mark.filterwarnings("ignore:.*more than one diagnosis:data.DataWarning")
def test_the_table_of_ham10000_beside_those_of_splits_fills_their_columns(tmp_path):
    lines = [f"L{i // 2},{IDS[i]},{CLASSES[i]},{40 + i}" for i in range(6)]
    known = "\n".join(["lesion_id,image_id,dx,age", *lines, "L9,i9,nv,1"]) + "\n"
    tables = {"train.csv": rows(range(4)), "test.csv": rows([4, 5])}
    write(tmp_path, {**tables, "HAM10000_metadata.csv": known.replace("i1,bcc", "i1,nv")})
    with pytest.warns(DataWarning, match="1 of 6 images, such as i1, have another label in"):
        dataset = read_dataset(tmp_path)
    assert dataset.frame["lesion_id"].tolist() == ["L0", "L0", "L1", "L1", "L2", "L2"]
    assert dataset.frame["age"].tolist() == [40.0, 41.0, 42.0, 43.0, 44.0, 45.0]
    assert dataset.frame["split"].tolist() == ["train"] * 4 + ["test"] * 2
    assert dataset.notes[1:] == (
        "not used as labels: HAM10000_metadata.csv (7 images)",
        "not used, since they are in no split: 1 images of HAM10000_metadata.csv",
    )


def test_one_image_in_two_splits_is_refused(tmp_path):
    write(tmp_path, {"train.csv": rows(range(4)), "val.csv": rows(range(3, 6))})
    with pytest.raises(DataError, match=r"received i3 in train and val \(train.csv and val.csv\)"):
        read_dataset(tmp_path)


def test_files_numbered_anew_in_each_split_keep_their_folders(tmp_path):
    tables = {f"{s}.csv": f"image_id,dx\n{s}/0.png,nv\n{s}/1.png,mel\n" for s in ("train", "test")}
    images = [f"{split}/{index}.png" for split in ("train", "test") for index in (0, 1)]
    frame = read_dataset(write(tmp_path, tables, images)).frame
    assert frame["image_id"].tolist() == ["train/0", "train/1", "test/0", "test/1"]
    assert frame["path"].is_unique


@pytest.mark.parametrize(
    "tables",
    [
        {"train.csv": rows(range(3)), "synthetic.csv": rows(range(3, 6))},
        {"a/HAM10000_metadata.csv": rows(range(6)), "b/HAM10000_metadata.csv": rows(range(5))},
        {"val.csv": rows(range(3)), "test.csv": rows(range(3, 6))},
        {"train.csv": rows([0, 1]), "x/train.csv": rows([2, 3]), "test.csv": rows([4, 5])},
    ],
    ids=["synthetic", "two of HAM10000", "no train", "two trains"],
)
def test_several_tables_that_are_no_split_are_refused_and_all_named(tmp_path, tables):
    write(tmp_path, tables)
    with pytest.raises(DataError, match="choose one of these tables in place of the") as caught:
        read_dataset(tmp_path)
    assert all(name in str(caught.value) for name in tables)


def test_equal_tables_are_one_whatever_their_format(tmp_path):
    text = rows(range(6))
    tables = {"HAM10000_metadata.csv": text, "x/HAM10000_metadata.csv": text.replace("\n", "\r\n")}
    tables |= {
        "HAM10000_metadata.tab": text.replace(",", "\t"),
        "train_GroundTruth.csv": one_hot(range(6)),
    }
    dataset = read_dataset(write(tmp_path, tables))
    assert dataset.layout == "HAM10000, HAM10000_metadata.csv"
    assert "split" not in dataset.frame
    assert len(dataset.frame) == 6


def test_the_one_table_of_ham10000_precedes_others_which_are_named(tmp_path):
    write(tmp_path, {"HAM10000_metadata.csv": rows(range(6)), "synthetic.csv": rows([0, 1])})
    dataset = read_dataset(tmp_path)
    assert len(dataset.frame) == 6
    assert dataset.notes == ("not used as labels: synthetic.csv (2 images)",)


@pytest.mark.parametrize("column", ["split", "Set", "partition"])
def test_a_column_gives_the_split(tmp_path, column):
    words = ["Train", "training", "train", "VAL", "validation", "test"]
    lines = [f"{line},{word}" for line, word in zip(rows(range(6)).split()[1:], words, strict=True)]
    write(tmp_path, {"labels.csv": "\n".join([f"image_id,dx,{column}", *lines])})
    dataset = read_dataset(tmp_path)
    assert dataset.frame["split"].tolist() == SPLITS
    assert dataset.notes[0] == f"split given by the column {column.lower()}"


def test_a_column_that_gives_no_split_is_ignored(tmp_path):
    for words in ("123456", ["a", "b", "c", "a", "b", "test"], ["train"] * 6):
        lines = [
            f"{row},{word}" for row, word in zip(rows(range(6)).split()[1:], words, strict=True)
        ]
        write(tmp_path, {"labels.csv": "\n".join(["image_id,dx,split", *lines])})
        assert "split" not in read_dataset(tmp_path).frame


def test_a_row_without_a_split_is_refused_with_its_line(tmp_path):
    lines = [f"{line},{s}" for line, s in zip(rows(range(6)).split()[1:], SPLITS, strict=True)]
    write(
        tmp_path,
        {"labels.csv": "\n".join(["image_id,dx,split", *lines]).replace("bkl,train", "bkl,")},
    )
    with pytest.raises(DataError, match="of the column split, received none in line 4"):
        read_dataset(tmp_path)


def test_folders_of_a_table_s_images_give_the_split(tmp_path):
    images = [f"{split}_images/{i}.png" for split, i in zip(SPLITS, IDS, strict=True)]
    dataset = read_dataset(write(tmp_path, {"labels.csv": rows(range(6))}, images))
    assert dataset.frame["split"].tolist() == SPLITS
    assert dataset.notes[0] == "split given by the folders train_images, val_images, test_images"


def test_class_folders_in_folders_of_splits_keep_their_split(tmp_path):
    images = [f"{s}/{c}/{s}{c}.png" for s in ("Train", "Val") for c in ("mel", "nv")]
    frame = read_dataset(write(tmp_path, {}, images)).frame
    assert frame["split"].tolist() == ["train", "train", "val", "val"]


def test_images_beside_the_folders_of_splits_are_refused(tmp_path):
    images = [f"{s}/{c}/{s}{c}.png" for s in ("Train", "Val", "more") for c in ("mel", "nv")]
    write(tmp_path, {}, images)
    with pytest.raises(DataError, match=r"received 2 of 6 elsewhere, such as more/mel/moremel.png"):
        read_dataset(tmp_path)


def test_images_in_the_folder_of_one_split_only_are_split_anew(tmp_path):
    images = [f"training/{image_id}.png" for image_id in IDS]
    assert (
        "split" not in read_dataset(write(tmp_path, {"labels.csv": rows(range(6))}, images)).frame
    )
