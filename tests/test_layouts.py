"""Data sets of others: how each layout is recognized, said and read, with any classes."""

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.classes import HAM10000, ClassScheme
from data.sources import Dataset, read_dataset

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning"),
    pytest.mark.filterwarnings("error::FutureWarning"),
]

MALIGNANCY = ClassScheme(
    ("malignant", "benign"), aliases={"mel": "malignant", "bcc": "malignant", "nv": "benign"}
)


@pytest.fixture
def write(tmp_path):
    """A function that writes tables and tiny images, different ones, to a folder."""

    def write_files(tables: dict[str, str], images=(), *, encoding: str = "utf-8") -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        for name, text in tables.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(text.encode(encoding))
        for name in images:
            rng = np.random.default_rng(zlib.crc32(name.encode()))
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (9, 12, 3), np.uint8)
            Image.fromarray(pixels).save(root / name, "JPEG")
        return root

    return write_files


def labels(dataset: Dataset) -> dict[str, str]:
    return dict(zip(dataset.frame["image_id"], dataset.frame["label"], strict=True))


ARCHIVE = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_general,diagnosis_1,diagnosis_2,"
    "diagnosis_3,diagnosis_4,diagnosis_5,image_type,lesion_id,patient_id,sex\n"
    "ISIC_1,A,CC-0,50,torso,Benign,Benign melanocytic proliferations,Nevus,,,dermoscopic,IL_1,"
    "IP_1,male\n"
    "ISIC_2,A,CC-0,50,,Malignant,Malignant melanocytic proliferations (Melanoma),"
    'Melanoma Invasive,"Melanoma Invasive, Superficial spreading",,Dermoscopic,IL_2,IP_1,male\n'
    "ISIC_3,A,CC-0,,,Malignant,Malignant epidermal proliferations,"
    '"Squamous cell carcinoma, Invasive",,,,IL_3,,\n'
    "ISIC_4,A,CC-0,,,Benign,Benign epidermal proliferations,Seborrheic keratosis,,,"
    "clinical: close-up,IL_4,,\n"
    "ISIC_5,A,CC-0,,,,,,,,dermoscopic,IL_5,,\n"
)
ARCHIVE_IMAGES = [f"ISIC_{index}.jpg" for index in range(1, 6)]


def test_the_isic_archive_is_read_by_the_most_specific_diagnosis(write):
    dataset = read_dataset(write({"metadata.csv": ARCHIVE}, ARCHIVE_IMAGES))
    assert dataset.layout == "ISIC Archive, metadata.csv"
    assert labels(dataset) == {"ISIC_1": "nv", "ISIC_2": "mel"}
    assert dataset.frame["lesion_id"].tolist() == ["IL_1", "IL_2"]
    assert dataset.frame["patient_id"].tolist() == ["IP_1", "IP_1"]
    assert dataset.frame["localization"].tolist() == ["torso", ""]
    assert dataset.skipped == {"Squamous cell carcinoma, Invasive": 1, "no diagnosis": 1}
    assert dataset.notes == (
        "skipped, since they are not dermoscopic: 1 clinical: close-up; choose metadata.csv in "
        "place of the folder to use them",
        "mel = Melanoma Invasive, Superficial spreading",
        "nv = Nevus",
        "sources: A 2",
    )


def test_the_table_of_the_archive_itself_gives_images_of_all_types(write):
    root = write({"metadata.csv": ARCHIVE}, ARCHIVE_IMAGES)
    dataset = read_dataset(root / "metadata.csv")
    assert labels(dataset) == {"ISIC_1": "nv", "ISIC_2": "mel", "ISIC_4": "bkl"}
    clinical = ARCHIVE.replace("dermoscopic", "TBP tile: close-up").replace("Dermo", "No dermo")
    root = write({"metadata.csv": clinical.replace(",,,,IL_3", ",,,x,IL_3")})
    with pytest.raises(
        DataError, match=r"expected dermoscopic images, received 2 TBP tile: close-"
    ):
        read_dataset(root)


def test_the_general_diagnoses_of_the_archive_are_classes_too(write):
    root = write({"metadata.csv": ARCHIVE}, ARCHIVE_IMAGES)
    dataset = read_dataset(root, ClassScheme(("Benign", "Malignant")))
    assert labels(dataset) == {"ISIC_1": "Benign", "ISIC_2": "Malignant", "ISIC_3": "Malignant"}
    both = ClassScheme(("Malignant", "mel", "SCC"))
    assert labels(read_dataset(root, both)) == {"ISIC_2": "mel", "ISIC_3": "SCC"}
    every = read_dataset(root, None)
    assert every.frame["label"].tolist() == [
        "Nevus",
        "Melanoma Invasive, Superficial spreading",
        "Squamous cell carcinoma, Invasive",
    ]
    assert every.skipped == {"no diagnosis": 1}


def test_a_carcinoma_in_situ_of_ham10000_is_known_by_its_id_in_the_archive(write):
    text = (
        "isic_id,diagnosis_1,diagnosis_2,diagnosis_3\n"
        'ISIC_0026000,Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, NOS"\n'
        'ISIC_0060000,Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, NOS"\n'
    )
    dataset = read_dataset(write({"m.csv": text}, ["ISIC_0026000.jpg", "ISIC_0060000.jpg"]))
    assert labels(dataset) == {"ISIC_0026000": "akiec"}
    assert dataset.skipped == {"Squamous cell carcinoma, NOS": 1}


def test_old_downloads_of_the_archive_are_plain_tables_with_its_names(write):
    text = "isic_id,benign_malignant,diagnosis\nISIC_1,benign,nevus spilus\nISIC_2,,melanoma\n"
    root = write({"metadata.csv": text}, ["ISIC_1.jpg", "ISIC_2.jpg"])
    dataset = read_dataset(root)
    assert dataset.layout == "table metadata.csv (images: isic_id, labels: diagnosis)"
    assert labels(dataset) == {"ISIC_1": "nv", "ISIC_2": "mel"}


HEADER_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"


def test_isic_2019_is_named_and_matches_downsampled_images(write):
    text = (
        f"{HEADER_2019}\nISIC_1,1,0,0,0,0,0,0,0,0\nISIC_2_downsampled,0,1,0,0,0,0,0,0,0\n"
        "ISIC_3,0,0,0,1,0,0,0,0,0\nisic_4_DOWNSAMPLED,0,0,0,0,0,0,0,1,0\n"
    )
    metadata = (
        "image,lesion_id,sex\nISIC_1,L1,male\nISIC_2_downsampled,L2,\nISIC_3_downsampled,L3,\n"
    )
    tables = {
        "ISIC_2019_Training_GroundTruth.csv": text,
        "ISIC_2019_Training_Metadata.csv": metadata,
    }
    images = ["ISIC_1.jpg", "ISIC_2.JPG", "ISIC_3_downsampled.jpg", "ISIC_4_downsampled.jpg"]
    root = write(tables, [f"ISIC_2019_Training_Input/{name}" for name in images])
    dataset = read_dataset(root)
    assert dataset.layout == f"ISIC 2019, {' and '.join(tables)}"
    assert labels(dataset) == {"ISIC_1": "mel", "ISIC_2": "nv", "ISIC_3": "akiec"}
    assert dataset.skipped == {"SCC": 1}
    assert dataset.frame["lesion_id"].tolist() == ["L1", "L2", "L3"]
    every = read_dataset(root, None)
    assert [Path(path).name for path in every.frame["path"]] == images
    assert every.classes.names == ("AK", "MEL", "NV", "SCC")
    assert every.classes.malignant == ("AK", "MEL", "SCC")


def test_an_image_and_its_downsampled_copy_stay_two(write):
    text = f"{HEADER_2019}\nA,1,0,0,0,0,0,0,0,0\nA_downsampled,0,1,0,0,0,0,0,0,0\n"
    frame = read_dataset(write({"x.csv": text}, ["A_downsampled.jpg"])).frame
    assert frame["image_id"].tolist() == ["A", "A_downsampled"]
    assert frame["path"].isna().tolist() == [True, False]


SIIM = (
    "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,diagnosis,"
    "benign_malignant,target\n"
    "ISIC_1,IP_1,male,45.0,torso,unknown,benign,0\nISIC_2,IP_2,female,45.0,,melanoma,malignant,1\n"
    "ISIC_3,IP_2,female,45.0,torso,nevus,benign,0\n"
)
SIIM_IMAGES = [f"jpeg/train/ISIC_{index}.jpg" for index in (1, 2, 3)]


@pytest.mark.parametrize(
    ("classes", "column", "expected", "skipped"),
    [
        (HAM10000, "diagnosis", {"ISIC_2": "mel", "ISIC_3": "nv"}, {"unknown": 1}),
        (None, "target", {"ISIC_1": "benign", "ISIC_2": "malignant", "ISIC_3": "benign"}, {}),
        (MALIGNANCY, "target", {"ISIC_1": "benign", "ISIC_2": "malignant", "ISIC_3": "benign"}, {}),
    ],
    ids=["HAM10000", "data", "list"],
)
def test_isic_2020_is_read_by_the_column_that_has_the_classes(
    write, classes, column, expected, skipped
):
    tables = {
        "train.csv": SIIM,
        "test.csv": "image_name,patient_id,sex\nISIC_9,IP_9,male\n",
        "sample_submission.csv": "image_name,target\nISIC_9,0\n",
    }
    root = write(tables, [*SIIM_IMAGES, "jpeg/test/ISIC_9.jpg"])
    # The column `benign_malignant` says the same as `target`, which is preferred.
    dataset = read_dataset(root, classes)
    assert dataset.layout == f"ISIC 2020, train.csv (labels: {column})"
    assert "not used as labels: sample_submission.csv" in dataset.notes
    assert (labels(dataset), dataset.skipped) == (expected, skipped)
    assert dataset.frame["patient_id"].tolist()[-2:] == ["IP_2", "IP_2"]


def test_the_table_of_isic_2020_may_have_its_official_name(write):
    root = write({"ISIC_2020_Training_GroundTruth.csv": SIIM}, SIIM_IMAGES)
    dataset = read_dataset(root)
    assert dataset.layout == "ISIC 2020, ISIC_2020_Training_GroundTruth.csv (labels: diagnosis)"


PAD = (
    "patient_id,lesion_id,smoke,age,gender,region,diagnostic,biopsed,img_id\n"
    "PAT_1,7,,63,,ARM,ACK,False,PAT_1_7_1.png\nPAT_2,7,False,40,FEMALE,FACE,SCC,True,PAT_2_7_2.png\n"
    "PAT_2,7,False,40,FEMALE,FACE,SCC,True,PAT_2_7_3.png\nPAT_3,9,,,MALE,,NEV,False,PAT_3_9_4.png\n"
)


def test_the_lesions_of_pad_ufes_20_are_those_of_a_patient(write):
    names = ["PAT_1_7_1", "PAT_2_7_2", "PAT_2_7_3", "PAT_3_9_4"]
    root = write(
        {"metadata.csv": PAD}, [f"imgs_part_{i % 3 + 1}/{n}.png" for i, n in enumerate(names)]
    )
    dataset = read_dataset(root)
    assert dataset.layout == "PAD-UFES-20, metadata.csv"
    assert labels(dataset) == {"PAT_1_7_1": "akiec", "PAT_3_9_4": "nv"}
    assert dataset.skipped == {"SCC": 2}
    every = read_dataset(root, None).frame
    assert every["label"].tolist() == ["ACK", "SCC", "SCC", "NEV"]
    assert every["lesion_id"].tolist() == ["PAT_1_7", "PAT_2_7", "PAT_2_7", "PAT_3_9"]
    assert every["patient_id"].tolist() == ["PAT_1", "PAT_2", "PAT_2", "PAT_3"]
    assert every["sex"].tolist() == ["", "FEMALE", "FEMALE", "MALE"]


def test_the_test_set_of_ham10000_is_ham10000(write):
    text = (
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
        "HAMTEST_1,ISIC_1,nv,histo,50,male,back,vidir\n"
    )
    root = write(
        {"ISIC2018_Task3_Test_GroundTruth.csv": text}, ["ISIC2018_Task3_Test_Images/ISIC_1.jpg"]
    )
    dataset = read_dataset(root)
    assert dataset.layout == "HAM10000, ISIC2018_Task3_Test_GroundTruth.csv"
    assert dataset.frame["lesion_id"].tolist() == ["HAMTEST_1"]
    assert dataset.classes is HAM10000


@pytest.mark.parametrize(
    "image", ["image", "image_id", "Filename", "file", "img_id", "isic_id", "file_name", "path"]
)
@pytest.mark.parametrize("label", ["dx", "Label", "class", "diagnosis", "diagnostic", "category"])
def test_a_plain_table_is_read_and_its_columns_are_said(write, image, label):
    text = f"{image},x,{label}\nsub/a.jpg,1,Psoriasis\nb.JPG,2,MELANOMA\nC,3,melanocytic nevi\n"
    root = write({"labels.csv": text}, ["a.jpg", "b.jpg", "c.jpg"])
    classes = ClassScheme(("mel", "nv"))
    dataset = read_dataset(root, classes)
    assert labels(dataset) == {"b": "mel", "C": "nv"}
    assert dataset.skipped == {"Psoriasis": 1}
    if (image, label) == ("img_id", "diagnostic"):
        assert dataset.layout == "PAD-UFES-20, labels.csv"
    elif label == "dx" and image not in ("file", "path"):
        assert dataset.layout == "HAM10000, labels.csv"
    else:
        columns = f"images: {image}, labels: {label}"
        assert dataset.layout == f"table labels.csv ({columns})"


def test_a_spreadsheet_with_an_index_and_untidy_labels_is_read(write):
    text = (
        "Unnamed: 0;file;Diagnosis;patient\n0;a.JPG; Psoriasis ;p1\n1;b;psoriasis;p1\n"
        "2;c;Psoriasis;unknown\n3;D;Basal Cell  Carcinoma;-1\n"
    )
    root = write({"labels.csv": text}, [f"pics/{n}.jpg" for n in "abcd"], encoding="utf-16")
    dataset = read_dataset(root, None)
    assert dataset.classes.names == ("Basal Cell  Carcinoma", "Psoriasis")
    assert dataset.frame["label"].tolist() == ["Psoriasis"] * 3 + ["Basal Cell  Carcinoma"]
    assert dataset.frame["patient_id"].tolist() == ["p1", "p1", "", ""]
    assert dataset.notes == ("classes: psoriasis = Psoriasis",)


def test_of_several_label_columns_the_one_that_names_most_classes_counts(write):
    text = "image,label,class,diagnosis\na,1,mel,melanoma\nb,2,other,nevus\nc,3,nv,nv\n"
    root = write({"t.csv": text}, ["a.jpg", "b.jpg", "c.jpg"])
    assert read_dataset(root).layout == "table t.csv (images: image, labels: diagnosis)"
    assert read_dataset(root, ClassScheme(("other", "mel"))).layout.endswith("labels: class)")
    assert read_dataset(root, None).layout.endswith("labels: label)")
    table = text.replace("b,2,other", "b,2,nv")
    assert read_dataset(write({"t.csv": table})).layout.endswith("labels: class)")


def test_other_values_of_dx_are_refused_for_ham10000_and_counted_for_other_classes(write):
    root = write({"t.csv": "image_id,dx\na,mel\nb,wart\n"}, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"expected dx to be one of .* received 'wart' in line 3"):
        read_dataset(root)
    assert read_dataset(root, ClassScheme(("mel", "nv"))).skipped == {"wart": 1}
    assert read_dataset(root, None).classes.names == ("mel", "wart")


def test_of_several_image_columns_the_one_that_fits_the_files_counts(write):
    root = write({"t.csv": "image,file,label\n1,a,mel\n2,b,nv\n"}, ["a.jpg", "b.jpg"])
    assert read_dataset(root).layout == "table t.csv (images: file, labels: label)"
    root = write({"tables/t.csv": "image,file,label\n1,a,mel\n2,b,nv\n"})
    dataset = read_dataset(root / "tables/t.csv")
    assert dataset.layout == "table t.csv (images: file, labels: label)"


@pytest.mark.parametrize("one", ["1", "1.0", "True"])
def test_one_column_per_class_may_have_any_names(write, one):
    zero = {"1": "0", "1.0": "0.0", "True": "false"}[one]
    text = f"name,file,age,Psoriasis,my class\nx,a,1,{one},{zero}\ny,b,0,{zero},{one}\n"
    root = write({"t.csv": text}, ["a.jpg", "b.jpg"])
    dataset = read_dataset(root, None)
    assert dataset.layout == "table t.csv (images: file, one column per class)"
    assert labels(dataset) == {"a": "Psoriasis", "b": "my class"}
    assert labels(read_dataset(root, ClassScheme(("my_class", "z")))) == {"b": "my_class"}
    with pytest.raises(DataError, match=r"expected HAM10000_metadata\.csv or another table"):
        read_dataset(root)


def test_own_columns_beside_those_of_diagnoses_are_classes(write):
    text = "image,MEL,NV,psoriasis\na,1,0,0\nb,0,1,0\nc,0,0,1\n"
    root = write({"t.csv": text}, ["a.jpg", "b.jpg", "c.jpg"])
    assert read_dataset(root, None).classes.names == ("MEL", "NV", "psoriasis")
    assert read_dataset(root).skipped == {"psoriasis": 1}


def test_columns_of_zeros_and_ones_that_are_no_classes_are_no_labels(write):
    tables = {
        "truth.csv": "image,MEL,NV\na,1,0\nb,0,1\n",
        "artefacts.csv": "image,hair,ruler\na,1,1\nb,0,0\n",
    }
    root = write(tables, ["a.jpg", "b.jpg"])
    assert read_dataset(root, None).layout == "ISIC challenge, truth.csv"
    (root / "truth.csv").unlink()
    with pytest.raises(DataError, match=r"expected a table with the column image and one of dx, "):
        read_dataset(root, None)
    with pytest.raises(
        DataError, match=r"artefacts.csv: expected a column with labels, such as dx"
    ):
        read_dataset(root / "artefacts.csv", None)


def test_a_row_without_a_label_is_refused_with_its_line(write):
    root = write({"t.csv": "image,label\na,mel\nb,\n"}, ["a.jpg", "b.jpg"])
    for classes in (None, HAM10000):
        with pytest.raises(DataError, match="of the column label, received none in line 3"):
            read_dataset(root, classes)


def test_labels_that_are_none_of_the_classes_are_counted_in_the_error(write):
    root = write({"t.csv": "image,label\na,mel\nb,mel\nc,x\n"}, ["a.jpg", "b.jpg", "c.jpg"])
    message = "expected images of the classes malignant, benign, received 2 nv, 1 x"
    table = {"t.csv": "image,label\na,nv\nb,nv\nc,x\n"}
    with pytest.raises(DataError, match=message):
        read_dataset(write(table), ClassScheme(("malignant", "benign")))
    assert labels(read_dataset(root, MALIGNANCY)) == {"a": "benign", "b": "benign"}


def test_labels_with_slashes_are_refused_with_a_remedy_and_a_list_can_map_them(write):
    root = write({"t.csv": "image,label\na,bcc/scc\nb,mel\n"}, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"received 'bcc/scc'; rename .* with a class list"):
        read_dataset(root, None)
    scheme = ClassScheme(("nmsc", "mel"), aliases={"BCC/SCC": "nmsc"})
    assert labels(read_dataset(root, scheme)) == {"a": "nmsc", "b": "mel"}


def test_labels_of_one_diagnosis_stay_apart_with_a_note(write):
    root = write({"t.csv": "image,label\na,nv\nb,nevus\nc,mel\n"}, ["a.jpg", "b.jpg", "c.jpg"])
    dataset = read_dataset(root, None)
    assert dataset.classes.names == ("mel", "nevus", "nv")
    assert dataset.notes == (
        "nevus and nv are one class of HAM10000, nv; a class list can merge them",
    )


def test_folders_of_any_classes_are_read_and_files_of_systems_passed_over(write):
    images = [f"{name}/{name}{i}.jpg" for name in ("benign", "malignant") for i in (1, 2)]
    junk = {
        ".DS_Store": "image,label\nx,y\n",
        "__MACOSX/benign/._benign1.jpg": "x",
        "benign/Thumbs.db": "x",
        "benign/._benign1.jpg": "x",
        "desktop.ini": "image,label\n",
    }
    root = write(junk, [*images, "__MACOSX/benign/benign9.jpg", "cover.jpg", "images/other.jpg"])
    dataset = read_dataset(root, None)
    assert dataset.layout == "one folder per class"
    assert dataset.frame["label"].value_counts().to_dict() == {"benign": 2, "malignant": 2}
    assert dataset.classes.malignant == ("malignant",)
    assert dataset.notes == ("skipped 2 images in no folder of a class, such as cover.jpg",)


@pytest.mark.parametrize("folder", ["{split}/{name}", "{name}/{split}", "{split}/{name}/images"])
def test_split_folders_with_own_classes_give_the_split(write, folder):
    images = [
        f"{folder.format(split=split, name=name)}/{split}{name}.jpg"
        for split in ("train", "valid", "test")
        for name in ("benign", "psoriasis")
    ]
    dataset = read_dataset(write({}, images), None)
    assert dataset.classes.names == ("benign", "psoriasis")
    by_id = dataset.frame.set_index("image_id")
    assert by_id.loc["validbenign", ["label", "split"]].tolist() == ["benign", "val"]
    assert by_id.loc["testpsoriasis", ["label", "split"]].tolist() == ["psoriasis", "test"]
    assert by_id["split"].value_counts().to_dict() == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize("classes", [HAM10000, None])
def test_folders_with_numbers_in_those_of_classes_are_patients(write, classes):
    folders = ("mel/P 1", "mel/data/images/P 2", "nv/P 1", "nv")
    root = write({}, [f"{folder}/a{i}.jpg" for i, folder in enumerate(folders)])
    dataset = read_dataset(root, classes)
    frame = dataset.frame.set_index("image_id")
    assert frame["label"].to_dict() == {"a0": "mel", "a1": "mel", "a2": "nv", "a3": "nv"}
    assert frame["patient_id"].to_dict() == {"a0": "P 1", "a1": "P 2", "a2": "P 1", "a3": ""}
    assert "patients by the folders in those of classes: 2, such as P 1" in dataset.notes


@pytest.mark.parametrize("size", ["224", "256x256", "resized_224"])
def test_folders_of_an_image_size_in_those_of_classes_are_no_patients(write, size):
    root = write({}, [f"{name}/{size}/{name}{i}.jpg" for name in ("mel", "nv") for i in (1, 2)])
    dataset = read_dataset(root)
    assert dataset.frame["label"].tolist() == ["mel", "mel", "nv", "nv"]
    assert "patient_id" not in dataset.frame


def test_folders_with_numbers_in_none_of_a_class_are_classes_and_those_without_stay_labels(write):
    root = write({}, ["wart/type1/a.jpg", "wart/type2/b.jpg", "nv/unsure/c.jpg"])
    assert read_dataset(root, None).classes.names == ("type1", "type2", "unsure")
    assert "patient_id" not in read_dataset(root, None).frame


def test_two_files_of_one_name_in_a_class_folder_have_two_ids(write):
    images = ["mel/1.jpg", "mel/1.png", "nv/1.jpg", "nv/2.jpg"]
    assert labels(read_dataset(write({}, images))) == {
        "mel/1.jpg": "mel",
        "mel/1.png": "mel",
        "nv/1": "nv",
        "2": "nv",
    }


def test_a_class_folder_named_with_its_split_is_one_class_in_all_splits(write):
    images = [f"{name}_{s}/{name}{s}.jpg" for name in ("mel", "nv") for s in ("train", "test")]
    dataset = read_dataset(write({}, images), None)
    assert dataset.classes.names == ("mel", "nv")
    assert set(dataset.frame["split"]) == {"train", "test"}


def test_folders_of_classes_and_splits_in_one_word_give_both(write):
    folders = ("MelTrain", "MelTest", "NvTrain", "NvTest")
    dataset = read_dataset(write({}, [f"{name}/{name}.jpg" for name in folders]), None)
    assert dataset.classes.names == ("Mel", "Nv")
    assert dataset.notes[0] == "split given by the folders MelTrain, NvTrain, MelTest, NvTest"


def test_folders_of_parts_are_no_classes(write):
    root = write({}, ["HAM10000_images_part_1/a.jpg", "HAM10000_images_part_2/b.jpg"])
    with pytest.raises(DataError, match="or one folder of images per class, found images in the"):
        read_dataset(root, None)


def test_folders_of_other_classes_are_named_with_their_numbers(write):
    root = write({}, ["mel/a.jpg", "nv/b.jpg", "nv/c.jpg"])
    message = "expected images of the classes benign, malignant, received 2 nv, 1 mel|1 mel, 2 nv"
    with pytest.raises(DataError, match=message):
        read_dataset(root, ClassScheme(("benign", "malignant")))
    assert labels(read_dataset(root, MALIGNANCY)) == {
        "a": "malignant",
        "b": "benign",
        "c": "benign",
    }


def test_a_table_of_some_images_beside_class_folders_is_not_used_and_named(write):
    images = [f"{name}/{name}{i}.jpg" for name in ("mel", "nv") for i in range(3)]
    root = write({"notes.csv": "image,label\nmel1,x\nmel2,y\n"}, images)
    for classes in (HAM10000, None):
        dataset = read_dataset(root, classes)
        assert dataset.layout == "one folder per class"
        assert dataset.notes == ("not used as labels: notes.csv",)
    rows = "".join(f"{Path(name).stem},{i % 2}\n" for i, name in enumerate(images))
    root = write({"notes.csv": f"image,label\n{rows}"})
    assert read_dataset(root, None).classes.names == ("0", "1")
    assert read_dataset(root).layout == "one folder per class"


@pytest.mark.parametrize("classes", [HAM10000, None])
def test_a_table_beside_class_folders_gives_lesions_patients_and_age(write, classes):
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
        dataset = read_dataset(write(tables, images), classes)
    assert dataset.layout == "one folder per class"
    frame = dataset.frame.sort_values("image_id")
    assert frame["lesion_id"].tolist() == ["L0", "L0", "L1", "L1", "L2", "L2"]
    assert frame["patient_id"].tolist() == ["P0"] * 3 + ["P1"] * 3
    assert frame["age"].tolist() == [40, 41, 42, 43, 44, 45]
    first, second = dataset.notes
    assert first.startswith("not used: ")
    assert "broken.csv" in first
    assert second == "metadata of the images: metadata.csv"


def test_damaged_tables_are_refused_unless_folders_give_the_labels(write):
    table = {"t.csv": "image,label\na,mel\na,nv\n"}
    root = write(table, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match="expected each image once, received a again in line 3"):
        read_dataset(root)
    root = write({}, ["mel/c.jpg"])
    dataset = read_dataset(root)
    assert dataset.notes[0].startswith("not used: ")
    assert dataset.frame["label"].tolist() == ["mel"]


def test_a_table_of_metadata_gives_patients(write):
    tables = {
        "HAM10000_metadata.csv": "lesion_id,image_id,dx\nL1,a,mel\nL2,b,nv\n",
        "more_metadata.csv": "image,patient_id\na,P1\nb,n/a\n",
    }
    dataset = read_dataset(write(tables, ["a.jpg", "b.jpg"]))
    assert dataset.frame["patient_id"].tolist() == ["P1", ""]
    assert list(dataset.frame) == ["image_id", "label", "lesion_id", "patient_id", "path"]


def test_tables_of_a_split_have_the_classes_of_all(write):
    tables = {"train.csv": "file,label\na,x\nb,y\n", "test.csv": "file,label\nc,Y\nd,z\n"}
    dataset = read_dataset(write(tables, [f"{name}.jpg" for name in "abcd"]), None)
    assert dataset.layout == "table train.csv and test.csv (images: file, labels: label)"
    assert dataset.classes.names == ("x", "Y", "z")
    assert dataset.frame["split"].tolist() == ["train", "train", "test", "test"]


def test_fifty_classes_are_read(write):
    rows = "".join(f"i{index},class {index:02}\n" for index in range(50))
    root = write({"t.csv": f"image,label\n{rows}"}, [f"i{index}.jpg" for index in range(50)])
    assert len(read_dataset(root, None).classes.names) == 50
    with pytest.raises(DataError, match=r"t: expected 2 to 1,000 classes|expected 2 to 1,000"):
        read_dataset(write({"t.csv": "image,label\ni1,x\ni2,X\n"}), None)


def test_the_frame_is_plain_text_in_all_columns_but_age(write):
    frame = read_dataset(write({"metadata.csv": PAD}, ["PAT_1_7_1.png"]), None).frame
    assert frame["age"].dtype == float
    others = frame.drop(columns=["age", "path"])
    assert all(isinstance(value, str) for column in others for value in others[column])
    assert isinstance(frame, pd.DataFrame)
