"""Writing a SavedModel: whole or not at all, and loadable by TensorFlow alone."""

import json
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models import ModelError
from models.bundle import get_description, update_description
from models.factory import build_model
from models.saved_model import SavedModel, write_saved_model

pytestmark = pytest.mark.usefixtures("shallow_baseline")


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=("a", "b", "c"))
    update_description(model, temperature=0.5)
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    write_saved_model(model, folder)
    return folder


def test_its_signature_predicts_as_the_keras_model(model, folder):
    serve = tf.saved_model.load(str(folder)).signatures["serving_default"]
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype(np.uint8)
    results = serve(pixels=tf.constant(images))
    assert {name: value.shape.as_list() for name, value in results.items()} == {
        "probabilities": [5, 3],
        "features": [5, 16],
    }
    expected = model.predict_on_batch(images)
    assert np.allclose(results["probabilities"], expected, atol=1e-5)
    y_prob, features = SavedModel(folder, model).predict_on_batch(images)
    assert np.allclose(y_prob, expected, atol=1e-5)
    assert np.allclose(features, results["features"], atol=1e-6)


def test_its_description_is_a_file_that_it_carries_along(model, folder):
    record = json.loads((folder / "assets.extra" / "description.json").read_text())
    assert record["description"]["class_names"] == ["a", "b", "c"]
    assert record["description"]["temperature"] == get_description(model).temperature


def test_another_folder_or_file_is_never_replaced(model, tmp_path):
    (tmp_path / "file").write_text("text")
    (tmp_path / "mine.txt").write_text("text")
    for path in (tmp_path / "file", tmp_path):
        with pytest.raises(ModelError, match="expected a new folder or a SavedModel to replace"):
            write_saved_model(model, path)
    assert sorted(os.listdir(tmp_path)) == ["file", "mine.txt"]


def test_a_failed_write_keeps_the_existing_folder(model, tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"before")

    def fill_the_disk(self, folder, **options):
        Path(folder).mkdir()
        raise OSError("no space left")

    monkeypatch.setattr(keras.Model, "export", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        write_saved_model(model, path)
    assert (path / "saved_model.pb").read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
