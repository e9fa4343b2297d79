import os
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.labels import ISIC_CLASSES
from data.sources import drop_missing, read_dataset

HAM_LABELS = {
    "ISIC_0000001": "nv",
    "ISIC_0000002": "mel",
    "ISIC_0000003": "bkl",
    "ISIC_0000004": "nv",
}
HEADER_2018 = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
HEADER_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
LABELS = {"ISIC_1": "NV", "ISIC_2": "MEL", "ISIC_3": "VASC", "ISIC_4": "NV"}

without_lesions = pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")


def ground_truth(labels: dict[str, str], header: str = HEADER_2018, one: str = "1.0") -> str:
    names = header.split(",")[1:]
    zero = one.replace("1", "0")
    lines = [header]
    for image, label in labels.items():
        lines.append(",".join([image, *(one if name == label else zero for name in names)]))
    return "\n".join(lines) + "\n"


def write_images(folder, images) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Different in each folder, as real images are.
    rng = np.random.default_rng(zlib.crc32(str(folder).encode()))
    for image in images:
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).save(folder / f"{image}.jpg")


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


@pytest.mark.parametrize(
    "layout",
    [
        {},
        {"line_ending": "\r\n"},
        {"folders": ("images",)},
        {"folders": ("any name/deeper",)},
        {"folders": (".",)},
        {"table": "HAM10000_metadata.tab", "separator": "\t", "with_dataset_column": True},
        {"table": "HAM10000_metadata"},
        {"table": "my_labels.csv", "with_dataset_column": True},
    ],
    ids=["kaggle", "crlf", "one folder", "nested", "beside", "tab, 8 columns", "no ending", "name"],
)
def test_every_variant_of_ham10000_is_read(write_ham10000, layout):
    frame = read_dataset(write_ham10000(HAM_LABELS, **layout)).frame
    assert dict(zip(frame["image_id"], frame["label"], strict=True)) == HAM_LABELS
    assert [os.path.basename(path) for path in frame["path"]] == [f"{i}.jpg" for i in HAM_LABELS]
    assert frame["age"].tolist() == [50.0] * 4
    assert all(os.path.isfile(path) for path in frame["path"])


def test_without_lesion_id_each_image_is_its_own_lesion_with_a_warning(write_ham10000):
    root = write_ham10000(HAM_LABELS, with_lesion_id=False)
    with pytest.warns(DataWarning, match="4 of 4 images have no lesion_id"):
        frame = read_dataset(root).frame
    assert frame["lesion_id"].tolist() == list(HAM_LABELS)


def test_tables_of_pixels_and_masks_are_not_read_as_metadata_and_images(write_ham10000):
    root = write_ham10000(HAM_LABELS, table="labels.csv")
    (root / "hmnist_8_8_L.csv").write_text("pixel0000,pixel0001,label\n1,2,3\n")
    mask = root / "masks" / "ISIC_0000001_segmentation.png"
    mask.parent.mkdir()
    mask.write_bytes(b"")
    frame = read_dataset(root).frame
    assert frame["path"].iloc[0].endswith("ISIC_0000001.jpg")


def test_an_image_without_a_file_has_no_path(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    (root / "HAM10000_images_part_1" / "ISIC_0000001.jpg").unlink()
    assert read_dataset(root).frame["path"].isna().tolist() == [True, False, False, False]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("mel", "wart"), "received 'wart' in line 3"),
        (lambda text: text.replace("ISIC_0000002", "ISIC_0000001"), "1 again in line 3; remove"),
        (lambda text: text.splitlines()[0], "expected one row per image, received none"),
        (lambda text: "<!DOCTYPE html><html>" + text, "a web page; download the file itself"),
        (lambda text: text + '"', "cannot be read as a table: .*; correct the line"),
        (lambda text: text.replace("dx,", "diagnosis,"), "expected the columns image_id and dx"),
        (lambda text: text.replace("ISIC_", "ISIC_9"), "found none of the 4 listed"),
        (lambda text: "", "expected column names in line 1, received none"),
    ],
)
def test_bad_metadata_are_refused_with_their_line(write_ham10000, spoil, message):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(spoil(table.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(root)
    assert "\n" not in str(caught.value)


def test_a_duplicate_row_is_skipped_with_a_warning(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text() + table.read_text().splitlines()[1] + "\n")
    with pytest.warns(DataWarning, match=r"duplicate rows, such as ISIC_0000001.*\(1 in total\)"):
        assert len(read_dataset(root).frame) == len(HAM_LABELS)


def test_a_lesion_with_two_diagnoses_is_kept_with_a_warning(write_ham10000):
    root = write_ham10000(HAM_LABELS, lesions=dict.fromkeys(HAM_LABELS, "HAM_1"))
    with pytest.warns(DataWarning, match="lesions with more than one diagnosis, such as HAM_1"):
        frame = read_dataset(root).frame
    assert frame["label"].tolist() == list(HAM_LABELS.values())
    assert set(frame["lesion_id"]) == {"HAM_1"}


def test_ids_cannot_lead_out_of_the_folder(write_ham10000, tmp_path):
    (tmp_path / "outside.jpg").write_bytes(b"")
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("ISIC_0000001", "../outside"))
    assert read_dataset(root).frame["path"].isna().tolist() == [True, False, False, False]


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


def test_the_table_of_ham10000_precedes_those_of_challenges(write_ham10000):
    root = write_ham10000({"ISIC_1": "bkl"})
    (root / "ISIC2018_Task3_Test_GroundTruth.csv").write_text(ground_truth(LABELS))
    dataset = read_dataset(root)
    assert dataset.layout == "HAM10000, HAM10000_metadata.csv"
    assert dataset.frame["label"].tolist() == ["bkl"]


@without_lesions
def test_one_folder_per_class_is_read(tmp_path):
    folders = {
        "my images/Melanoma": "mel",
        "my images/nevus": "nv",
        "BKL": "bkl",
        "more/dermatofibroma": "df",
        "actinic keratosis": "akiec",
        "squamous cell carcinoma": None,
        "holiday": None,
    }
    for folder in folders:
        write_images(tmp_path / folder, [f"{folder[-3:]}-1"])
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "one folder per class"
    assert sorted(dataset.frame["label"]) == ["akiec", "bkl", "df", "mel", "nv"]
    assert "Melanoma = mel" in dataset.notes[0]
    assert dataset.skipped == {"holiday": 1, "squamous cell carcinoma": 1}


@without_lesions
def test_images_with_the_same_name_in_two_folders_get_different_ids(tmp_path):
    write_images(tmp_path / "mel", ["1", "2"])
    write_images(tmp_path / "nv", ["1", "3"])
    frame = read_dataset(tmp_path).frame
    assert frame["image_id"].tolist() == ["mel/1", "2", "nv/1", "3"]
    assert frame["label"].tolist() == ["mel", "mel", "nv", "nv"]


def test_file_names_that_are_not_utf_8_become_printable_ids(tmp_path):
    write_images(tmp_path / "mel", ["1"])
    os.link(tmp_path / "mel" / "1.jpg", os.fsencode(tmp_path) + b"/mel/l\xe4sion.jpg")
    with pytest.warns(DataWarning, match="2 of 2 images"):
        assert read_dataset(tmp_path).frame["image_id"].tolist() == ["1", r"l\xe4sion"]


def test_resource_forks_of_macos_are_not_images(tmp_path):
    write_images(tmp_path / "mel", ["1"])
    (tmp_path / "mel" / "._1.jpg").write_bytes(b"resource fork")
    with pytest.warns(DataWarning, match="1 of 1 images have no lesion_id"):
        assert read_dataset(tmp_path).frame["image_id"].tolist() == ["1"]


def test_an_unknown_layout_is_refused_with_the_known_ones_and_a_download(tmp_path):
    for prepare in (lambda: None, lambda: write_images(tmp_path / "holiday", ["a"])):
        prepare()
        message = r"HAM10000_metadata\.csv.*\*_GroundTruth\.csv.*python -m data\.download"
        with pytest.raises(DataError, match=message):
            read_dataset(tmp_path)
    with pytest.raises(DataError, match=r"python -m data\.download --output_dir .*nowhere"):
        read_dataset(tmp_path / "nowhere")


def test_the_names_of_kaggle_and_of_clinics_are_classes_of_folders(tmp_path):
    names = {
        "Vascular lesions": "vasc",
        "Melanocytic Nevi (nv)": "nv",
        "dermatofibromas": "df",
        "Actinic keratoses and intraepithelial carcinoma": "akiec",
    }
    for name in (*names, "holiday"):
        write_images(tmp_path / name, [name[:3]])
    with pytest.warns(DataWarning, match="5 of 5 images have no lesion_id"):
        dataset = read_dataset(tmp_path)
    assert sorted(dataset.frame["label"]) == sorted(names.values())
    assert dataset.skipped == {"holiday": 1}


@without_lesions
def test_the_folder_of_a_split_inside_that_of_a_class_is_no_label(tmp_path):
    for name in ("mel", "nv"):
        for split in ("train", "test"):
            write_images(tmp_path / name / split, [f"{name}_{split}"])
    dataset = read_dataset(tmp_path)
    assert dict(zip(dataset.frame["image_id"], dataset.frame["label"], strict=True)) == {
        "mel_test": "mel",
        "mel_train": "mel",
        "nv_test": "nv",
        "nv_train": "nv",
    }
    assert dataset.notes[0] == "split given by the folders train, test"


@without_lesions
def test_full_diagnosis_names_in_dx_are_classes(write_ham10000):
    names = {"ISIC_1": "Melanocytic nevi", "ISIC_2": "Benign keratosis-like lesions "}
    dataset = read_dataset(write_ham10000(names))
    assert dataset.frame["label"].tolist() == ["nv", "bkl"]
    assert dataset.notes == ("classes: Melanocytic nevi = nv, Benign keratosis-like lesions = bkl",)


def test_lesions_marked_as_missing_do_not_become_one_lesion(write_ham10000):
    markers = ["NA", "nan", "NULL", "-"]
    root = write_ham10000(HAM_LABELS, lesions=dict(zip(HAM_LABELS, markers, strict=True)))
    with pytest.warns(DataWarning, match="4 of 4 images have no lesion_id"):
        frame = read_dataset(root).frame
    assert frame["lesion_id"].nunique() == 4


@without_lesions
def test_ids_with_suffix_folder_or_other_case_find_their_images(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    text = table.read_text().replace("ISIC_0000001", "images/ISIC_0000001.jpg")
    table.write_text(text.replace("ISIC_0000002", "isic_0000002.JPG"))
    (root / "HAM10000_images_part_1").rename(root / "images")
    frame = read_dataset(root).frame
    assert frame["image_id"].tolist()[:2] == ["ISIC_0000001", "isic_0000002"]
    assert frame["path"].notna().all()


def test_two_rows_for_one_file_are_refused(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text() + "L,isic_0000001,mel,histo,50,male,back\n")
    with pytest.raises(DataError, match="received ISIC_0000001 and isic_0000001 for the file"):
        read_dataset(root)


@without_lesions
@pytest.mark.parametrize("name", ["GroundTruth.csv", "labels.csv"])
def test_a_one_hot_table_needs_no_prefix(write_challenge, name):
    dataset = read_dataset(write_challenge(table=name))
    assert dataset.layout == f"ISIC challenge, {name}"
    assert dataset.frame["label"].tolist() == ["nv", "mel", "vasc", "nv"]


@without_lesions
def test_foreign_metadata_beside_a_challenge_are_named_and_ignored(write_challenge):
    root = write_challenge()
    (root / "Foreign_Metadata.csv").write_text("name,value\n1,2\n")
    dataset = read_dataset(root)
    assert dataset.notes[0] == "tables without metadata of these images: Foreign_Metadata.csv"
    assert len(dataset.frame) == 4


@without_lesions
def test_a_table_of_probabilities_beside_the_labels_is_named_and_ignored(write_challenge):
    root = write_challenge()
    (root / "submission.csv").write_text(ground_truth(LABELS).replace("1.0", "0.7"))
    dataset = read_dataset(root)
    assert dataset.notes[0] == "not used, since it has no labels: submission.csv"
    assert len(dataset.frame) == 4


@without_lesions
def test_a_table_in_place_of_the_folder_chooses_it(write_ham10000):
    root = write_ham10000(HAM_LABELS, table="first.csv")
    (root / "splits").mkdir()
    (root / "splits/second.csv").write_text("image_id,dx\nISIC_0000001,df\n")
    with pytest.raises(DataError, match=r"first.csv \(4 images\), splits/second.csv \(1 images\)"):
        read_dataset(root)
    assert len(read_dataset(root / "first.csv").frame) == 4
    frame = read_dataset(root / "splits/second.csv").frame
    assert frame["label"].tolist() == ["df"]
    assert os.path.isfile(frame["path"].iloc[0])


def test_what_was_seen_is_named_and_long_lists_are_capped(tmp_path):
    write_images(tmp_path, ["x"])
    for index in range(30):
        os.link(tmp_path / "x.jpg", tmp_path / f"{index}.jpg")
        (tmp_path / f"lesion {index:02}").mkdir()
        (tmp_path / f"{index}.jpg").rename(tmp_path / f"lesion {index:02}/{index}.jpg")
    (tmp_path / "labels.csv").write_text("patient,diagnostic,img\n1,ACK,x\n")
    (tmp_path / "labels.xlsx").touch()
    with pytest.raises(DataError) as caught:
        read_dataset(tmp_path)
    message = str(caught.value)
    assert "the tables labels.csv (columns patient, diagnostic, img)" in message
    assert "lesion 00 (1), lesion 01 (1)" in message
    assert "and 25 more" in message
    assert "labels.xlsx (unpack archives, save workbooks as CSV)" in message
    assert "lesion 20" not in message


def test_images_of_other_names_are_named(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(table.read_text().replace("ISIC_", "ISIC_9"))
    example = "HAM10000_images_part_1/ISIC_0000001.jpg"
    with pytest.raises(DataError, match=f"of the 4 listed, but 4 others, such as {example}"):
        read_dataset(root)


def test_a_foreign_table_with_other_diagnoses_does_not_spoil_ham10000(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    (root / "other.csv").write_text("image_id,dx\na,wart\n")
    assert len(read_dataset(root).frame) == 4
    assert read_dataset(root).notes == ("not used, since it has no labels: other.csv",)
    (root / "other.csv").rename(root / "train.csv")
    with pytest.raises(DataError, match=r"train\.csv: expected dx to be one of"):
        read_dataset(root)


def test_a_missing_table_is_not_called_a_folder(tmp_path):
    with pytest.raises(DataError, match=r"expected a table of labels, found no file .*x\.csv"):
        read_dataset(tmp_path / "x.csv")


SOURCES = {"ISIC_0000001": "rosendahl", "ISIC_0000002": "", "ISIC_0000003": "vidir_modern"}


def add_column(table, name: str, values: dict[str, str]) -> str:
    """Return a table with one more column, by image id; `vidir_modern` for all others."""
    header, *rows = table.read_text().splitlines()
    values = [values.get(row.split(",")[1], "vidir_modern") for row in rows]
    rows = [f"{row},{value}" for row, value in zip(rows, values, strict=True)]
    return "\n".join([f"{header},{name}", *rows]) + "\n"


@pytest.mark.parametrize("name", ["dataset", "source", "attribution", "Source ", "DATASET"])
def test_the_source_of_each_image_is_read(write_ham10000, name):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    assert "source" not in read_dataset(root).frame
    table.write_text(add_column(table, name, SOURCES | {"ISIC_0000002": "n/a"}))
    dataset = read_dataset(root)
    assert dataset.frame["source"].tolist() == ["rosendahl", "", "vidir_modern", "vidir_modern"]
    assert dataset.notes == ("sources: vidir_modern 2, rosendahl 1, unknown 1",)


@pytest.mark.parametrize(
    ("header", "row", "source"),
    [
        ("dataset,source", "A,B", "B"),
        ("source,dataset", "train,A", "A"),
        ("dataset,attribution", "Test,A", "A"),
        ("Dataset,dataset", "A,B", "B"),
        ("dataset,dataset", "A,B", None),
        ("dataset,Dataset,DATASET", "A,B,C", "A"),
        ("DataSet,Dataset", "A,B", None),
        ("source", "null", None),
        ("split", "A", None),
    ],
)
def test_of_several_columns_the_exact_name_with_sources_counts(write_ham10000, header, row, source):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    table.write_text(add_column(table, header, dict.fromkeys(HAM_LABELS, row)))
    assert set(read_dataset(root).frame.get("source", [None])) == {source}


def test_a_column_with_the_split_is_no_source(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    splits = dict(zip(HAM_LABELS, ("train", "Train", "val", "test"), strict=True))
    text = add_column(table, "dataset", splits)
    table.write_text(text)
    frame = read_dataset(root).frame
    assert frame["split"].tolist() == ["train", "train", "val", "test"]
    assert "source" not in frame
    table.write_text(add_column(table, "source", SOURCES))
    frame = read_dataset(root).frame
    assert frame["split"].tolist() == ["train", "train", "val", "test"]
    assert frame["source"].tolist() == ["rosendahl", "", "vidir_modern", "vidir_modern"]


@pytest.mark.parametrize(("limit", "is_source"), [(4, True), (3, False)])
def test_a_column_with_too_many_values_is_no_source(monkeypatch, write_ham10000, limit, is_source):
    root = write_ham10000(HAM_LABELS)
    table = root / "HAM10000_metadata.csv"
    addresses = {image_id: f"https://isic/{image_id}" for image_id in HAM_LABELS}
    table.write_text(add_column(table, "source", addresses))
    monkeypatch.setattr("data.table_layouts.MAX_SOURCES", limit)
    assert ("source" in read_dataset(root).frame) is is_source


@pytest.mark.parametrize("name", ["HAM10000_metadata.tab", "HAM10000_metadata", "dataverse.csv"])
def test_the_table_of_the_dataverse_beside_that_of_kaggle_gives_the_sources(write_ham10000, name):
    root = write_ham10000(HAM_LABELS)
    before = read_dataset(root).frame
    (root / name).write_text(add_column(root / "HAM10000_metadata.csv", "dataset", SOURCES))
    frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["rosendahl", "", "vidir_modern", "vidir_modern"]
    assert frame.drop(columns="source").equals(before)


def test_a_table_of_more_images_beside_that_of_ham10000_gives_the_sources(write_ham10000):
    root = write_ham10000(HAM_LABELS)
    table, other = root / "HAM10000_metadata.csv", root / "HAM10000_metadata_dataverse.csv"
    other.write_text(add_column(table, "dataset", SOURCES))
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:4]))
    frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["rosendahl", "", "vidir_modern"]


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


def test_rows_that_differ_in_their_source_only_are_one_image(write_ham10000):
    root = write_ham10000(HAM_LABELS, with_dataset_column=True)
    table = root / "HAM10000_metadata.csv"
    table.write_text(
        table.read_text() + table.read_text().splitlines()[1].replace("vidir", "other") + "\n"
    )
    with pytest.warns(DataWarning, match=r"duplicate rows, such as ISIC_0000001.*\(1 in total\)"):
        frame = read_dataset(root).frame
    assert frame["source"].tolist() == ["vidir_modern"] * len(HAM_LABELS)
