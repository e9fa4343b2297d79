from collections import Counter

import pytest

from data import labels
from data.isic_archive import CLASS_OF, find_class, is_archive, row_labels

# Counted by hand in the hierarchy of isic-metadata 4.12: 418 diagnoses, groups included.
COUNTS = {
    "akiec": 10,
    "bcc": 10,
    "bkl": 8,
    "df": 6,
    "mel": 27,
    "nv": 32,
    "vasc": 34,
    None: 291,
}
CHOSEN = {
    "Solar or actinic keratosis": "akiec",
    "Squamous cell carcinoma in situ, Bowens disease": "akiec",
    "Basal cell carcinoma, Nodular": "bcc",
    "Seborrheic keratosis": "bkl",
    "Lichen planus like keratosis": "bkl",
    "Dermatofibroma, Hemosiderotic": "df",
    "Melanoma, NOS": "mel",
    "Melanoma in situ, Lentigo maligna type": "mel",
    "Melanoma Invasive, originating from blue nevus": "mel",
    "Nevus": "nv",
    "Nevus, Spitz": "nv",
    "Hemangioma, Cherry": "vasc",
    "Subcorneal and intracorneal hemorrhage": "vasc",
    "Benign soft tissue proliferations - Vascular": "vasc",
    "Squamous cell carcinoma, NOS": None,
    "Squamous cell carcinoma, Invasive, Verrucous, poorly differentiated": None,
    "Keratoacanthoma": None,
    "Melanoma metastasis": None,
    "Atypical Spitz tumor": None,
    "Epidermal nevus": None,
    "Nevus sebaceus": None,
    "Dermatofibrosarcoma protuberans": None,
    "Angiosarcoma cutaneous": None,
    "Lentigo simplex": None,
    "Benign": None,
    "Benign melanocytic proliferations": None,
}


@pytest.fixture(scope="module")
def vocabulary():
    """Return the paths of all diagnoses, such as `Benign:Cysts:Milium`."""
    module = pytest.importorskip("isic_metadata.diagnosis_hierarchical")
    return [member.value for member in module.DiagnosisEnum]


def test_every_diagnosis_of_the_vocabulary_has_a_decision_and_the_table_no_other(vocabulary):
    names = [path.split(":")[-1] for path in vocabulary]

    assert len(names) == len(set(names)) == 418
    assert set(CLASS_OF) == set(names)


def test_every_path_has_the_class_of_its_last_name(vocabulary):
    for path in vocabulary:
        expected = CLASS_OF[path.split(":")[-1]]
        assert find_class(path) == expected, path
        # As in a table, which has five columns.
        assert find_class(path + ":" * (4 - path.count(":"))) == expected, path


def test_a_group_has_a_class_exactly_if_all_below_it_have_this_class(vocabulary):
    below = {path: set() for path in vocabulary}
    for path in vocabulary:
        if ":" in path:
            below[path.rsplit(":", 1)[0]].add(find_class(path))

    for group, classes in below.items():
        if classes:
            expected = next(iter(classes)) if len(classes) == 1 else None
            assert find_class(group) == expected, group


def test_no_diagnosis_has_another_class_than_the_names_of_other_data_sets():
    differing = {
        name: (label, found)
        for name, label in CLASS_OF.items()
        if (found := labels.find_class(name)) not in (label, None)
    }

    assert differing == {}


def test_the_diagnoses_of_older_downloads_have_the_class_that_other_data_sets_give_them():
    module = pytest.importorskip("isic_metadata.fields")
    older = [member.value for member in module.LegacyDxEnum]
    differing = {name for name in older if find_class(name) != labels.find_class(name)}

    assert len(older) == 36
    assert differing <= {"nevus spilus"}
    assert find_class("nevus spilus") == "nv"
    assert Counter(map(find_class, older)) == {
        None: 21,
        "bkl": 5,
        "vasc": 4,
        "nv": 2,
        "akiec": 1,
        "bcc": 1,
        "df": 1,
        "mel": 1,
    }


def test_the_classes_have_the_numbers_of_diagnoses_that_were_counted_by_hand():
    assert Counter(CLASS_OF.values()) == COUNTS


@pytest.mark.parametrize(("diagnosis", "expected"), CHOSEN.items())
def test_chosen_diagnoses_have_the_class_that_ham10000_defines(diagnosis, expected):
    assert find_class(diagnosis) == CLASS_OF[diagnosis] == expected


def test_case_and_outer_spaces_do_not_count_but_all_else_does():
    assert find_class("  nEVUS, spitz ") == "nv"
    assert find_class("Benign : Benign melanocytic proliferations : Nevus") == "nv"
    assert find_class("Nevus Spitz") is None
    assert find_class("") is None


def test_the_last_known_name_of_a_path_decides():
    assert find_class("Benign:Benign melanocytic proliferations:Nevus:A new kind") == "nv"
    assert find_class("Malignant:Malignant melanocytic proliferations (Melanoma)") is None


@pytest.mark.parametrize(
    ("image_id", "expected"),
    [
        ("ISIC_0024305", None),
        ("ISIC_0024306", "akiec"),
        (" isic_0034320_downsampled", "akiec"),
        ("ISIC_0036064.jpg", "akiec"),
        ("ISIC_0036065", None),
        ("ISIC_00243060", None),
        ("PAT_0024306", None),
        ("", None),
    ],
)
def test_the_carcinomas_of_ham10000_are_in_situ_although_the_archive_leaves_it_open(
    image_id, expected
):
    path = "Malignant:Malignant epidermal proliferations:Squamous cell carcinoma, NOS"

    assert find_class(path, image_id=image_id) == expected
    assert find_class("squamous cell carcinoma", image_id=image_id) == expected
    assert find_class("Squamous cell carcinoma, Invasive", image_id=image_id) is None


def test_the_labels_of_a_row_are_its_diagnoses_most_specific_first():
    row = ["Benign", " Benign melanocytic proliferations", "Nevus ", "", " "]

    assert row_labels(row) == ["Nevus", "Benign melanocytic proliferations", "Benign"]
    assert row_labels(["", ""]) == []


def test_a_table_of_the_archive_has_its_ids_and_diagnoses():
    header = ["isic_id", "attribution", "copyright_license", "diagnosis_1", "image_type"]

    assert is_archive(header)
    assert not is_archive(["isic_id", "attribution", "diagnosis"])
    assert not is_archive(["image_id", "dx", "diagnosis_1"])
