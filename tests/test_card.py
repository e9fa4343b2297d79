"""The measured part of a model card."""

from dataclasses import replace

import pytest
from evaluations import make_evaluation, measure_parts

from app.card import count_classes
from metrics.card import CardModel, build_card, find_worst
from metrics.evaluation import evaluation_metrics
from models.description import Description
from support import InputError

MODEL = CardModel(
    title="tiny | <b>",
    facts={"training": "trained on 9 images"},
    names={"mel": "melanoma", "nv": "melanocytic nevus"},
    malignant=("mel",),
    melanoma="mel",
    class_counts={"train": {"mel": 1234, "nv": 2}},
    sources={"vidir_modern": 3, "rosendahl": 1233},
    warnings=["It was trained in a hurry."],
    group_names={"sex": "Sex of patients"},
)


@pytest.fixture(scope="module")
def metrics() -> dict:
    """The metrics of 80 images, five melanomas of 40 predicted as nevi."""
    evaluation = make_evaluation(
        80,
        slice(0, 10, 2),
        subgroups={"sex": ["male"] * 40 + ["female"] * 36 + ["unknown"] * 4},
        thresholds={"malignant": {"specificity_0.90": 0.5}},
        set_coverage=0.9,
        sources=["a"] * 40 + ["b"] * 40,
        trained_on={"a": True, "b": False},
    )
    evaluation = replace(evaluation, sets=evaluation.y_prob > 0.15)
    found = evaluation_metrics(evaluation, malignant=("mel",), melanoma="mel")
    facts = {"Evaluated on": "80 images of 80 lesions, split test"}
    return found | {"facts": facts, "notes": ["This model file has no pixel hashes."]}


def section(card: str, heading: str) -> str:
    return card.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_a_card_has_the_sections_that_can_be_measured_and_says_what_is_missing(metrics):
    card = build_card(metrics, MODEL)
    headings = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        *("Model", "Intended use", "Data", "Metrics", "Operating points", "Calibration"),
        *("Subgroups and sources", "Artifacts and occlusion", "Warnings", "To be added by hand"),
    ]
    assert card.startswith("# Model card: tiny \\| &lt;b&gt;\n")
    assert "not a medical device" in section(card, "Intended use")
    assert "skin types" in section(card, "To be added by hand")


def test_a_card_holds_the_metrics_with_their_intervals(metrics):
    card = build_card(metrics, MODEL)
    low, high = metrics["intervals"]["accuracy"]
    assert f"| accuracy | 0.938 | {low:.3f} to {high:.3f} |" in section(card, "Metrics")
    assert "80 images of 80 lesions, split test" in section(card, "Metrics")
    low, high = metrics["per_class"]["mel"]["intervals"]["recall"]
    assert f"| mel | 1.000 | 0.875 ({low:.3f} to {high:.3f}) |" in section(card, "Metrics")
    assert "| melanoma (mel) | 1,234 | 40 |" in section(card, "Data")
    assert "| all | 1,236 | 80 |" in section(card, "Data")
    assert "| rosendahl | 1,233 |\n| vidir\\_modern | 3 |" in section(card, "Data")
    assert "| malignant, 90 % specificity | 0.500 | 0.875 (" in section(card, "Operating points")
    assert "temperature 1.250" in section(card, "Calibration")
    assert "in 90 % of cases contain it in 0.938 (" in section(card, "Calibration")


def test_a_card_names_the_worst_group_and_the_harms(metrics):
    card = build_card(metrics, MODEL)
    groups = section(card, "Subgroups and sources")
    assert "**Worst by sex of patients: male**, balanced accuracy 0.875." in groups
    assert "**Worst by source: a**" in groups
    assert "| unknown (few) | 4 |" in groups
    warnings = section(card, "Warnings")
    assert "- This model file has no pixel hashes.\n- It was trained in a hurry.\n" in warnings
    assert "of the 40 melanomas among the images of these metrics, it predicts" in warnings
    assert "another class for 5." in warnings
    assert "of 100 predictions of melanoma, 0 are wrong" in warnings


def test_what_was_not_measured_is_said(metrics):
    empty = {"operating_points": {}, "prediction_sets": {}, "subgroups": {}, "sources": {}}
    model = CardModel("m", {}, {}, malignant=(), melanoma=None)
    card = build_card(metrics | empty, model)
    assert section(card, "Operating points").startswith("\nNone: the model has no thresholds")
    assert "Not measured" in section(card, "Subgroups and sources")
    assert "Not measured" in section(card, "Artifacts and occlusion")
    assert "not in the model file" in section(card, "Data")
    assert "not known which of its classes are malignant" in section(card, "Warnings")


def test_artifacts_and_occlusion_are_in_the_card(metrics):
    card = build_card(metrics | measure_parts(80, "gel_border", 70), MODEL)
    text = section(card, "Artifacts and occlusion")
    assert "| gel border, without (few) | 10 | 1.000 (" in text
    assert "| only visible, 80 images | accuracy | balanced accuracy |" in text
    assert "| its surroundings | 0.000 (" in text


def test_the_worst_group_is_neither_small_nor_unknown():
    rows = {"a": (0.5, False), "b": (0.4, False), "c": (0.1, True), "unknown": (0.2, False)}
    groups = {name: {"balanced_accuracy": v, "small": s} for name, (v, s) in rows.items()}
    assert find_worst(groups) == "b"
    assert find_worst({"a": groups["a"], "c": groups["c"]}) is None


@pytest.mark.parametrize("text", ["image,fold\na,1\n", "", "a\n1,2,3\n"])
def test_a_table_of_another_program_beside_the_model_is_one_line(tmp_path, text):
    (tmp_path / "split.csv").write_text(text)
    description = Description("sequential", ("mel", "nv"), 32)
    with pytest.raises(InputError, match=r"split\.csv: expected the table of a run, received"):
        count_classes(tmp_path / "model.keras", description)
