"""The tables of the ISIC challenges."""

import pandas as pd
import pytest
from label_tables import (
    HEADER_2018,
    HEADER_2019,
    LABELS,
    ground_truth,
    without_lesions,
    write_images,
)

from data import DataError, DataWarning
from data.labels import ISIC_CLASSES
from data.sources import drop_missing, read_dataset


@pytest.fixture
def write_challenge(tmp_path):
    """A function that writes a data set like the unpacked archives of ISIC 2018."""

    def write(text=None, *, table="ISIC2018_Task3_Test_GroundTruth.csv", images=tuple(LABELS)):
        root = tmp_path / "ISIC2018_Task3_Test"
        write_images(root / "ISIC2018_Task3_Test_Input", images)
        path = root / table
        path.parent.mkdir(exist_ok=True)
        path.write_text(ground_truth(LABELS) if text is None else text)
        return root

    return write


@without_lesions
@pytest.mark.parametrize(
    "table",
    [
        "ISIC2018_Task3_Test_GroundTruth.csv",
        "ISIC2018_Task3_Test_GroundTruth/ISIC2018_Task3_Test_GroundTruth.csv",
    ],
)
def test_the_classes_of_a_challenge_get_the_names_of_ham10000(write_challenge, table):
    dataset = read_dataset(write_challenge(table=table))
    assert dataset.layout == "ISIC challenge, ISIC2018_Task3_Test_GroundTruth.csv"
    assert dataset.frame["image_id"].tolist() == list(LABELS)
    assert dataset.frame["label"].tolist() == ["nv", "mel", "vasc", "nv"]
    assert dataset.frame["path"].notna().all()
    assert dataset.notes == ("classes: MEL = mel, NV = nv, VASC = vasc",)


@without_lesions
@pytest.mark.parametrize("name", ISIC_CLASSES)
def test_each_class_of_a_challenge_is_renamed_or_skipped(write_challenge, name):
    header = HEADER_2018 if name == "AKIEC" else HEADER_2019
    text = ground_truth({**LABELS, "ISIC_1": name}, header, one="1")
    dataset = read_dataset(write_challenge(text))
    first = dataset.frame.set_index("image_id")["label"].get("ISIC_1")
    assert first == {"AK": "akiec", "SCC": None, "UNK": None}.get(name, name.lower())
    assert dataset.skipped == ({name: 1} if first is None else {})
    assert len(dataset.frame) == len(LABELS) - len(dataset.skipped)


@pytest.mark.filterwarnings("ignore:.*more than one diagnosis:data.DataWarning")
def test_lesion_groupings_are_read(write_challenge):
    root = write_challenge()
    (root / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "image,lesion_id,diagnosis_confirm_type\n"
        + "".join(f"{image},HAM_{index // 2},histo\n" for index, image in enumerate(LABELS))
    )
    frame = read_dataset(root).frame
    assert frame["lesion_id"].tolist() == ["HAM_0", "HAM_0", "HAM_1", "HAM_1"]
    assert frame["dx_type"].tolist() == ["histo"] * 4


def test_the_metadata_of_2019_get_the_columns_of_ham10000(write_challenge):
    root = write_challenge()
    (root / "ISIC_2019_Training_Metadata.csv").write_text(
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_2,,upper extremity,MSK_1,female\nISIC_1,55.0,head/neck,,male\n"
    )
    (root / "ISIC_2019_Test_Metadata.csv").write_text("image,age_approx,sex\nISIC_9,20,male\n")
    with pytest.warns(DataWarning, match="3 of 4 images have no lesion_id"):
        frame = read_dataset(root).frame
    assert frame["lesion_id"].tolist() == ["ISIC_1", "MSK_1", "ISIC_3", "ISIC_4"]
    assert frame["age"].isna().tolist() == [False, True, True, True]
    assert frame["localization"].tolist() == ["head/neck", "upper extremity", "", ""]


@without_lesions
def test_a_label_without_an_image_is_skipped_and_named(write_challenge):
    root = write_challenge(ground_truth({**LABELS, "ISIC_0035068": "NV"}))
    frame, line = drop_missing(read_dataset(root).frame, root)
    assert frame["image_id"].tolist() == list(LABELS)
    assert line == f"skipped 1 of 5 labels: no image file in {root}: ISIC_0035068"
    assert drop_missing(frame, root)[1] == ""


def test_only_the_first_ten_of_many_skipped_labels_are_named():
    frame = pd.DataFrame({"image_id": [f"i{index}" for index in range(30)], "path": None})
    names = ", ".join(f"i{index}" for index in range(10))
    line = drop_missing(frame, "d")[1]
    assert line == f"skipped 30 of 30 labels: no image file in d: {names} and 20 more"


def test_messages_are_one_printable_line_whatever_the_table_holds(write_challenge):
    broken = ground_truth(LABELS).replace("ISIC_2,1.0,0.0", 'ISIC_2,1.0,"0.0\n\x1b[2J"')
    broken = broken.replace("ISIC_1,0.0,1.0", 'ISIC_1,"\n",""')
    with pytest.raises(DataError, match=r"received \?|received ,") as caught:
        read_dataset(write_challenge(broken))
    assert str(caught.value).isprintable()
    assert drop_missing(pd.DataFrame({"image_id": ["a\nb"], "path": None}), "d")[1].isprintable()


@without_lesions
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ground_truth(LABELS).replace("0.0", "1.0", 1), "1 for one class of each image .* line 2"),
        (ground_truth(LABELS).replace("1.0", "0.0"), r"remove such rows \(4 in total\)"),
        (ground_truth(LABELS).replace("1.0", "0.7"), r"remove such rows \(4 in total\)"),
        (ground_truth(LABELS) + "ISIC_1,1,0,0,0,0,0,0\n", "ISIC_1 again in line 6"),
        ("image,good,bad\nISIC_1,1,0\n", "expected one column per class"),
        (HEADER_2018, "expected one row per image, received none"),
        (ground_truth({"ISIC_1": "UNK"}, HEADER_2019), "classes of HAM10000, received 1 UNK"),
        (ground_truth({"other": "NV"}), "found none of the 1 listed"),
    ],
)
def test_bad_labels_of_a_challenge_are_refused_with_their_line(write_challenge, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(write_challenge(text))
    assert "\n" not in str(caught.value)


@without_lesions
def test_two_tables_of_labels_are_refused_unless_they_are_equal(write_challenge):
    root = write_challenge()
    other = root / "ISIC2018_Task3_Training_GroundTruth.csv"
    other.write_text(ground_truth(LABELS))
    assert len(read_dataset(root).frame) == 4
    other.rename(root / "My_GroundTruth.csv").write_text(ground_truth({"ISIC_1": "DF"}))
    message = "expected one table of labels, or .* received ISIC2018_Task3_Test_.*My_GroundTruth"
    with pytest.raises(DataError, match=message):
        read_dataset(root)


@without_lesions
@pytest.mark.parametrize("name", ["GroundTruth.csv", "labels.csv"])
def test_a_one_hot_table_needs_no_prefix(write_challenge, name):
    dataset = read_dataset(write_challenge(table=name))
    assert dataset.layout == f"ISIC challenge, {name}"
    assert dataset.frame["label"].tolist() == ["nv", "mel", "vasc", "nv"]


@without_lesions
@pytest.mark.parametrize(
    ("table", "text", "note"),
    [
        ("Foreign_Metadata.csv", "name,value\n1,2\n", "tables without metadata of these images"),
        (
            "submission.csv",
            ground_truth(LABELS).replace("1.0", "0.7"),
            "not used, since it has no labels",
        ),
    ],
    ids=["foreign metadata", "probabilities"],
)
def test_another_table_beside_the_labels_is_named_and_ignored(write_challenge, table, text, note):
    root = write_challenge()
    (root / table).write_text(text)
    dataset = read_dataset(root)
    assert dataset.notes[0] == f"{note}: {table}"
    assert len(dataset.frame) == 4


@without_lesions
def test_metadata_beside_the_tables_of_a_split_give_the_sources(write_challenge):
    root = write_challenge()
    rows = "".join(f"{image},{image[-1]}\n" for image in LABELS)
    (root / "ISIC_2019_Training_Metadata.csv").write_text(f"image,dataset\n{rows}")
    frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["1", "2", "3", "4"]
    # A column with the split is none, in whichever table.
    (root / "ISIC_2019_Training_Metadata.csv").write_text(
        "image,dataset\n" + "".join(f"{image},train\n" for image in LABELS)
    )
    dataset = read_dataset(root)
    assert "source" not in dataset.frame
    assert dataset.layout == "ISIC challenge, ISIC2018_Task3_Test_GroundTruth.csv"
