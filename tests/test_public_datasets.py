"""The data sets of the ISIC Archive and PAD-UFES-20: how each is recognized, said and read."""

from pathlib import Path

import pytest
from label_tables import MALIGNANCY, PAD, labels

from data import DataError
from data.classes import HAM10000, ClassScheme
from data.sources import read_dataset

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning"),
    pytest.mark.filterwarnings("error::FutureWarning"),
]

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


def test_the_isic_archive_is_read_by_the_most_specific_diagnosis(write_dataset):
    dataset = read_dataset(write_dataset({"metadata.csv": ARCHIVE}, ARCHIVE_IMAGES))
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


def test_the_table_of_the_archive_itself_gives_images_of_all_types(write_dataset):
    root = write_dataset({"metadata.csv": ARCHIVE}, ARCHIVE_IMAGES)
    dataset = read_dataset(root / "metadata.csv")
    assert labels(dataset) == {"ISIC_1": "nv", "ISIC_2": "mel", "ISIC_4": "bkl"}
    clinical = ARCHIVE.replace("dermoscopic", "TBP tile: close-up").replace("Dermo", "No dermo")
    root = write_dataset({"metadata.csv": clinical.replace(",,,,IL_3", ",,,x,IL_3")})
    with pytest.raises(
        DataError, match=r"expected dermoscopic images, received 2 TBP tile: close-"
    ):
        read_dataset(root)


def test_the_general_diagnoses_of_the_archive_are_classes_too(write_dataset):
    root = write_dataset({"metadata.csv": ARCHIVE}, ARCHIVE_IMAGES)
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


def test_a_carcinoma_in_situ_of_ham10000_is_known_by_its_id_in_the_archive(write_dataset):
    text = (
        "isic_id,diagnosis_1,diagnosis_2,diagnosis_3\n"
        'ISIC_0026000,Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, NOS"\n'
        'ISIC_0060000,Malignant,Malignant epidermal proliferations,"Squamous cell carcinoma, NOS"\n'
    )
    dataset = read_dataset(write_dataset({"m.csv": text}, ["ISIC_0026000.jpg", "ISIC_0060000.jpg"]))
    assert labels(dataset) == {"ISIC_0026000": "akiec"}
    assert dataset.skipped == {"Squamous cell carcinoma, NOS": 1}


def test_old_downloads_of_the_archive_are_plain_tables_with_its_names(write_dataset):
    text = "isic_id,benign_malignant,diagnosis\nISIC_1,benign,nevus spilus\nISIC_2,,melanoma\n"
    root = write_dataset({"metadata.csv": text}, ["ISIC_1.jpg", "ISIC_2.jpg"])
    dataset = read_dataset(root)
    assert dataset.layout == "table metadata.csv (images: isic_id, labels: diagnosis)"
    assert labels(dataset) == {"ISIC_1": "nv", "ISIC_2": "mel"}


HEADER_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"


def test_isic_2019_is_named_and_matches_downsampled_images(write_dataset):
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
    root = write_dataset(tables, [f"ISIC_2019_Training_Input/{name}" for name in images])
    dataset = read_dataset(root)
    assert dataset.layout == f"ISIC 2019, {' and '.join(tables)}"
    assert labels(dataset) == {"ISIC_1": "mel", "ISIC_2": "nv", "ISIC_3": "akiec"}
    assert dataset.skipped == {"SCC": 1}
    assert dataset.frame["lesion_id"].tolist() == ["L1", "L2", "L3"]
    every = read_dataset(root, None)
    assert [Path(path).name for path in every.frame["path"]] == images
    assert every.classes.names == ("AK", "MEL", "NV", "SCC")
    assert every.classes.malignant == ("AK", "MEL", "SCC")


def test_an_image_and_its_downsampled_copy_stay_two(write_dataset):
    text = f"{HEADER_2019}\nA,1,0,0,0,0,0,0,0,0\nA_downsampled,0,1,0,0,0,0,0,0,0\n"
    frame = read_dataset(write_dataset({"x.csv": text}, ["A_downsampled.jpg"])).frame
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
    write_dataset, classes, column, expected, skipped
):
    tables = {
        "train.csv": SIIM,
        "test.csv": "image_name,patient_id,sex\nISIC_9,IP_9,male\n",
        "sample_submission.csv": "image_name,target\nISIC_9,0\n",
    }
    root = write_dataset(tables, [*SIIM_IMAGES, "jpeg/test/ISIC_9.jpg"])
    # The column `benign_malignant` says the same as `target`, which is preferred.
    dataset = read_dataset(root, classes)
    assert dataset.layout == f"ISIC 2020, train.csv (labels: {column})"
    assert "not used as labels: sample_submission.csv" in dataset.notes
    assert (labels(dataset), dataset.skipped) == (expected, skipped)
    assert dataset.frame["patient_id"].tolist()[-2:] == ["IP_2", "IP_2"]


def test_the_table_of_isic_2020_may_have_its_official_name(write_dataset):
    root = write_dataset({"ISIC_2020_Training_GroundTruth.csv": SIIM}, SIIM_IMAGES)
    dataset = read_dataset(root)
    assert dataset.layout == "ISIC 2020, ISIC_2020_Training_GroundTruth.csv (labels: diagnosis)"


def test_the_lesions_of_pad_ufes_20_are_those_of_a_patient(write_dataset):
    names = ["PAT_1_7_1", "PAT_2_7_2", "PAT_2_7_3", "PAT_3_9_4"]
    root = write_dataset(
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


def test_the_test_set_of_ham10000_is_ham10000(write_dataset):
    text = (
        "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
        "HAMTEST_1,ISIC_1,nv,histo,50,male,back,vidir\n"
    )
    root = write_dataset(
        {"ISIC2018_Task3_Test_GroundTruth.csv": text}, ["ISIC2018_Task3_Test_Images/ISIC_1.jpg"]
    )
    dataset = read_dataset(root)
    assert dataset.layout == "HAM10000, ISIC2018_Task3_Test_GroundTruth.csv"
    assert dataset.frame["lesion_id"].tolist() == ["HAMTEST_1"]
    assert dataset.classes is HAM10000
