import os

import pandas as pd
import pytest
from PIL import Image

from data import DataError, DataWarning
from data.sources import ISIC_CLASSES, drop_missing, read_dataset

HEADER_2018 = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC"
HEADER_2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
LABELS = {"ISIC_1": "NV", "ISIC_2": "MEL", "ISIC_3": "VASC", "ISIC_4": "NV"}


def truth(labels: dict[str, str], header: str = HEADER_2018, mark: str = "1.0") -> str:
    names = header.split(",")[1:]
    empty = mark.replace("1", "0")
    lines = [header]
    for image, label in labels.items():
        lines.append(",".join([image, *(mark if name == label else empty for name in names)]))
    return "\n".join(lines) + "\n"


def write_images(folder, images) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for place, image in enumerate(images):
        Image.new("RGB", (12, 9), (place, 0, 0)).save(folder / f"{image}.jpg")


@pytest.fixture
def challenge(tmp_path):
    """A function that writes a data set as the zip files of ISIC 2018 unpack it."""

    def write(text=None, *, table="ISIC2018_Task3_Test_GroundTruth.csv", images=tuple(LABELS)):
        root = tmp_path / "ISIC2018_Task3_Test"
        write_images(root / "ISIC2018_Task3_Test_Input", images)
        path = root / table
        path.parent.mkdir(exist_ok=True)
        path.write_text(truth(LABELS) if text is None else text)
        return root

    return write


@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
@pytest.mark.parametrize(
    "table",
    [
        "ISIC2018_Task3_Test_GroundTruth.csv",
        "ISIC2018_Task3_Test_GroundTruth/ISIC2018_Task3_Test_GroundTruth.csv",
    ],
)
def test_the_classes_of_a_challenge_have_the_names_of_ham10000(challenge, table):
    dataset = read_dataset(challenge(table=table))
    assert dataset.layout == "ISIC challenge, ISIC2018_Task3_Test_GroundTruth.csv"
    assert dataset.frame["image_id"].tolist() == list(LABELS)
    assert dataset.frame["label"].tolist() == ["nv", "mel", "vasc", "nv"]
    assert dataset.frame["path"].notna().all()
    assert dataset.notes == ("classes: MEL = mel, NV = nv, VASC = vasc",)


@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
@pytest.mark.parametrize("name", ISIC_CLASSES)
def test_each_class_of_a_challenge_has_its_own_counterpart_or_none(challenge, name):
    header = HEADER_2018 if name == "AKIEC" else HEADER_2019
    dataset = read_dataset(challenge(truth({**LABELS, "ISIC_1": name}, header, mark="1")))
    first = dataset.frame.set_index("image_id")["label"].get("ISIC_1")
    assert first == {"AK": "akiec", "SCC": None, "UNK": None}.get(name, name.lower())
    if first is None:
        assert dataset.notes[1] == f"left out for want of a class of HAM10000: 1 {name}"
    else:
        assert len(dataset.notes) == 1


def test_lesion_groupings_keep_photographs_of_one_lesion_together(challenge):
    root = challenge()
    (root / "ISIC2018_Task3_Training_LesionGroupings.csv").write_text(
        "image,lesion_id,diagnosis_confirm_type\n"
        + "".join(f"{image},HAM_{place // 2},histo\n" for place, image in enumerate(LABELS))
    )
    frame = read_dataset(root).frame
    assert frame["lesion_id"].tolist() == ["HAM_0", "HAM_0", "HAM_1", "HAM_1"]
    assert frame["dx_type"].tolist() == ["histo"] * 4


def test_metadata_of_2019_have_the_columns_of_ham10000(challenge):
    root = challenge()
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


@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
def test_a_label_without_an_image_is_counted_and_named(challenge):
    root = challenge(truth({**LABELS, "ISIC_0035068": "NV"}))
    frame, line = drop_missing(read_dataset(root).frame, root)
    assert frame["image_id"].tolist() == list(LABELS)
    assert line == f"left out: 1 of 5 labels have no image file in {root}: ISIC_0035068"
    assert drop_missing(frame, root)[1] == ""


def test_whatever_a_table_holds_is_said_in_one_line(challenge):
    broken = truth(LABELS).replace("ISIC_2,1.0,0.0", 'ISIC_2,1.0,"0.0\n\x1b[2J"')
    broken = broken.replace("ISIC_1,0.0,1.0", 'ISIC_1,"\n",""')
    with pytest.raises(DataError, match=r"received \?|received ,") as caught:
        read_dataset(challenge(broken))
    assert str(caught.value).isprintable()
    assert drop_missing(pd.DataFrame({"image_id": ["a\nb"], "path": None}), "d")[1].isprintable()


def test_many_labels_without_an_image_are_not_all_named():
    frame = pd.DataFrame({"image_id": [f"i{place}" for place in range(30)], "path": None})
    line = drop_missing(frame, "d")[1]
    assert line.endswith(
        "30 of 30 labels have no image file in d: "
        + ", ".join(f"i{place}" for place in range(10))
        + " and 20 more"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (truth(LABELS).replace("0.0", "1.0", 1), "one class of each image should be 1 .* line 2"),
        (truth(LABELS).replace("1.0", "0.0"), "correct or remove 4 such rows"),
        (truth(LABELS).replace("1.0", "0.7"), "correct or remove 4 such rows"),
        (truth(LABELS) + truth(LABELS).splitlines()[1], "ISIC_1 comes again in line 6"),
        ("image,good,bad\nISIC_1,1,0\n", "should have a column for each class"),
        (HEADER_2018, "a row for each image, received none"),
        (truth({"ISIC_1": "UNK"}, HEADER_2019), "no image of a class of HAM10000, only 1 UNK"),
        (truth({"other": "NV"}), "none of them is in its folder"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
def test_bad_labels_of_a_challenge_are_refused_with_their_place(challenge, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read_dataset(challenge(text))
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
def test_two_tables_of_labels_are_refused_unless_they_are_the_same(challenge):
    root = challenge()
    other = root / "ISIC2018_Task3_Training_GroundTruth.csv"
    other.write_text(truth(LABELS))
    assert len(read_dataset(root).frame) == 4
    other.write_text(truth({"ISIC_1": "DF"}))
    with pytest.raises(DataError, match="should hold one table of labels, received ISIC2018_Task3"):
        read_dataset(root)


def test_the_table_of_ham10000_comes_before_those_of_challenges(write_ham10000):
    root = write_ham10000({"ISIC_1": "bkl"})
    (root / "ISIC2018_Task3_Test_GroundTruth.csv").write_text(truth(LABELS))
    dataset = read_dataset(root)
    assert dataset.layout == "HAM10000, HAM10000_metadata.csv"
    assert dataset.frame["label"].tolist() == ["bkl"]


@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
def test_a_folder_for_each_class(tmp_path):
    folders = {
        "train/Melanoma": "mel",
        "train/nevus": "nv",
        "BKL": "bkl",
        "test/dermatofibroma": "df",
        "actinic keratosis": "akiec",
        "squamous cell carcinoma": None,
        "holiday": None,
    }
    for folder in folders:
        write_images(tmp_path / folder, [f"{folder[-3:]}-1"])
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "a folder for each class"
    assert sorted(dataset.frame["label"]) == ["akiec", "bkl", "df", "mel", "nv"]
    assert "Melanoma = mel" in dataset.notes[0]
    assert "1 squamous cell carcinoma" in dataset.notes[1]
    assert "1 holiday" in dataset.notes[1]


@pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning")
def test_images_numbered_anew_in_each_folder_stay_apart(tmp_path):
    write_images(tmp_path / "mel", ["1", "2"])
    write_images(tmp_path / "nv", ["1", "3"])
    frame = read_dataset(tmp_path).frame
    assert frame["image_id"].tolist() == ["mel/1", "2", "nv/1", "3"]
    assert frame["label"].tolist() == ["mel", "mel", "nv", "nv"]


def test_names_that_are_no_text_become_ids_that_are(tmp_path):
    write_images(tmp_path / "mel", ["1"])
    os.link(tmp_path / "mel" / "1.jpg", os.fsencode(tmp_path) + b"/mel/l\xe4sion.jpg")
    with pytest.warns(DataWarning, match="2 of 2 images"):
        assert read_dataset(tmp_path).frame["image_id"].tolist() == ["1", r"l\xe4sion"]


def test_what_macos_adds_is_no_image(tmp_path):
    write_images(tmp_path / "mel", ["1"])
    (tmp_path / "mel" / "._1.jpg").write_bytes(b"resource fork")
    with pytest.warns(DataWarning, match="1 of 1 images have no lesion_id"):
        assert read_dataset(tmp_path).frame["image_id"].tolist() == ["1"]


def test_nothing_that_is_known_names_what_is_and_where_to_get_it(tmp_path):
    for make in (lambda: None, lambda: write_images(tmp_path / "holiday", ["a"])):
        make()
        with pytest.raises(DataError, match=r"\*_GroundTruth\.csv.*python -m data\.download"):
            read_dataset(tmp_path)
    with pytest.raises(DataError, match=r"python -m data\.download --output_dir .*nowhere"):
        read_dataset(tmp_path / "nowhere")
