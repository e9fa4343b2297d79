from types import SimpleNamespace

import pytest

from data import DataError
from data.class_names import is_malignant
from data.classes import (
    HAM10000,
    ClassScheme,
    class_titles,
    melanoma_class,
    read_class_list,
    scheme_of_labels,
    scheme_of_model,
)
from data.ham10000 import CLASS_NAMES, DIAGNOSES, MALIGNANT
from data.labels import ISIC_CLASSES, find_class

PAD = ("ACK", "BCC", "MEL", "NEV", "SCC", "SEK")


@pytest.fixture
def read(tmp_path):
    """A function that writes a class list and reads it."""

    def write_and_read(text: str, encoding: str = "utf-8") -> ClassScheme:
        path = tmp_path / "classes.csv"
        path.write_bytes(text.encode(encoding))
        return read_class_list(path)

    return write_and_read


def test_the_classes_of_ham10000_are_found_as_labels_always_were():
    assert (HAM10000.names, HAM10000.malignant) == (CLASS_NAMES, MALIGNANT)
    names = [*ISIC_CLASSES, *DIAGNOSES.values(), *CLASS_NAMES, "Bowen's disease", "benign", "", "?"]
    assert [HAM10000.find(name) for name in names] == [find_class(name) for name in names]


def test_a_label_is_found_by_name_then_alias_then_diagnosis():
    scheme = ClassScheme(("Pre cancer", "mm", "nevus"), aliases={"mole-1": "nevus", "mel": "mm"})
    assert scheme.find("  pre_CANCER ") == "Pre cancer"
    assert scheme.find("PRE-CANCER") == "Pre cancer"
    assert scheme.find("Mole 1") == "nevus"
    assert scheme.find("NV") == "nevus"
    assert scheme.find("melanoma in situ") == "mm"
    assert [scheme.find(name) for name in ("precancer", "", "?", "bcc")] == [None] * 4


def test_the_exact_name_precedes_others_and_of_two_that_fit_none_is_guessed():
    scheme = ClassScheme(("A_b", "a b", "melanoma", "melanoma in situ"))
    assert scheme.find("a b") == "a b"
    assert scheme.find("A_B") == "A_b"
    assert scheme.find("a-b") is None
    assert scheme.find("Melanoma in situ") == "melanoma in situ"
    assert scheme.find("nodular melanoma") is None


def test_an_alias_of_one_class_does_not_decide_when_two_names_fit():
    scheme = ClassScheme(("mel", "melanoma in situ", "thin"), aliases={"lentigo maligna": "thin"})
    assert scheme.find("nodular melanoma") is None
    assert scheme.find("Lentigo maligna") == "thin"


def test_a_label_is_in_no_class_that_is_a_subtype_of_its_diagnosis():
    scheme = ClassScheme(("melanoma in situ", "blue nevus", "Nodular BCC (pigmented)"))
    assert [scheme.find(name) for name in ("melanoma", "nodular melanoma", "nv", "bcc")] == [
        None
    ] * 4
    assert scheme.find("MEL in situ") == "melanoma in situ"
    assert scheme.find("acral melanoma in situ") == "melanoma in situ"
    assert scheme.find("combined blue nevus") == "blue nevus"
    assert scheme.find("nodular basal cell carcinoma") == "Nodular BCC (pigmented)"
    scheme = ClassScheme(
        ("benign nevus", "thin"), aliases={"melanoma": "thin", "lentigo maligna": "thin"}
    )
    assert [scheme.find(name) for name in ("nodular melanoma", "mole")] == ["thin", "benign nevus"]


def test_squamous_cell_carcinoma_and_benign_are_found_under_other_names():
    assert ClassScheme(PAD).find("Squamous cell carcinomas") == "SCC"
    assert ClassScheme(("benign", "malignant")).find("Benign lesions") == "benign"
    assert ClassScheme(("benign", "malignant")).find("malignant?") is None


def test_the_classes_of_labels_are_alphabetical_and_known_ones_have_titles():
    scheme = scheme_of_labels(["SEK", "MEL", "NEV", "SCC", "ACK", "BCC", "nev "])
    assert scheme.names == PAD
    assert scheme.malignant == ("ACK", "BCC", "MEL", "SCC")
    assert scheme.titles["SEK"] == "seborrheic keratosis"
    assert scheme_of_labels(["b", "A", "c"]).names == ("A", "b", "c")
    assert scheme_of_labels(["b", "A"]).titles == {}


def test_labels_that_differ_in_case_and_outer_spaces_are_one_under_the_most_frequent():
    assert scheme_of_labels(["nevus", " Nevus", "Nevus ", "mel"]).names == ("mel", "Nevus")
    assert scheme_of_labels(["e\u0301", "\u00e9", "mel"]).names == ("mel", "\u00e9")


def test_malignancy_is_known_only_if_it_is_of_every_class():
    assert scheme_of_labels(["benign", "Malignant"]).malignant == ("Malignant",)
    assert scheme_of_labels(["mel", "nv", "psoriasis"]).malignant == ()
    names = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
    assert scheme_of_labels(names).malignant == ("AK", "BCC", "MEL", "SCC")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Squamous Cell Carcinoma", True),
        ("squamous cell carcinoma in situ", True),
        ("skin cancer", True),
        ("benign lesions", False),
        ("nevus", False),
        ("non-malignant", None),
        ("malignant?", None),
        ("other", None),
    ],
)
def test_malignancy_is_known_by_name(name, expected):
    assert is_malignant(name) is expected


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "x: expected 2 to 1,000 classes, received none"),
        (["nv"], r"x: expected 2 to 1,000 classes, received 1 \(nv\)"),
        (map(str, range(1001)), r"received 1,001 \(0, 1, 10, 100, 1000 and 996 more\)"),
        (["nv", "a/b"], "characters without slashes, received 'a/b'; rename .* with a class list"),
        (["nv", "a\\b"], "without slashes"),
        (["nv", "a\x1bb"], r"received 'a\?b'"),
        (["nv", "a" * 201], "of 1 to 200 printable characters"),
    ],
)
def test_labels_that_cannot_be_classes_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        scheme_of_labels(labels, source="x")


@pytest.mark.parametrize(
    "text",
    [
        "mm,melanoma,malignant,Melanoma|MEL\nmole,nevus,benign\npso,psoriasis,benign,\n",
        "name,description,malignant,other names\nmm,melanoma,yes,melanoma | mel\n"
        "mole,nevus,no,\npso,psoriasis,0\n",
        "Description;Other names;Class;Malignant\nmelanoma;mel;mm;1\nnevus;;mole;0\n"
        "psoriasis;;pso;benign\n",
        "mm\tmelanoma\tmalignant\tmel\r\n\r\nmole\tnevus\tbenign\r\npso\tpsoriasis\tbenign\r\n",
        '"mm", melanoma, malignant, mel\n"mole", nevus, benign\n,,,\npso, "psoriasis", benign\n',
    ],
    ids=["plain", "header", "own order", "tabs", "quotes"],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_class_list_is_read(read, text, encoding):
    scheme = read(text, encoding)
    assert scheme.names == ("mm", "mole", "pso")
    assert scheme.titles == {"mm": "melanoma", "mole": "nevus", "pso": "psoriasis"}
    assert scheme.malignant == ("mm",)
    assert scheme.find("MEL") == "mm"
    assert scheme.find("Psoriasis") is None


def test_names_alone_are_a_class_list(read):
    scheme = read("mel\nnv\n")
    assert (scheme.names, scheme.malignant, dict(scheme.aliases)) == (("mel", "nv"), ("mel",), {})
    assert scheme.titles == {"mel": "melanoma", "nv": "melanocytic nevus"}


def test_the_malignancy_of_a_list_precedes_that_of_names_and_the_description_may_be_left_out(read):
    assert read("mel,benign\nnv,malignant\nbcc\n").malignant == ("nv", "bcc")
    assert read("mel,malignant\nother\n").malignant == ()
    assert read("a,malignant,,x\nb,benign\n").malignant == ("a",)


def test_other_names_may_follow_a_malignancy_without_a_description(read):
    for text in ("a,malignant,x|y\nb,benign\n", "a,malignant,,x|y\nb,benign\n"):
        assert read(text).aliases == {"x": "a", "y": "a"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mel\n", r"classes.csv: expected 2 to 1,000 classes, received 1 \(mel\)"),
        ("\n", "expected 2 to 1,000 classes, received none"),
        ("mel\nnv\n\nMEL\n", "expected each class once, received MEL again in line 4"),
        ("mel,,,x\nnv,,,X\n", "each label in one class, received X for mel, nv in line 2"),
        ("mel\nnv,,,mel\n", "each label in one class, received mel for mel, nv in line 2"),
        (
            "mel,,perhaps\nnv\n",
            "malignant or benign in the third column, received 'perhaps' in line 1",
        ),
        ("mel\na/b\n", "without slashes, received 'a/b'"),
        ("mel\n,nevus\n", "names of classes of 1 to 200 printable characters"),
        ("mel,a,yes,b,c\nnv\n", "received 5 fields in line 1"),
        ('mel,"x\nnv\n', "received line 1 that cannot be read"),
        ("mel," + "x" * 201 + "\nnv\n", "a description of at most 200 printable characters"),
        ("mel,,,x\x07\nnv\n", "other names of at most 200 printable characters"),
        ("PK\x03\x04", "received a zip archive"),
    ],
)
def test_a_class_list_that_cannot_be_used_is_refused_with_its_line(read, text, message):
    with pytest.raises(DataError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_a_class_list_that_is_no_file_or_too_large_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"expected a class list, .* found no file .*nowhere"):
        read_class_list(tmp_path / "nowhere")
    with pytest.raises(DataError, match="found a folder"):
        read_class_list(tmp_path)
    (tmp_path / "large").write_bytes(b"a\n" * (1 << 20))
    with pytest.raises(DataError, match="received more than 1 MiB"):
        read_class_list(tmp_path / "large")


def test_the_classes_of_a_model_are_those_of_its_description():
    description = SimpleNamespace(
        class_names=("mel", "x"), class_titles={}, class_aliases={"y": "x"}, malignant=("mel",)
    )
    scheme = scheme_of_model(description)
    assert scheme == ClassScheme(("mel", "x"), {"mel": "melanoma"}, ("mel",), {"y": "x"})
    assert scheme.find("Y") == "x"


def test_titles_of_a_model_precede_those_of_ham10000():
    names = ("mel", "nv", "x")
    assert class_titles(names, {}) == {"mel": "melanoma", "nv": "melanocytic nevus"}
    assert class_titles(names, {"nv": "mole", "x": "y"}) == {
        "mel": "melanoma",
        "nv": "mole",
        "x": "y",
    }


def test_the_class_of_melanoma_is_found_if_there_is_one():
    assert melanoma_class(CLASS_NAMES) == "mel"
    assert melanoma_class(PAD) == "MEL"
    assert melanoma_class(("nevus", "Malignant melanoma")) == "Malignant melanoma"
    assert melanoma_class(("benign", "malignant")) is None
    assert melanoma_class(("melanoma", "melanoma in situ")) is None
