"""Folders of classes, splits and patients: how each layout is recognized, said and read."""

from pathlib import Path

import pytest
from label_tables import MALIGNANCY, labels

from data import DataError, DataWarning
from data.classes import HAM10000, ClassScheme
from data.sources import read_dataset

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning"),
    pytest.mark.filterwarnings("error::FutureWarning"),
]


def test_folders_of_any_classes_are_read_and_files_of_systems_passed_over(write_dataset):
    images = [f"{name}/{name}{i}.jpg" for name in ("benign", "malignant") for i in (1, 2)]
    junk = {
        ".DS_Store": "image,label\nx,y\n",
        "__MACOSX/benign/._benign1.jpg": "x",
        "benign/Thumbs.db": "x",
        "benign/._benign1.jpg": "x",
        "desktop.ini": "image,label\n",
    }
    root = write_dataset(
        junk, [*images, "__MACOSX/benign/benign9.jpg", "cover.jpg", "images/other.jpg"]
    )
    dataset = read_dataset(root, None)
    assert dataset.layout == "one folder per class"
    assert dataset.frame["label"].value_counts().to_dict() == {"benign": 2, "malignant": 2}
    assert dataset.classes.malignant == ("malignant",)
    assert dataset.notes == ("skipped 2 images in no folder of a class, such as cover.jpg",)


@pytest.mark.parametrize("folder", ["{split}/{name}", "{name}/{split}", "{split}/{name}/images"])
def test_split_folders_with_own_classes_give_the_split(write_dataset, folder):
    images = [
        f"{folder.format(split=split, name=name)}/{split}{name}.jpg"
        for split in ("train", "valid", "test")
        for name in ("benign", "psoriasis")
    ]
    dataset = read_dataset(write_dataset({}, images), None)
    assert dataset.classes.names == ("benign", "psoriasis")
    by_id = dataset.frame.set_index("image_id")
    assert by_id.loc["validbenign", ["label", "split"]].tolist() == ["benign", "val"]
    assert by_id.loc["testpsoriasis", ["label", "split"]].tolist() == ["psoriasis", "test"]
    assert by_id["split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize("classes", [HAM10000, None])
def test_folders_with_numbers_in_those_of_classes_are_patients(write_dataset, classes):
    folders = ("mel/P 1", "mel/data/images/P 2", "nv/P 1", "nv")
    root = write_dataset({}, [f"{folder}/a{i}.jpg" for i, folder in enumerate(folders)])
    dataset = read_dataset(root, classes)
    frame = dataset.frame.set_index("image_id")
    assert frame["label"].to_dict() == {"a0": "mel", "a1": "mel", "a2": "nv", "a3": "nv"}
    assert frame["patient_id"].to_dict() == {"a0": "P 1", "a1": "P 2", "a2": "P 1", "a3": ""}
    assert "patients by the folders in those of classes: 2, such as P 1" in dataset.notes


@pytest.mark.parametrize("size", ["224", "256x256", "resized_224"])
def test_folders_of_an_image_size_in_those_of_classes_are_no_patients(write_dataset, size):
    root = write_dataset(
        {}, [f"{name}/{size}/{name}{i}.jpg" for name in ("mel", "nv") for i in (1, 2)]
    )
    dataset = read_dataset(root)
    assert dataset.frame["label"].tolist() == ["mel", "mel", "nv", "nv"]
    assert "patient_id" not in dataset.frame


def test_folders_with_numbers_in_none_of_a_class_are_classes_and_those_without_stay_labels(
    write_dataset,
):
    root = write_dataset({}, ["wart/type1/a.jpg", "wart/type2/b.jpg", "nv/unsure/c.jpg"])
    assert read_dataset(root, None).classes.names == ("type1", "type2", "unsure")
    assert "patient_id" not in read_dataset(root, None).frame


def test_two_files_of_one_name_in_a_class_folder_have_two_ids(write_dataset):
    images = ["mel/1.jpg", "mel/1.png", "nv/1.jpg", "nv/2.jpg"]
    assert labels(read_dataset(write_dataset({}, images))) == {
        "mel/1.jpg": "mel",
        "mel/1.png": "mel",
        "nv/1": "nv",
        "2": "nv",
    }


def test_a_class_folder_named_with_its_split_is_one_class_in_all_splits(write_dataset):
    images = [f"{name}_{s}/{name}{s}.jpg" for name in ("mel", "nv") for s in ("train", "test")]
    dataset = read_dataset(write_dataset({}, images), None)
    assert dataset.classes.names == ("mel", "nv")
    assert set(dataset.frame["split"]) == {"train", "test"}


def test_folders_of_classes_and_splits_in_one_word_give_both(write_dataset):
    folders = ("MelTrain", "MelTest", "NvTrain", "NvTest")
    dataset = read_dataset(write_dataset({}, [f"{name}/{name}.jpg" for name in folders]), None)
    assert dataset.classes.names == ("Mel", "Nv")
    assert dataset.notes[0] == "split given by the folders MelTrain, NvTrain, MelTest, NvTest"


def test_folders_of_parts_are_no_classes(write_dataset):
    root = write_dataset({}, ["HAM10000_images_part_1/a.jpg", "HAM10000_images_part_2/b.jpg"])
    with pytest.raises(DataError, match="or one folder of images per class, found images in the"):
        read_dataset(root, None)


def test_folders_of_other_classes_are_named_with_their_numbers(write_dataset):
    root = write_dataset({}, ["mel/a.jpg", "nv/b.jpg", "nv/c.jpg"])
    message = "expected images of the classes benign, malignant, received 2 nv, 1 mel|1 mel, 2 nv"
    with pytest.raises(DataError, match=message):
        read_dataset(root, ClassScheme(("benign", "malignant")))
    assert labels(read_dataset(root, MALIGNANCY)) == {
        "a": "malignant",
        "b": "benign",
        "c": "benign",
    }


def test_a_table_of_some_images_beside_class_folders_is_not_used_and_named(write_dataset):
    images = [f"{name}/{name}{i}.jpg" for name in ("mel", "nv") for i in range(3)]
    root = write_dataset({"notes.csv": "image,label\nmel1,x\nmel2,y\n"}, images)
    for classes in (HAM10000, None):
        dataset = read_dataset(root, classes)
        assert dataset.layout == "one folder per class"
        assert dataset.notes == ("not used as labels: notes.csv",)
    rows = "".join(f"{Path(name).stem},{i % 2}\n" for i, name in enumerate(images))
    root = write_dataset({"notes.csv": f"image,label\n{rows}"})
    assert read_dataset(root, None).classes.names == ("0", "1")
    assert read_dataset(root).layout == "one folder per class"


@pytest.mark.parametrize("classes", [HAM10000, None])
def test_a_table_beside_class_folders_gives_lesions_patients_and_age(write_dataset, classes):
    images = [f"{name}/{name}{i}.jpg" for name in ("mel", "nv") for i in range(3)]
    rows = "".join(
        f"{Path(name).name},L{i // 2},P{i // 3},{40 + i}\n" for i, name in enumerate(images)
    )
    tables = {
        "metadata.csv": f"image,lesion_id,patient_id,age_approx\n{rows}",
        "broken.csv": "image,sex\nmel0,male,more\n",
        "other.csv": "image,lesion_id\nsomething,L9\n",
    }
    with pytest.warns(DataWarning, match="lesions with more than one diagnosis, such as L1"):
        dataset = read_dataset(write_dataset(tables, images), classes)
    assert dataset.layout == "one folder per class"
    frame = dataset.frame.sort_values("image_id")
    assert frame["lesion_id"].tolist() == ["L0", "L0", "L1", "L1", "L2", "L2"]
    assert frame["patient_id"].tolist() == ["P0"] * 3 + ["P1"] * 3
    assert frame["age"].tolist() == [40, 41, 42, 43, 44, 45]
    first, second = dataset.notes
    assert first.startswith("not used: ")
    assert "broken.csv" in first
    assert second == "metadata of the images: metadata.csv"
