"""Data sets of others: how each layout is recognized, said and read, with any classes."""

import pandas as pd
import pytest
from label_tables import MALIGNANCY, PAD, labels

from data import DataError
from data.classes import HAM10000, ClassScheme
from data.sources import read_dataset

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no lesion_id:data.DataWarning"),
    pytest.mark.filterwarnings("error::FutureWarning"),
]


@pytest.mark.parametrize(
    "image", ["image", "image_id", "Filename", "file", "img_id", "isic_id", "file_name", "path"]
)
@pytest.mark.parametrize("label", ["dx", "Label", "class", "diagnosis", "diagnostic", "category"])
def test_a_plain_table_is_read_and_its_columns_are_said(write_dataset, image, label):
    text = f"{image},x,{label}\nsub/a.jpg,1,Psoriasis\nb.JPG,2,MELANOMA\nC,3,melanocytic nevi\n"
    root = write_dataset({"labels.csv": text}, ["a.jpg", "b.jpg", "c.jpg"])
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


def test_a_spreadsheet_with_an_index_and_untidy_labels_is_read(write_dataset):
    text = (
        "Unnamed: 0;file;Diagnosis;patient\n0;a.JPG; Psoriasis ;p1\n1;b;psoriasis;p1\n"
        "2;c;Psoriasis;unknown\n3;D;Basal Cell  Carcinoma;-1\n"
    )
    root = write_dataset({"labels.csv": text}, [f"pics/{n}.jpg" for n in "abcd"], encoding="utf-16")
    dataset = read_dataset(root, None)
    assert dataset.classes.names == ("Basal Cell  Carcinoma", "Psoriasis")
    assert dataset.frame["label"].tolist() == ["Psoriasis"] * 3 + ["Basal Cell  Carcinoma"]
    assert dataset.frame["patient_id"].tolist() == ["p1", "p1", "", ""]
    assert dataset.notes == ("classes: psoriasis = Psoriasis",)


def test_of_several_label_columns_the_one_that_names_most_classes_counts(write_dataset):
    text = "image,label,class,diagnosis\na,1,mel,melanoma\nb,2,other,nevus\nc,3,nv,nv\n"
    root = write_dataset({"t.csv": text}, ["a.jpg", "b.jpg", "c.jpg"])
    assert read_dataset(root).layout == "table t.csv (images: image, labels: diagnosis)"
    assert read_dataset(root, ClassScheme(("other", "mel"))).layout.endswith("labels: class)")
    assert read_dataset(root, None).layout.endswith("labels: label)")
    table = text.replace("b,2,other", "b,2,nv")
    assert read_dataset(write_dataset({"t.csv": table})).layout.endswith("labels: class)")


def test_other_values_of_dx_are_refused_for_ham10000_and_counted_for_other_classes(write_dataset):
    root = write_dataset({"t.csv": "image_id,dx\na,mel\nb,wart\n"}, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"expected dx to be one of .* received 'wart' in line 3"):
        read_dataset(root)
    assert read_dataset(root, ClassScheme(("mel", "nv"))).skipped == {"wart": 1}
    assert read_dataset(root, None).classes.names == ("mel", "wart")


def test_of_several_image_columns_the_one_that_fits_the_files_counts(write_dataset):
    root = write_dataset({"t.csv": "image,file,label\n1,a,mel\n2,b,nv\n"}, ["a.jpg", "b.jpg"])
    assert read_dataset(root).layout == "table t.csv (images: file, labels: label)"
    root = write_dataset({"tables/t.csv": "image,file,label\n1,a,mel\n2,b,nv\n"})
    dataset = read_dataset(root / "tables/t.csv")
    assert dataset.layout == "table t.csv (images: file, labels: label)"


@pytest.mark.parametrize("one", ["1", "1.0", "True"])
def test_one_column_per_class_may_have_any_names(write_dataset, one):
    zero = {"1": "0", "1.0": "0.0", "True": "false"}[one]
    text = f"name,file,age,Psoriasis,my class\nx,a,1,{one},{zero}\ny,b,0,{zero},{one}\n"
    root = write_dataset({"t.csv": text}, ["a.jpg", "b.jpg"])
    dataset = read_dataset(root, None)
    assert dataset.layout == "table t.csv (images: file, one column per class)"
    assert labels(dataset) == {"a": "Psoriasis", "b": "my class"}
    assert labels(read_dataset(root, ClassScheme(("my_class", "z")))) == {"b": "my_class"}
    with pytest.raises(DataError, match=r"expected HAM10000_metadata\.csv or another table"):
        read_dataset(root)


def test_own_columns_beside_those_of_diagnoses_are_classes(write_dataset):
    text = "image,MEL,NV,psoriasis\na,1,0,0\nb,0,1,0\nc,0,0,1\n"
    root = write_dataset({"t.csv": text}, ["a.jpg", "b.jpg", "c.jpg"])
    assert read_dataset(root, None).classes.names == ("MEL", "NV", "psoriasis")
    assert read_dataset(root).skipped == {"psoriasis": 1}


def test_columns_of_zeros_and_ones_that_are_no_classes_are_no_labels(write_dataset):
    tables = {
        "truth.csv": "image,MEL,NV\na,1,0\nb,0,1\n",
        "artefacts.csv": "image,hair,ruler\na,1,1\nb,0,0\n",
    }
    root = write_dataset(tables, ["a.jpg", "b.jpg"])
    assert read_dataset(root, None).layout == "ISIC challenge, truth.csv"
    (root / "truth.csv").unlink()
    with pytest.raises(DataError, match=r"expected a table with the column image and one of dx, "):
        read_dataset(root, None)
    with pytest.raises(
        DataError, match=r"artefacts.csv: expected a column with labels, such as dx"
    ):
        read_dataset(root / "artefacts.csv", None)


def test_a_row_without_a_label_is_refused_with_its_line(write_dataset):
    root = write_dataset({"t.csv": "image,label\na,mel\nb,\n"}, ["a.jpg", "b.jpg"])
    for classes in (None, HAM10000):
        with pytest.raises(DataError, match="of the column label, received none in line 3"):
            read_dataset(root, classes)


def test_labels_that_are_none_of_the_classes_are_counted_in_the_error(write_dataset):
    root = write_dataset({"t.csv": "image,label\na,mel\nb,mel\nc,x\n"}, ["a.jpg", "b.jpg", "c.jpg"])
    message = "expected images of the classes malignant, benign, received 2 nv, 1 x"
    table = {"t.csv": "image,label\na,nv\nb,nv\nc,x\n"}
    with pytest.raises(DataError, match=message):
        read_dataset(write_dataset(table), ClassScheme(("malignant", "benign")))
    assert labels(read_dataset(root, MALIGNANCY)) == {"a": "benign", "b": "benign"}


def test_labels_with_slashes_are_refused_with_a_remedy_and_a_list_can_map_them(write_dataset):
    root = write_dataset({"t.csv": "image,label\na,bcc/scc\nb,mel\n"}, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match=r"received 'bcc/scc'; rename .* with a class list"):
        read_dataset(root, None)
    scheme = ClassScheme(("nmsc", "mel"), aliases={"BCC/SCC": "nmsc"})
    assert labels(read_dataset(root, scheme)) == {"a": "nmsc", "b": "mel"}


def test_labels_of_one_diagnosis_stay_apart_with_a_note(write_dataset):
    root = write_dataset(
        {"t.csv": "image,label\na,nv\nb,nevus\nc,mel\n"}, ["a.jpg", "b.jpg", "c.jpg"]
    )
    dataset = read_dataset(root, None)
    assert dataset.classes.names == ("mel", "nevus", "nv")
    assert dataset.notes == (
        "nevus and nv are one class of HAM10000, nv; a class list can merge them",
    )


def test_damaged_tables_are_refused_unless_folders_give_the_labels(write_dataset):
    table = {"t.csv": "image,label\na,mel\na,nv\n"}
    root = write_dataset(table, ["a.jpg", "b.jpg"])
    with pytest.raises(DataError, match="expected each image once, received a again in line 3"):
        read_dataset(root)
    root = write_dataset({}, ["mel/c.jpg"])
    dataset = read_dataset(root)
    assert dataset.notes[0].startswith("not used: ")
    assert dataset.frame["label"].tolist() == ["mel"]


def test_a_table_of_metadata_gives_patients(write_dataset):
    tables = {
        "HAM10000_metadata.csv": "lesion_id,image_id,dx\nL1,a,mel\nL2,b,nv\n",
        "more_metadata.csv": "image,patient_id\na,P1\nb,n/a\n",
    }
    dataset = read_dataset(write_dataset(tables, ["a.jpg", "b.jpg"]))
    assert dataset.frame["patient_id"].tolist() == ["P1", ""]
    assert list(dataset.frame) == ["image_id", "label", "lesion_id", "patient_id", "path"]


def test_tables_of_a_split_have_the_classes_of_all(write_dataset):
    tables = {"train.csv": "file,label\na,x\nb,y\n", "test.csv": "file,label\nc,Y\nd,z\n"}
    dataset = read_dataset(write_dataset(tables, [f"{name}.jpg" for name in "abcd"]), None)
    assert dataset.layout == "table train.csv and test.csv (images: file, labels: label)"
    assert dataset.classes.names == ("x", "Y", "z")
    assert dataset.frame["split"].tolist() == ["train", "train", "test", "test"]


def test_fifty_classes_are_read(write_dataset):
    rows = "".join(f"i{index},class {index:02}\n" for index in range(50))
    root = write_dataset(
        {"t.csv": f"image,label\n{rows}"}, [f"i{index}.jpg" for index in range(50)]
    )
    assert len(read_dataset(root, None).classes.names) == 50
    with pytest.raises(DataError, match=r"t: expected 2 to 1,000 classes|expected 2 to 1,000"):
        read_dataset(write_dataset({"t.csv": "image,label\ni1,x\ni2,X\n"}), None)


def test_the_frame_is_plain_text_in_all_columns_but_age(write_dataset):
    frame = read_dataset(write_dataset({"metadata.csv": PAD}, ["PAT_1_7_1.png"]), None).frame
    assert frame["age"].dtype == float
    others = frame.drop(columns=["age", "path"])
    assert all(isinstance(value, str) for column in others for value in others[column])
    assert isinstance(frame, pd.DataFrame)
