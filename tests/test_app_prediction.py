"""What the page shows of a prediction."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from serving import encode

import config
from app.examples import choose_examples, generate_lesion_file
from app.settings import AppConfig
from data import DataError
from metrics.decision import OperatingPoint

pytestmark = pytest.mark.usefixtures("shallow_baseline")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def predictor():
    from app.prediction import Predictor
    from models.classifier import load_classifier

    settings = dataclasses.replace(AppConfig(), max_pixels=100_000, shown_size=64)
    return Predictor(load_classifier(ROOT / config.BUNDLED_MODEL, engine="auto"), settings)


def test_the_prediction_is_that_of_predict(predictor, tmp_path, capsys):
    from predict import main as predict

    image = tmp_path / "nv.jpg"
    image.write_bytes(generate_lesion_file("nv", 9))
    argv = ["--image", str(image), "--model_path", str(ROOT / config.BUNDLED_MODEL)]
    assert predict([*argv, "--output", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())
    result = predictor(image.read_bytes())
    assert result["classes"][0]["name"] == row["predicted"]
    for item in result["classes"]:
        assert item["description"]
        assert item["probability"] == pytest.approx(row[f"prob_{item['name']}"], abs=1e-5)
    out = capsys.readouterr().out
    for item in result["warnings"]:
        assert f"warning: {item['text']}" in out
    assert result["image"].startswith("data:image/jpeg;base64,")
    assert result["heat_map"] != result["image"]


@pytest.fixture
def show(predictor, monkeypatch):
    """A function that returns what the page shows for given probabilities of the seven classes."""
    from models.predictions import Predictions

    def show(
        *y_prob, uncertain=False, out_of_distribution=False, prediction_set=None, **description
    ) -> dict:
        classifier = predictor._classifier
        changed = dataclasses.replace(classifier.description, **description)
        monkeypatch.setattr(classifier, "description", changed)
        predictions = Predictions(
            y_prob=np.array([y_prob], np.float32),
            uncalibrated=np.array([y_prob]),
            uncertain=None if uncertain is None else np.array([uncertain]),
            out_of_distribution=None
            if out_of_distribution is None
            else np.array([False]) | out_of_distribution,
            prediction_set=prediction_set and np.array([prediction_set]),
        )
        heat_map = np.zeros((192, 192), np.float32)
        monkeypatch.setattr(predictor, "_predict", lambda image, name: (predictions, heat_map))
        return predictor(encode(np.zeros((8, 8, 3), np.uint8)))

    return show


# In the order of the classes: akiec, bcc, bkl, df, mel, nv, vasc.
MOLE = (0.01, 0.02, 0.05, 0.0, 0.17, 0.75, 0.0)

KERATOSIS = (0.2, 0.07, 0.284, 0.0, 0.2, 0.246, 0.0)


def texts(value) -> list[str]:
    """Return all strings in JSON values, except images."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) and not value.startswith("data:") else []


def test_a_row_is_that_of_predict_and_a_heat_map_that_of_the_class(predictor, tmp_path):
    from predict import main as predict

    content, path = generate_lesion_file("mel", 9), tmp_path / "a.jpg"
    path.write_bytes(content)
    argv = ["--image", str(path), "--model_path", str(ROOT / config.BUNDLED_MODEL)]
    assert predict([*argv, "--output", str(tmp_path / "out.json")]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())
    found = predictor.row(content, "a.jpg")
    assert list(found) == list(row)
    assert found | {"image": row["image"]} == row | {}
    json.dumps(found)
    shown = predictor(content)
    other = predictor(content, "vasc")
    assert (shown["explained"], other["explained"]) == (shown["classes"][0]["name"], "vasc")
    assert "vascular lesion" in other["heat_map_caption"]
    assert other["classes"] == shown["classes"]
    with pytest.raises(DataError, match="expected a class of the model, received 'wart'"):
        predictor(content, "wart")


def test_the_default_square_gives_the_prediction_of_the_whole_image_and_another_does_not(predictor):
    content = generate_lesion_file("mel", 9)
    preview = predictor.preview(content)
    assert (preview["width"], preview["height"]) == (200, 150)
    assert preview["square"] == (25, 0, 150)
    assert preview["image"].startswith("data:image/jpeg;base64,")
    row, shown = predictor.row(content, "a"), predictor(content)
    assert predictor.row(content, "a", (25, 0, 150)) == row
    assert predictor(content, None, (25, 0, 150)) == shown
    other = predictor(content, None, (0, 0, 60))
    assert other["image"] != shown["image"]
    found = {item["name"]: item["probability"] for item in other["classes"]}
    row = predictor.row(content, "a", (0, 0, 60))
    assert found == pytest.approx({name: row[f"prob_{name}"] for name in found}, abs=1e-5)
    for ask in (predictor, predictor.row):
        with pytest.raises(DataError, match="expected a square of at least 8 pixels inside"):
            ask(content, None if ask is predictor else "a", (60, 0, 150))


def test_a_benign_prediction_comes_with_the_malignant_sum_and_no_reassurance(show):
    result = show(*MOLE)
    assert result["heading"] == "Model's prediction: Melanocytic nevus, 75.0 %"
    assert result["malignant"]["text"] == "Malignant or premalignant classes together: 20.0 %"
    assert result["malignant"]["probability"] == pytest.approx(0.2)
    assert "melanoma" in result["malignant"]["note"]
    assert (result["top"], result["warnings"], result["out_of_distribution"]) == ([], [], False)
    assert {c["name"] for c in result["classes"] if c["tag"]} == {"akiec", "bcc", "mel"}
    # The name of a class, benign keratosis, is no judgment of the image.
    words = " ".join(texts(result)).lower().replace("benign keratosis", "")
    for reassuring in ("harmless", "benign", "cured", "rarely", "you have"):
        assert reassuring not in words


def test_below_the_threshold_the_heading_is_uncertain_with_the_top_three_classes(show):
    result = show(*KERATOSIS, uncertain=True)
    assert result["heading"] == "Uncertain"
    assert [item["name"] for item in result["top"]] == ["bkl", "nv", "akiec"]
    assert result["malignant"]["text"].endswith(" 47.0 %")
    assert [item["kind"] for item in result["warnings"]] == ["uncertain"]


def test_a_set_of_several_classes_is_named_unless_the_image_is_out_of_distribution(show):
    sets = {"prediction_sets": {"coverage": 0.9, "thresholds": {}}}
    several = {"prediction_set": [False] * 4 + [True, True, False], **sets}
    assert show(*MOLE, **several)["set"] == (
        "Prediction set: melanocytic nevus; melanoma. Of all sets, also those of one class, 90 % "
        "contain the true class, on images like the validation images."
    )
    assert show(*MOLE, **several, out_of_distribution=True)["set"] == ""
    assert show(*MOLE, prediction_set=[False] * 5 + [True, False], **sets)["set"] == ""
    assert show(*MOLE)["set"] == ""


def test_the_decision_at_an_operating_point_is_a_sentence(show, predictor, monkeypatch):
    assert show(*MOLE)["decision"] == ""
    point = OperatingPoint("malignant", "sensitivity_0.90", 0.15, ("akiec", "bcc", "mel"))
    monkeypatch.setattr(predictor, "_point", point)
    assert show(*MOLE)["decision"] == (
        "At 90 % sensitivity on validation images: called malignant, since 20.0 % reaches the "
        "threshold of 15.0 %"
    )
    assert show(*MOLE, out_of_distribution=True)["decision"] == ""


def test_an_image_out_of_distribution_gets_a_heading_of_its_own(show):
    result = show(*KERATOSIS, uncertain=True, out_of_distribution=True)
    assert result["heading"] == "Does not look like a dermatoscopic image"
    assert result["top"] == []
    assert [item["kind"] for item in result["warnings"]] == ["out_of_distribution", "uncertain"]


def test_what_a_model_cannot_tell_is_null_and_not_false(show):
    result = show(*MOLE, uncertain=None, out_of_distribution=None)
    assert (result["warnings"], result["out_of_distribution"]) == ([], None)
    assert result["heading"].startswith("Model's prediction: ")


def test_unknown_malignant_classes_are_not_shown_as_0_percent(show):
    malignant = show(*MOLE, malignant=())["malignant"]
    assert (malignant["probability"], malignant["text"]) == (None, "")
    assert malignant["note"] == "It is not known which classes of this model are malignant."


def test_a_single_malignant_class_is_no_sum(show):
    malignant = show(*MOLE, malignant=("mel",))["malignant"]
    assert malignant["text"] == "Malignant or premalignant: 17.0 %"
    assert malignant["note"].startswith("Probability of this class: melanoma. A low value")


def test_classes_have_the_titles_of_the_model_and_no_description_of_another_class(show):
    result = show(*MOLE, class_titles={"nv": "melanocytic nevus", "df": "diabetic foot"})
    classes = {item["name"]: item for item in result["classes"]}
    assert classes["df"]["label"] == "diabetic foot (df)"
    assert classes["df"]["description"] == ""
    assert classes["nv"]["description"].startswith("Images of moles")
    own = ("acne", "Wart", "c", "d", "e", "f", "scar")
    result = show(*MOLE, class_names=own, malignant=(), class_titles={"f": "fungal infection"})
    assert result["heading"] == "Model's prediction: Fungal infection, 75.0 %"
    assert [item["label"] for item in result["classes"]][:2] == ["fungal infection (f)", "e"]
    assert {item["description"] for item in result["classes"]} == {""}


def test_the_model_predicts_no_example_wrong_and_each_is_what_its_title_says(predictor):
    examples = choose_examples(predictor._classifier)
    assert list(examples) == ["right", "uncertain", "out_of_distribution"]
    for kind, example in examples.items():
        result = predictor(example.content)
        title, outcome = example.title.rsplit(", ", 1)
        assert outcome == {"right": "predicted"}.get(kind, kind.replace("_", " "))
        assert result["out_of_distribution"] == (kind == "out_of_distribution")
        if kind == "out_of_distribution":
            assert title == "test card"
        else:
            assert title == result["classes"][0]["title"]
            kinds = [item["kind"] for item in result["warnings"]]
            assert ("uncertain" in kinds) == (kind == "uncertain")


def test_no_probability_is_rounded_to_certainty(show):
    classes = show(0.0, 0.0, 0.0, 0.0, 0.0001, 0.9999, 0.0)["classes"]
    assert [item["percent"] for item in classes][:3] == ["> 99.9 %", "< 0.1 %", "0.0 %"]


def test_every_result_carries_the_model_and_how_many_melanomas_it_misses(show):
    melanomas = {"split": "test", "count": 167, "missed": 52}
    known = {"data_name": "HAM10000", "date": "2026-11-25", "melanomas": melanomas, "sources": {}}
    result = show(*MOLE, train_image_ids=("a", "b"), **known)
    assert result["model"]["text"] == (
        f"Model: pretrained/{Path(config.BUNDLED_MODEL).name}, trained on 2 images of HAM10000, "
        "2026-11-25."
    )
    assert result["model"]["warning"] == ""
    assert result["disclaimer"].startswith("This is not medical advice.")
    assert "Of the 167 melanomas among its test images" in result["disclaimer"]
    assert "52" in result["disclaimer"]
    assert "not known how many melanomas" in show(*MOLE, melanomas=None)["disclaimer"]


def test_a_model_trained_on_synthetic_images_says_so_in_every_result(show):
    model = show(*MOLE, synthetic=True)["model"]
    assert "synthetic images: its predictions mean nothing" in model["warning"]
    assert "synthetic images" in model["text"]


def test_escapes_in_the_name_of_the_model_file_do_not_reach_the_page(predictor, monkeypatch):
    from app.prediction import describe_model

    # The second is what Python makes of a byte that is no UTF-8; JSON cannot encode it.
    for name in ("\x1b[31m.keras", "\udcff.keras", "\u202egpj.keras"):
        monkeypatch.setattr(predictor._classifier, "path", Path("runs", name))
        model = describe_model(predictor._classifier)
        assert model["text"].startswith(f"Model: runs/?{name[1:]}, ")
        assert f"runs/?{name[1:]}" in json.dumps(model, ensure_ascii=False).encode().decode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the file is empty"),
        (b"no image", "unsupported image format"),
        (encode(np.zeros((400, 300, 3), np.uint8)), "expected at most 100,000 pixels"),
        (encode(np.zeros((100, 100, 3), np.uint8))[:-40], "cannot be read"),
    ],
    ids=("empty", "text", "large", "cut"),
)
def test_a_file_that_is_no_image_is_refused_in_one_line(predictor, content, reason):
    with pytest.raises(DataError, match=reason) as caught:
        predictor(content)
    assert "\n" not in str(caught.value)
