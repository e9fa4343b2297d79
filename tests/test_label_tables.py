from pathlib import Path

import pandas as pd
import pytest

from data import DataError, DataWarning
from data.label_metadata import clean_metadata, fill_metadata
from data.label_tables import NotLabelsError, image_ids, read_labels


@pytest.fixture
def read(tmp_path):
    """A function that writes a table and reads its labels."""

    def write_and_read(text: str, name: str = "labels.csv") -> pd.DataFrame:
        path = tmp_path / name
        path.write_text(text)
        return read_labels(path).frame

    return write_and_read


def test_columns_of_its_own_do_not_collide_with_those_of_the_project(read):
    frame = read("Unnamed: 0,image_id,dx,label,path,split,image, dx\n0,a,nv,7,p,2,q,x\n")
    assert frame.to_dict("list") == {
        "image_id": ["a"],
        "image": ["a"],
        "label": ["nv"],
        "class_name": ["nv"],
    }


def test_rows_that_differ_in_an_index_only_are_one_with_a_warning(read):
    with pytest.warns(DataWarning, match="duplicate rows, such as a, are skipped"):
        assert len(read("index,image_id,dx\n0,a,nv\n1,a,nv\n2,b,mel\n")) == 2
    with pytest.raises(DataError, match="each image once, received a again in line 4"):
        read("index,image_id,dx\n\n0,a,nv\n1,a,mel\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "image_id,dx\na,nv\n\nNA,nv\n",
            "expected an image id in each row, received none in line 4",
        ),
        ("image_id,dx\na,nv\nb,NULL\n", "expected dx to be one of .* received none in line 3"),
        ("image_id,dx\n\n\na,wart\n", "received 'wart' in line 4"),
        ("image_id,dx\na,non-melanoma\n", "received 'non-melanoma' in line 2"),
        (
            "image_id,finding\na,nv\n",
            "expected the columns image_id and dx, or image and one column",
        ),
    ],
)
def test_rows_that_cannot_be_used_are_refused_with_their_line(read, text, message):
    with pytest.raises(DataError, match=message):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "image,MEL,NV\na,1.0,0.0\nb,0.0,1.0\n",
        "image,mel,nv\na,True,False\nb,false,TRUE\n",
        "image;MEL;NV\na;1,0;0,0\nb;0,0;1,0\n",
        "image,Melanoma,Melanocytic nevi,Unnamed\na,yes,no,x\nb,,1,y\n",
        "filename, mel, nv\na.jpg,1,0\nb.jpg,0,1\n",
        "image,MEL,mel,NV\na,1,0.3,0\nb,0,0.2,1\n",
        "image,mel,nv,other\na,1,0,hairy\nb,0,1,blurred\n",
    ],
    ids=["ISIC", "True", "decimal comma", "names", "file names", "own mel", "own other"],
)
def test_one_hot_tables_are_read_whatever_they_call_one(read, text):
    frame = read(text)
    assert frame["image_id"].tolist() == ["a", "b"]
    assert frame["class_name"].tolist() == ["mel", "nv"]


def test_columns_with_one_name_and_different_values_are_refused(read):
    with pytest.raises(DataError, match="received 'Melanoma' and 'melanoma' with different values"):
        read("image,Melanoma,melanoma,NV\na,1,0,0\nb,0,0,1\n")


def test_two_classes_in_one_row_and_probabilities_are_refused(read):
    with pytest.raises(DataError, match=r"1 for one class .* received 1, 1 in line 2"):
        read("image,MEL,NV\na,1,1\nb,0,1\nc,1,0\n")
    with pytest.raises(NotLabelsError):
        read("image,MEL,NV\na,0.7,0.3\nb,0.1,0.9\n")


def test_several_columns_may_be_one_class(read):
    frame = read("image,solar lentigo,seborrheic keratosis,NV\na,1,0,0\nb,0,1,0\nc,0,0,1\n")
    assert frame["label"].tolist() == ["solar lentigo", "seborrheic keratosis", "NV"]


def test_ids_have_no_folder_and_suffix_unless_they_are_needed():
    assert image_ids(["x/a.jpg", "b.JPEG", "x\\c", "d.1", "e\u0301"]) == ["a", "b", "c", "d.1", "é"]
    assert image_ids(["x/1.jpg", "y/1.jpg", "x/2.jpg"]) == ["x/1", "y/1", "2"]
    assert image_ids(["../a.jpg"]) == ["../a"]


def test_metadata_with_two_image_columns_are_taken_by_the_one_that_fits(tmp_path):
    table = tmp_path / "Metadata.csv"
    table.write_text("image,image_id,lesion_id,age\n0,a,L1,NA\n1,b,L2,40\n")
    frame = pd.DataFrame({"image_id": ["b", "a"], "age": ["", "30"]})
    assert fill_metadata(frame, ["lesion_id", "age"], [table]) == [table]
    assert frame["lesion_id"].tolist() == ["L2", "L1"]
    assert frame["age"].tolist() == ["40", "30"]


def test_foreign_metadata_are_not_used(tmp_path):
    foreign: list[Path] = []
    for name, text in {"1": "a,b\n1,2\n", "2": "image,age\nz,4\n", "3": "image,x\na,4\n"}.items():
        foreign.append(tmp_path / name)
        foreign[-1].write_text(text)
    frame = pd.DataFrame({"image_id": ["a"]})
    assert fill_metadata(frame, ["age"], foreign) == []


@pytest.mark.parametrize("unknown", ["", "unknown", "-1", "UNK"])
def test_an_image_without_lesion_id_becomes_its_own_lesion_with_a_warning(tmp_path, unknown):
    frame = pd.DataFrame({"image_id": ["a", "b"], "lesion_id": ["L", unknown], "class_name": "nv"})
    with pytest.warns(DataWarning, match="1 of 2 images have no lesion_id"):
        clean_metadata(frame, tmp_path)
    assert frame["lesion_id"].tolist() == ["L", "b"]


def test_impossible_ages_are_missing_and_named(tmp_path):
    ages = ["40", "50,5", "", "unknown", "-1", "old"]
    ids = [*"abcdef"]
    frame = pd.DataFrame({"image_id": ids, "lesion_id": ids, "class_name": "nv", "age": ages})
    with pytest.warns(DataWarning, match=r"such as '-1', are treated as unknown \(2 in total\)"):
        clean_metadata(frame, tmp_path)
    years = frame["age"]
    assert years[:2].tolist() == [40.0, 50.5]
    assert years[2:].isna().all()


def test_of_several_rows_of_an_image_the_first_that_knows_a_value_counts(tmp_path):
    table = tmp_path / "metadata.csv"
    table.write_text("image,lesion_id,age\na,,50\na,L1,60\nb,L2,\n")
    frame = pd.DataFrame({"image_id": ["a", "b"]})
    assert fill_metadata(frame, ["lesion_id", "age"], [table]) == [table]
    assert frame.to_dict("list") == {
        "image_id": ["a", "b"],
        "lesion_id": ["L1", "L2"],
        "age": ["50", ""],
    }
