import json
import os
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from models import ModelError, build_model
from models.bundle import (
    get_description,
    load_model,
    newest_model,
    save_model,
    set_split,
    set_temperature,
)

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    set_split(
        model,
        train_image_ids=["i2", "i1"],
        train_lesion_ids=["l1", "l1"],
        validation_image_ids=["i3"],
        validation_lesion_ids=["l2"],
    )
    return model


def test_reloaded_model_gives_the_same_probabilities_and_description(model, tmp_path):
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    assert (model.predict_on_batch(images) == again.predict_on_batch(images)).all()
    description = get_description(again)
    assert description == get_description(model)
    assert description.train_image_ids == ("i1", "i2")
    assert description.train_lesion_ids == ("l1",)
    assert description.validation_lesion_ids == ("l2",)


def test_file_of_a_compiled_model_holds_no_optimizer(model, tmp_path):
    save_model(model, tmp_path / "plain.keras")
    model.compile("adam", "categorical_crossentropy")
    model.fit(np.zeros((4, 32, 32, 3)), np.eye(3)[[0, 1, 2, 0]], verbose=0)
    save_model(model, tmp_path / "compiled.keras")
    sizes = [(tmp_path / name).stat().st_size for name in ("plain.keras", "compiled.keras")]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.02)


def test_file_names_no_path_of_the_machine(model, tmp_path):
    save_model(model, tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        text = archive.read("config.json").decode() + archive.read("metadata.json").decode()
    assert str(tmp_path) not in text
    assert str(Path.cwd()) not in text
    assert json.loads(text[: text.rindex("{")])["class_name"] == "Sequential"


def test_a_failing_save_keeps_the_model_before(model, tmp_path, monkeypatch):
    path = tmp_path / "model.keras"
    save_model(model, path)
    content = path.read_bytes()

    def fill_the_disk(self, filepath):
        Path(filepath).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(keras.Sequential, "save", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        save_model(model, path)
    assert path.read_bytes() == content
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.keras"]


def test_temperature_divides_the_logits(model):
    hot = keras.Sequential.from_config(model.get_config())
    hot.set_weights(model.get_weights())
    layer = hot.layers[-1]
    logits = np.array([[2.0, 0.0, -2.0]], np.float32)
    cold = keras.ops.convert_to_numpy(layer(logits))
    assert np.allclose(cold, np.exp(logits) / np.exp(logits).sum(), atol=1e-6)
    config = layer.get_config()
    config["description"]["temperature"] = 2.0
    warm = type(layer).from_config(config)(logits)
    assert np.allclose(warm, np.exp(logits / 2) / np.exp(logits / 2).sum(), atol=1e-6)


def test_a_set_temperature_is_in_the_file_and_leaves_weights_and_answer(tmp_path):
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype(np.uint8)
    save_model(model, tmp_path / "cold.keras")
    set_temperature(model, 2.5)
    save_model(model, tmp_path / "warm.keras")
    cold, warm = (load_model(tmp_path / f"{name}.keras") for name in ("cold", "warm"))
    assert get_description(warm).temperature == 2.5
    for one, other in zip(cold.get_weights(), warm.get_weights(), strict=True):
        assert (one == other).all()
    before, after = cold.predict_on_batch(images), warm.predict_on_batch(images)
    assert (before.argmax(axis=1) == after.argmax(axis=1)).all()
    expected = before ** (1 / 2.5)
    assert np.allclose(after, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)
    with pytest.raises(ValueError, match="above 0"):
        set_temperature(model, 0.0)


def test_files_that_are_no_model_of_this_project_are_refused(model, tmp_path):
    with pytest.raises(ModelError, match="found none"):
        load_model(tmp_path / "nothing.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ModelError, match="another format"):
        load_model(tmp_path / "text.keras")
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    plain.save(tmp_path / "plain.keras")
    with pytest.raises(ModelError, match="ClassProbabilities"):
        load_model(tmp_path / "plain.keras")
    with pytest.raises(ModelError, match="ClassProbabilities"):
        save_model(plain, tmp_path / "never.keras")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match="cannot load it"):
        load_model(tmp_path / "empty.keras")


def test_an_error_without_a_message_is_still_one_line(model, tmp_path, monkeypatch):
    save_model(model, tmp_path / "model.keras")

    def fail(*args, **kwargs):
        raise KeyError

    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(ModelError, match="cannot load it: KeyError"):
        load_model(tmp_path / "model.keras")


def test_another_format_number_is_refused(model, tmp_path):
    future = keras.Sequential.from_config(model.get_config())
    description = get_description(future)
    future.layers[-1].description = type(description)(**{**vars(description), "format": 99})
    save_model(future, tmp_path / "future.keras")
    with pytest.raises(ModelError, match="format 99, expected 1"):
        load_model(tmp_path / "future.keras")


def test_newest_model_is_the_one_written_last(tmp_path):
    assert newest_model(tmp_path) is None
    for name, when in (("b", 100), ("a", 200), ("c", 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
        os.utime(tmp_path / name / "model.keras", (when, when))
    assert newest_model(tmp_path) == tmp_path / "a" / "model.keras"
