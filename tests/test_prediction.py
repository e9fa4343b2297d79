"""What people read of a prediction: headings, malignant classes, bars, warnings."""

import numpy as np
import pytest

from metrics.prediction import (
    Prediction,
    class_label,
    format_block,
    format_line,
    heading,
    line_heading,
    malignant_text,
    prediction_set_names,
    prediction_set_text,
    short_names,
    short_warnings,
    shorten,
)

MALIGNANT = ("akiec", "bcc", "mel")
Y_PROB = {"akiec": 0.1, "bcc": 0.125, "bkl": 0.275, "df": 0.0, "mel": 0.25, "nv": 0.25}
TITLES = {"bkl": "benign keratosis", "mel": "melanoma"}
UNCERTAIN = {"uncertain": "Low confidence (28 %)."}
OUT = {"out_of_distribution": "Does not look like one, so the prediction means nothing."}


def prediction(warnings: dict[str, str] | None = None, **changes) -> Prediction:
    values = {
        "image": "lesion.jpg",
        "y_prob": Y_PROB,
        "malignant": MALIGNANT,
        "malignant_probability": 0.475,
        "warnings": warnings or {},
    }
    return Prediction(**{**values, **changes})


def test_a_heading_names_a_class_only_as_a_confident_prediction_of_the_model():
    def head(uncertain: bool, out_of_distribution: bool) -> str:
        flags = {"uncertain": uncertain, "out_of_distribution": out_of_distribution}
        return heading("melanoma (mel)", 0.84, **flags)

    assert head(False, False) == "Model's prediction: melanoma (mel), 84.0 %"
    assert head(True, False) == "Uncertain"
    assert head(False, True) == head(True, True) == "Does not look like a dermatoscopic image"


def test_the_malignant_classes_are_summed_in_words():
    text = "Malignant or premalignant (akiec, bcc, mel): 47.5 % together"
    assert malignant_text(0.475, MALIGNANT) == text
    assert malignant_text(0.475, ("scc",)) == "Malignant or premalignant (scc): 47.5 %"
    many = malignant_text(0.475, [f"class {i}" for i in range(12)])
    assert many == "Malignant or premalignant (12 classes): 47.5 % together"


def test_a_block_is_a_heading_the_malignant_sum_as_a_bar_and_the_classes():
    assert format_block(prediction(), top_k=2, titles=TITLES).splitlines() == [
        "lesion.jpg",
        "  Model's prediction: benign keratosis (bkl), 27.5 %",
        "  Malignant or premalignant (akiec, bcc, mel): 47.5 % together",
        "  ██████████████░░░░░░░░░░░░░░░░",
        "",
        "  benign keratosis (bkl)    27.5 %  ████████",
        "  melanoma (mel)            25.0 %  ████████",
    ]


def test_a_block_has_the_prediction_set_unless_the_image_is_out_of_distribution():
    several = {"prediction_set": ["bkl", "nv", "mel"], "coverage": 0.9}
    lines = format_block(prediction(UNCERTAIN, **several), top_k=1, titles=TITLES).splitlines()
    assert lines[4] == (
        "  Prediction set: benign keratosis (bkl); nv; melanoma (mel). Of all sets, also those of "
        "one class, 90 % contain the true class, on images like the validation images."
    )
    plain = format_block(prediction(), top_k=1, titles=TITLES)
    one = prediction(prediction_set=["bkl"], coverage=0.9)
    assert format_block(one, top_k=1, titles=TITLES) == plain
    outside = format_block(prediction(OUT, **several), top_k=1, titles=TITLES)
    assert outside == format_block(prediction(OUT), top_k=1, titles=TITLES)


def test_a_decision_is_a_sentence_in_a_block_and_some_words_in_a_line():
    decided = prediction(decision=("not called malignant", "At 90 % sensitivity: no."))
    lines = format_block(decided, top_k=1, titles=TITLES).splitlines()
    assert lines[4] == "  At 90 % sensitivity: no."
    assert format_line(decided, top_k=1).endswith("27.5 %   not called malignant")
    outside = prediction(OUT, decision=("called malignant", "At 90 % sensitivity: yes."))
    assert "At 90 %" not in format_block(outside, top_k=1, titles=TITLES)
    assert format_line(outside, top_k=1).endswith("called malignant   out of distribution")


def test_a_set_is_named_by_its_most_probable_classes():
    names = prediction_set_names(
        np.array([0.1, 0.6, 0.3]), np.array([True, True, False]), ("a", "b", "c")
    )
    assert names == ["b", "a"]
    two = "Prediction set: b; a. Of all sets, also those of one class, 80 % contain the true "
    assert prediction_set_text(["b", "a"], 0.8).startswith(two)
    assert prediction_set_text(list("abcdefgh"), 0.9).startswith(
        "Prediction set: a; b; c; d; e; and 3 more. "
    )
    assert prediction_set_text(["b"], 0.9) == prediction_set_text([], None) == ""


@pytest.mark.parametrize(
    ("warnings", "expected"),
    [
        (UNCERTAIN, "Uncertain"),
        (OUT, "Does not look like a dermatoscopic image"),
        (OUT | UNCERTAIN, "Does not look like a dermatoscopic image"),
    ],
)
def test_a_block_with_a_warning_states_no_class_and_shows_three(warnings, expected):
    lines = format_block(prediction(warnings), top_k=1, titles=TITLES).splitlines()
    assert lines[1] == f"  {expected}"
    assert [line.split()[0] for line in lines[5:8]] == ["benign", "melanoma", "nv"]
    assert lines[8:] == [f"  warning: {text}" for text in warnings.values()]


def test_a_model_that_does_not_know_its_malignant_classes_shows_no_sum():
    unknown = prediction(malignant=(), malignant_probability=None)
    assert format_block(unknown, top_k=1, titles={}).splitlines() == [
        "lesion.jpg",
        "  Model's prediction: bkl, 27.5 %",
        "",
        "  bkl    27.5 %  ████████",
    ]
    assert line_heading(()).split() == [
        *("image", "most", "probable", "classes,", "as", "predicted", "by", "the", "model")
    ]
    line = format_line(unknown, top_k=1)
    assert line == f"{'lesion.jpg':<40}  bkl     27.5 %"
    assert line.index("bkl") == line_heading(()).index("most")


def test_a_line_holds_the_malignant_sum_and_the_warnings():
    columns = line_heading(MALIGNANT)
    assert columns.split("  ")[0] == "image"
    assert columns.endswith("malignant  most probable classes, as predicted by the model")
    line = format_line(prediction(OUT | UNCERTAIN, image="x" * 60), top_k=1)
    assert line.startswith("…" + "x" * 39 + "     47.5 %  bkl     27.5 %   mel     25.0 %")
    assert line.endswith("   out of distribution   uncertain")
    assert len(columns.split("malignant")[0]) + len("malignant") == line.index("%") + 1


def test_long_names_of_classes_keep_the_columns_of_lines_and_blocks():
    name = "melanocytic nevus of the trunk"
    for y_prob in ({name: 0.75, "wart": 0.25}, {"wart": 0.75, name: 0.25}):
        line = format_line(prediction(y_prob=y_prob, malignant_probability=None), top_k=9)
        assert line[42:61] in ("melanocytic nevus o", "wart" + " " * 15)
        assert [line[i - 1] for i in (71, 103)] == ["%", "%"]
    block = format_block(prediction(y_prob={"x" * 200: 0.75, "b": 0.25}), top_k=9, titles={})
    heading, *_, first, second = (line for line in block.splitlines() if "5.0 %" in line)
    assert "x" * 200 in heading
    assert len(first.partition("%")[0]) == len(second.partition("%")[0]) < 80


def test_names_are_shortened_with_an_ellipsis_and_stay_different():
    assert [shorten("melanoma", length) for length in (8, 5)] == ["melanoma", "mela…"]
    names = ["nevus of the trunk", "nevus of the limbs", "melanoma in situ", "wart"]
    assert short_names(names, 12) == ["nevus o…runk", "nevus o…imbs", "melanoma in…", "wart"]


def test_the_label_of_a_class_holds_its_title_and_its_name_once():
    assert class_label("mel", {"mel": "melanoma"}) == "melanoma (mel)"
    assert class_label("wart", {}) == class_label("wart", {"wart": "Wart"}) == "wart"


def test_the_warnings_of_an_image_are_those_that_the_model_can_give():
    columns = {"uncertain": np.array([True, False]), "out_of_distribution": None, "other": None}
    assert [short_warnings(columns, i) for i in (0, 1)] == [["uncertain"], []]
    both = columns | {"out_of_distribution": np.array([True, True])}
    assert short_warnings(both, 0) == ["out of distribution", "uncertain"]
