import json
import os
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from config import TrainConfig
from models import ModelError, build_model
from models.bundle import (
    MAX_SIDE,
    choose_model,
    get_description,
    load_model,
    newest_model,
    save_model,
    set_split,
    set_temperature,
    set_warnings,
)
from models.inference import FeatureReader
from models.novelty import fit_detector, read_detector

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
    with pytest.raises(ModelError, match=r"but it holds config\.json$"):
        load_model(tmp_path / "empty.keras")


def rewrite(source: Path, target: Path, **members) -> Path:
    """Copy a model file with other content of some members: bytes, or a function of the JSON."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content, change = old.read(name), members.get(name.split(".")[0])
            if callable(change):
                content = json.dumps(change(json.loads(content))).encode()
            new.writestr(name, content if change is None or callable(change) else change)
    return target


@pytest.fixture
def saved(model, tmp_path) -> Path:
    save_model(model, tmp_path / "good.keras")
    return tmp_path / "good.keras"


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def weights_file(tmp_path, change) -> bytes:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        change(file)
    return (tmp_path / "weights.h5").read_bytes()


def test_a_file_of_another_format_or_damaged_is_refused(saved, tmp_path):
    content = saved.read_bytes()
    bad = tmp_path / "bad.keras"
    with h5py.File(bad, "w") as file:
        file["weights"] = np.zeros(3)
    assert "another format" in refusal(bad)
    bad.write_bytes(content[: len(content) // 2])
    assert "another format" in refusal(bad)
    bad.write_bytes(content[:3000] + b"\0\0\0" + content[3003:])
    assert "it is damaged" in refusal(bad)
    assert "it is damaged" in refusal(rewrite(saved, bad, config=b"{"))
    assert "it is damaged" in refusal(rewrite(saved, bad, model=b"no table"))


def test_code_in_a_model_is_refused(saved, tmp_path):
    for name, module in (
        ("Lambda", "keras.layers"),
        ("TFSMLayer", "keras.layers"),
        ("system", "os"),
        ("Popen", "subprocess"),
        ("Backbone", "keras_hub.src.models.backbone"),
        ("DeiTBackbone", "keras_hub.models"),
    ):

        def add(config, name=name, module=module):
            layer = {"class_name": name, "module": module, "config": {}, "registered_name": None}
            config["config"]["layers"].insert(1, layer)
            return config

        message = refusal(rewrite(saved, tmp_path / "bad.keras", config=add))
        assert f"it holds a {name} of {module}, which may run any code" in message


def test_a_class_under_the_name_of_another_is_refused(saved, tmp_path):
    def disguise(config):
        layer = {"class_name": "DeiTBackbone", "module": "keras.layers", "config": {}}
        layer["registered_name"] = "keras_hub>Backbone"
        config["config"]["layers"].insert(1, layer)
        return config

    message = refusal(rewrite(saved, tmp_path / "bad.keras", config=disguise))
    assert "it holds a Backbone of keras_hub>Backbone" in message


def test_weights_that_lie_elsewhere_are_refused(saved, tmp_path):
    def link(file):
        file["layers"] = h5py.ExternalLink("/etc/passwd", "/")

    def outside(file):
        file.create_dataset("v", (4,), "f4", external=[(str(tmp_path / "other"), 0, 16)])

    for change in (link, outside):
        content = weights_file(tmp_path, change)
        message = refusal(rewrite(saved, tmp_path / "bad.keras", model=content))
        assert "lie" in message


def test_bombs_are_refused_before_they_unpack(saved, tmp_path):
    bad = tmp_path / "bad.keras"
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("metadata.json", "config.json"):
            archive.writestr(name, "{}")
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(1100):
                member.write(bytes(1 << 20))
    assert bad.stat().st_size < 2 << 20
    assert "unpacked it would have 1,153,433,604 bytes" in refusal(bad)

    def inflate(file):
        file.create_dataset("v", (1 << 29,), "f4", chunks=(1 << 20,), compression="gzip")

    content = weights_file(tmp_path, inflate)
    message = refusal(rewrite(saved, bad, model=content))
    assert "its weights unpack to more than" in message


def test_a_model_that_contradicts_its_description_is_refused(saved, tmp_path):
    def one_more(config):
        config["config"]["layers"][-1]["config"]["description"]["class_names"].append("z")
        return config

    message = refusal(rewrite(saved, tmp_path / "bad.keras", config=one_more))
    assert "give (None, 4), as it describes itself" in message


def test_every_size_that_can_be_trained_can_be_loaded():
    (size,) = [item for item in fields(TrainConfig) if item.name == "image_size"]
    assert size.metadata["maximum"] == MAX_SIDE


def test_a_model_of_another_keras_says_which_to_install(saved, tmp_path):
    def unknown(config):
        config["config"]["layers"][1]["class_name"] = "LayerOfTomorrow"
        return config

    bad = rewrite(
        saved,
        tmp_path / "bad.keras",
        config=unknown,
        metadata=lambda metadata: {**metadata, "keras_version": "9.9.9"},
    )
    assert refusal(bad).endswith("it was written by Keras 9.9.9: pip install keras==9.9.9")


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
    with pytest.raises(ModelError, match="format 99, expected 2"):
        load_model(tmp_path / "future.keras")


def test_newest_model_is_the_one_written_last(tmp_path):
    assert newest_model(tmp_path) is None
    for name, when in (("b", 100), ("a", 200), ("c", 50)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.keras").touch()
        os.utime(tmp_path / name / "model.keras", (when, when))
    assert newest_model(tmp_path) == tmp_path / "a" / "model.keras"


def test_what_a_model_warns_by_is_in_the_file(tmp_path):
    model = build_model("sequential", image_size=32, class_names=CLASSES)
    features = np.random.default_rng(0).random((20, FeatureReader(model).count))
    detector = replace(fit_detector(features, components=4), threshold=1.5)
    set_warnings(model, unsure_below=0.7, unsure_accuracy=0.9, detector=detector.to_config())
    save_model(model, tmp_path / "model.keras")
    description = get_description(load_model(tmp_path / "model.keras"))
    assert (description.unsure_below, description.unsure_accuracy) == (0.7, 0.9)
    again = read_detector(description.detector, features=features.shape[1])
    assert (again.score(features) == detector.score(features)).all()


def test_a_file_of_format_1_still_serves(saved, tmp_path):
    def make_older(config):
        description = config["config"]["layers"][-1]["config"]["description"]
        for name in ("unsure_below", "unsure_accuracy", "detector"):
            del description[name]
        description["format"] = 1
        return config

    older = load_model(rewrite(saved, tmp_path / "older.keras", config=make_older))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    expected = load_model(saved).predict_on_batch(images)
    assert (older.predict_on_batch(images) == expected).all()
    assert get_description(older).detector is None


@pytest.mark.parametrize(
    "change",
    [
        {"unsure_below": "0.5", "unsure_accuracy": 0.9},
        {"unsure_below": 1.5, "unsure_accuracy": 0.9},
        {"unsure_below": float("nan"), "unsure_accuracy": 0.9},
        {"unsure_below": 0.5},
        {"unsure_below": [], "unsure_accuracy": {}},
        {"detector": "text"},
        {"detector": [1]},
    ],
    ids=str,
)
def test_thresholds_that_are_none_are_refused(saved, tmp_path, change):
    def put(config):
        config["config"]["layers"][-1]["config"]["description"].update(change)
        return config

    assert "train it again" in refusal(rewrite(saved, tmp_path / "bad.keras", config=put))


def test_the_model_asked_for_comes_before_the_newest_before_the_shipped(tmp_path):
    places = {"runs_dir": str(tmp_path / "runs"), "shipped": "m.keras", "root": tmp_path}
    assert choose_model("x.keras", **places) == (Path("x.keras"), "x.keras")
    path, name = choose_model(None, **places)
    assert (path, "the shipped one" in name) == (tmp_path / "m.keras", True)
    newest = tmp_path / "runs" / "a" / "model.keras"
    newest.parent.mkdir(parents=True)
    newest.touch()
    path, name = choose_model(None, **places)
    assert (path, "the newest run" in name) == (newest, True)
