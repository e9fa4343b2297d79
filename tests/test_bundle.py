"""The model file and its description: written, read, upgraded, checked."""

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from refused import refusal

from models import ModelError
from models.bundle import get_description, load_model, save_model, update_description
from models.description import FORMAT
from models.description_checks import peek_description
from models.factory import build_model
from models.novelty import fit_detector, read_detector

pytestmark = pytest.mark.usefixtures("shallow_baseline")
CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    update_description(
        model,
        train_image_ids=["i2", "i1"],
        train_lesion_ids=["l1", "l1"],
        validation_image_ids=["i3"],
        validation_lesion_ids=["l2"],
    )
    return model


@pytest.fixture(scope="module")
def saved_once(model, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "good.keras"
    save_model(model, path)
    return path


@pytest.fixture
def saved(saved_once, tmp_path) -> Path:
    return Path(shutil.copy(saved_once, tmp_path))


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def rewrite(source: Path, target: Path, change) -> Path:
    """Copy a model file with a changed description: a function of a dict that it may modify."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"]["layers"][-1]["config"]["description"])
                content = json.dumps(config).encode()
            new.writestr(name, content)
    return target


def test_a_loaded_model_gives_the_same_probabilities_and_description(model, saved):
    loaded = load_model(saved)
    images = random_images(5)
    assert (model.predict_on_batch(images) == loaded.predict_on_batch(images)).all()
    description = get_description(loaded)
    assert description == get_description(model)
    assert description.format == FORMAT
    assert description.train_image_ids == ("i1", "i2")
    assert description.train_lesion_ids == ("l1",)
    assert description.validation_lesion_ids == ("l2",)


def test_the_file_of_a_compiled_model_holds_no_optimizer(model, saved, tmp_path):
    compiled = keras.Sequential.from_config(model.get_config())
    compiled.compile("adam", "categorical_crossentropy", run_eagerly=True)
    compiled.fit(np.zeros((4, 32, 32, 3)), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    save_model(compiled, tmp_path / "compiled.keras")
    sizes = [(tmp_path / name).stat().st_size for name in ("good.keras", "compiled.keras")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


def test_the_file_contains_no_path_of_the_machine(saved):
    with zipfile.ZipFile(saved) as archive:
        text = archive.read("config.json").decode() + archive.read("metadata.json").decode()
    assert str(saved.parent) not in text
    assert str(Path.cwd()) not in text
    assert json.loads(text[: text.rindex("{")])["class_name"] == "Sequential"


def test_a_failed_save_keeps_the_existing_file(model, saved, monkeypatch):
    content = saved.read_bytes()

    def fill_the_disk(self, filepath):
        Path(filepath).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(keras.Sequential, "save", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(model, saved)
    assert saved.read_bytes() == content
    assert [entry.name for entry in saved.parent.iterdir()] == ["good.keras"]


def test_the_temperature_divides_the_logits(model):
    layer = model.layers[-1]
    logits = np.array([[2.0, 0.0, -2.0]], np.float32)
    plain = keras.ops.convert_to_numpy(layer(logits))
    assert np.allclose(plain, np.exp(logits) / np.exp(logits).sum(), atol=1e-6)
    config = layer.get_config()
    config["description"]["temperature"] = 2.0
    softened = type(layer).from_config(config)(logits)
    assert np.allclose(softened, np.exp(logits / 2) / np.exp(logits / 2).sum(), atol=1e-6)


def test_a_temperature_is_in_the_file_and_keeps_weights_and_predicted_classes(tmp_path):
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    images = random_images(6)
    save_model(model, tmp_path / "before.keras")
    update_description(model, temperature=2.5)
    save_model(model, tmp_path / "after.keras")
    models = [load_model(tmp_path / f"{name}.keras") for name in ("before", "after")]
    assert get_description(models[1]).temperature == 2.5
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        assert (one == other).all()
    before, after = (model.predict_on_batch(images) for model in models)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    expected = before ** (1 / 2.5)
    assert np.allclose(after, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


def test_describe_refuses_what_no_description_has(model):
    with pytest.raises(ValueError, match="above 0, received 0"):
        update_description(model, temperature=0.0)
    with pytest.raises(TypeError):
        update_description(model, color="red")
    assert get_description(model).temperature == 1.0


def test_warning_thresholds_are_in_the_file(tmp_path):
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    features = np.random.default_rng(0).random((20, 256))
    detector = replace(fit_detector(features, components=4), threshold=1.5)
    update_description(
        model, confidence_threshold=0.7, threshold_accuracy=0.9, detector=detector.to_config()
    )
    save_model(model, tmp_path / "model.keras")
    description = get_description(load_model(tmp_path / "model.keras"))
    assert (description.confidence_threshold, description.threshold_accuracy) == (0.7, 0.9)
    loaded = read_detector(description.detector, features=256)
    assert (loaded.score(features) == detector.score(features)).all()


def make_format_5(description: dict) -> None:
    description["format"] = 5
    del description["sources"]


def make_format_4(description: dict) -> None:
    make_format_5(description)
    description["format"] = 4
    for name in ("class_titles", "class_aliases", "train_patient_ids", "validation_patient_ids"):
        del description[name]


def make_format_3(description: dict) -> None:
    make_format_4(description)
    description["format"] = 3
    for name in ("malignant", "data_name", "date", "synthetic", "melanomas"):
        del description[name]
    del description["train_pixel_hashes"], description["validation_pixel_hashes"]


def make_format_2(description: dict) -> None:
    make_format_3(description)
    description["format"] = 2
    description["unsure_below"] = 0.7
    description["unsure_accuracy"] = 0.9
    del description["confidence_threshold"], description["threshold_accuracy"]


def make_format_1(description: dict) -> None:
    make_format_3(description)
    description["format"] = 1
    for name in ("confidence_threshold", "threshold_accuracy", "detector"):
        del description[name]


@pytest.mark.parametrize(
    ("make_older", "expected"),
    [
        (make_format_1, (None, None)),
        (make_format_2, (0.7, 0.9)),
        (make_format_3, (None, None)),
        (make_format_4, (None, None)),
        (make_format_5, (None, None)),
    ],
)
def test_a_file_of_an_older_format_still_works(saved, tmp_path, make_older, expected):
    older = load_model(rewrite(saved, tmp_path / "older.keras", make_older))
    images = random_images(2)
    assert (older.predict_on_batch(images) == load_model(saved).predict_on_batch(images)).all()
    description = get_description(older)
    assert (description.confidence_threshold, description.threshold_accuracy) == expected
    assert (description.format, description.sources) == (FORMAT, {})
    assert (description.detector, description.synthetic) == (None, False)
    save_model(older, tmp_path / "again.keras")
    assert get_description(load_model(tmp_path / "again.keras")) == description


def test_what_a_model_was_trained_on_is_in_the_file(tmp_path):
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    facts = {
        "malignant": ("b", "c"),
        "data_name": "HAM10000",
        "sources": {"rosendahl": 5, "HAM10000": 2},
        "date": "2025-12-31",
        "synthetic": True,
        "melanomas": {"split": "validation", "count": 9, "missed": 2},
        "class_titles": {"a": "first class"},
        "class_aliases": {"A1": "a", "bee": "b"},
        "train_patient_ids": ("p1", "p2"),
        "validation_patient_ids": ("p3",),
        "train_pixel_hashes": "AAAAAAAAAAA=",
    }
    update_description(model, **facts)
    save_model(model, tmp_path / "model.keras")
    description = get_description(load_model(tmp_path / "model.keras"))
    assert {name: getattr(description, name) for name in facts} == facts
    assert peek_description(tmp_path / "model.keras") == description


def test_a_file_that_is_not_a_model_of_this_project_is_refused(tmp_path):
    assert "model file not found" in refusal(tmp_path / "nothing.keras")
    (tmp_path / "text.keras").write_text("no model")
    assert "another format" in refusal(tmp_path / "text.keras")
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain.save(tmp_path / "plain.keras")
    assert "received one without a description; use" in refusal(tmp_path / "plain.keras")
    with pytest.raises(ModelError, match="received one without a description"):
        save_model(plain, tmp_path / "never.keras")


def test_a_layer_in_place_of_a_model_is_refused(saved, tmp_path):
    bad = tmp_path / "bad.keras"
    layer = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}}
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            new.writestr(name, json.dumps(layer) if name == "config.json" else old.read(name))
    assert "expected a model, received a Dense" in refusal(bad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, f"expected description format 1 to {FORMAT}, received 99"),
        ({"class_names": [*CLASSES, "z"]}, "the output (None, 4), as its description says"),
        (
            {"class_names": ["a", "a", "b"]},
            "expected two or more different names without slashes as class_names",
        ),
        ({"image_size": 64}, "expected the input (None, 64, 64, 3)"),
        ({"image_size": True}, "integer from 1 to 2048 as image_size"),
        ({"temperature": 10**400}, "a number above 0 as temperature"),
        ({"train_image_ids": [1]}, "a list of strings as train_image_ids in its description"),
        ({"confidence_threshold": "0.5", "threshold_accuracy": 0.9}, "received '0.5'"),
        ({"confidence_threshold": 1.5, "threshold_accuracy": 0.9}, "received 1.5"),
        ({"confidence_threshold": float("nan"), "threshold_accuracy": 0.9}, "received nan"),
        ({"confidence_threshold": 0.5}, "both or neither"),
        ({"confidence_threshold": [], "threshold_accuracy": {}}, "as confidence_threshold"),
        ({"unsure_below": 0.5}, "cannot load the model"),
        ({"format": 2, "unsure_below": 2, "unsure_accuracy": 0.9}, "as confidence_threshold"),
        ({"detector": "text"}, "expected an object or null as detector"),
        ({"detector": [1]}, "expected an object or null as detector"),
        ({"malignant": ["d"]}, "expected different names of its classes as malignant"),
        ({"class_titles": {"d": "x"}}, "for some of its classes as class_titles"),
        ({"class_aliases": {"x": "d"}}, "names and the class of each as class_aliases"),
        ({"sources": {"x": -1}}, "a number of images for each of at most 1,000 names as sources"),
        ({"train_patient_ids": "p1"}, "a list of strings as train_patient_ids"),
        ({"format": 3, "class_names": 7}, "cannot load the model"),
        ({"format": 3, "train_lesion_ids": 7}, "cannot load the model"),
    ],
    ids=str,
)
def test_a_description_that_cannot_be_used_is_refused(saved, tmp_path, change, message):
    bad = rewrite(saved, tmp_path / "bad.keras", lambda description: description.update(change))
    assert message in refusal(bad)


def test_weights_with_nan_are_refused(model, tmp_path):
    broken = keras.Sequential.from_config(model.get_config())
    broken.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    save_model(broken, tmp_path / "nan.keras")
    assert "the weights contain NaN or infinity" in refusal(tmp_path / "nan.keras")


def test_an_error_without_a_message_is_still_one_line(saved, monkeypatch):
    def fail(*args, **kwargs):
        raise KeyError

    monkeypatch.setattr(keras.saving, "load_model", fail)
    assert "cannot load the model: KeyError" in refusal(saved)
