import pytest

from data.ham10000 import CLASS_NAMES, DIAGNOSES
from data.labels import ISIC_CLASSES, find_class, is_diagnosis

NAMES = {
    "akiec": (
        "akiec, AK, ACK, 0 akiec, Actinic keratoses, actinic_keratosis, Bowen's disease, "
        "Bowen\u2019s disease, solar keratosis, squamous cell carcinoma in situ, "
        "Actinic keratoses and intraepithelial carcinoma, Carcinoma in situ, "
        "Actinic keratoses and intraepithelial carcinoma / Bowen's disease (akiec)"
    ),
    "bcc": "bcc, BCC, Basal cell carcinoma, basal-cell carcinomas, BasalCellCarcinoma, 1. bcc",
    "bkl": (
        "bkl, SEK, Benign keratosis-like lesions , seborrhoeic keratosis, Seborrheic Keratoses, "
        "pigmented benign keratosis, solar lentigo, lentigines, lichen planus-like keratosis, "
        "benign keratosis-like lesions (solar lentigines / seborrheic keratoses)"
    ),
    "df": "df, Dermatofibroma, dermatofibromas, class_3_df, dermatofibromata",
    "mel": (
        "mel, Melanoma, MELANOMAS, mel - melanoma, 01_mel, 1. Melanoma, malignant melanoma, "
        "melanoma in situ, lentigo maligna, nodular melanoma, superficial spreading melanoma"
    ),
    "nv": (
        "nv, NEV, nevus, Naevi, Melanocytic Nevi (nv), melanocyticnevi, nv_melanocytic, "
        "dysplastic nevus, blue naevus, Spitz nevi, atypical nevus, Clark nevus, moles"
    ),
    "vasc": (
        "vasc, Vascular lesions, Vascular Lesion, vascular, angioma, Haemangiomas, "
        "cherry angioma, angiokeratoma, pyogenic granuloma, vasc (142 images)"
    ),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [(name, label) for label, names in NAMES.items() for name in names.split(", ")],
)
def test_names_and_codes_of_diagnoses_are_found(name, expected):
    assert find_class(name) == expected


def test_the_project_s_own_names_and_those_of_the_challenges_are_found():
    assert {find_class(diagnosis) for diagnosis in DIAGNOSES.values()} == set(CLASS_NAMES)
    assert {name: find_class(name) for name in ISIC_CLASSES} == ISIC_CLASSES


@pytest.mark.parametrize(
    "name",
    [
        "",
        "123",
        "benign",
        "malignant",
        "carcinoma",
        "keratosis",
        "holiday",
        "non-melanoma",
        "not melanoma",
        "Non-Melanoma skin cancer",
        "melanoma?",
        "suspected melanoma",
        "nevus or melanoma",
        "mel_nevus",
        "mel (nv)",
        "benign melanoma",
        "malignant nevus",
        "nevus sebaceous",
        "nevus flammeus",
        "squamous cell carcinoma",
        "SCC",
        "Melanoma Skin Cancer Nevi and Moles",
        "Seborrheic Keratoses and other Benign Tumors",
        "dermatofibrosarcoma",
        "mel \u4e0d\u662f",
    ],
)
def test_what_is_no_class_or_not_surely_one_is_never_guessed(name):
    assert find_class(name) is None


def test_diagnoses_of_other_classes_are_known_as_such():
    assert all(map(is_diagnosis, ("SCC", "UNK", "Squamous cell carcinoma", "nv")))
    assert not any(map(is_diagnosis, ("image", "age", "dark_corner", "")))
