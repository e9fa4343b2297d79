"""Data sets in the layout of HAM10000 or of folders, and what is refused."""

import os

import pytest
from label_tables import HAM_LABELS, LABELS, ground_truth, without_lesions, write_images

from data import DataError, DataWarning
from data.sources import read_dataset


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
