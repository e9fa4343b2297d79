"""Conversion to `.tflite`: agreement with Keras, sizes, readable by any interpreter."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from models import QUANTIZATIONS, ModelError
from models.bundle import load_model, save_model, update_description
from models.factory import build_model
from models.tflite import TFLiteModel
from models.tflite_conversion import convert_to_tflite


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=("a", "b", "c"))
    # Confident predictions, so that an error is visible.
    layer = model.get_layer("logits")
    layer.set_weights([40 * layer.get_weights()[0], np.array([0.5, 0, -0.5])])
    update_description(model, temperature=0.5)
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_model(model, path)
    return load_model(path)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Flat and noisy images of many colors: noise alone would all look the same to the model."""
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (64, 1, 1, 3))
    noise = rng.normal(0, 1, (64, 32, 32, 3)) * rng.integers(0, 60, (64, 1, 1, 1))
    return np.clip(colors + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(model, images, tmp_path_factory) -> Path:
    """A folder with a file of each number format."""
    folder = tmp_path_factory.mktemp("tflite")
    for quantize in QUANTIZATIONS:
        convert_to_tflite(model, folder / f"{quantize}.tflite", quantize=quantize, images=images)
    return folder


def test_probabilities_are_those_of_keras_at_its_temperature(model, folder, images):
    expected = model.predict_on_batch(images)
    assert expected.max(axis=1).mean() > 0.5
    assert len(set(expected.argmax(axis=1))) > 1
    for quantize, tolerance in (("float32", 1e-5), ("float16", 2e-3), ("int8", 0.1)):
        y_prob, _ = TFLiteModel(folder / f"{quantize}.tflite").predict_on_batch(images)
        assert y_prob.dtype == np.float32
        assert np.abs(y_prob - expected).max() < tolerance
        assert np.allclose(y_prob.sum(axis=1), 1, atol=1e-5)
    assert (y_prob.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.95


def test_an_int8_file_is_a_quarter_of_the_size_and_computes_in_integers(folder):
    sizes = [(folder / f"{quantize}.tflite").stat().st_size for quantize in QUANTIZATIONS]
    assert sizes[1] < 0.55 * sizes[0]
    assert sizes[2] < 0.3 * sizes[0]
    graph = schema.ModelT.InitFromPackedBuf((folder / "int8.tflite").read_bytes()).subgraphs[0]
    types = [tensor.type for tensor in graph.tensors]
    assert types.count(schema.TensorType.INT8) > types.count(schema.TensorType.FLOAT32)


def test_any_interpreter_reads_the_file(folder, images):
    interpreter = tf.lite.Interpreter(str(folder / "int8.tflite"))
    interpreter.allocate_tensors()
    (source,), results = interpreter.get_input_details(), interpreter.get_output_details()
    assert (source["dtype"], source["shape"].tolist()) == (np.uint8, [1, 32, 32, 3])
    assert [(r["dtype"], r["shape"].tolist()) for r in results] == [
        (np.float32, [1, 3]),
        (np.float32, [1, 256]),
    ]
    interpreter.set_tensor(source["index"], images[:1])
    interpreter.invoke()
    expected = TFLiteModel(folder / "int8.tflite").predict_on_batch(images[:1])
    for result, values in zip(results, expected, strict=True):
        assert np.allclose(interpreter.get_tensor(result["index"]), values, atol=1e-6)


def test_the_same_model_gives_the_same_bytes(model, folder, images, tmp_path):
    convert_to_tflite(model, tmp_path / "again.tflite", quantize="int8", images=images)
    assert (tmp_path / "again.tflite").read_bytes() == (folder / "int8.tflite").read_bytes()


def test_unknown_formats_and_int8_without_images_are_refused(model, tmp_path):
    with pytest.raises(ValueError, match="float32, float16, int8, received 'int4'"):
        convert_to_tflite(model, tmp_path / "f.tflite", quantize="int4")
    with pytest.raises(ValueError, match="at least one image for int8, received none"):
        convert_to_tflite(model, tmp_path / "f.tflite", quantize="int8")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_keeps_the_existing_file(model, tmp_path, monkeypatch):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"before")

    def fill_the_disk(self, content):
        with self.open("wb") as file:
            file.write(content[:100])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="no space"):
        convert_to_tflite(model, path)
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.tflite"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet", "efficientnet_lite", "convnext"])
def test_other_backbones_predict_the_same_after_conversion(name, tmp_path):
    model = build_model(name, image_size=32, class_names=("a", "b", "c"))
    convert_to_tflite(model, tmp_path / "m.tflite")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    y_prob, _ = TFLiteModel(tmp_path / "m.tflite").predict_on_batch(images)
    assert np.allclose(y_prob, model.predict_on_batch(images), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("quantize", "tolerance"), [("float16", 1e-3), ("int8", 0.1)])
def test_efficientnet_lite_is_converted_to_smaller_numbers(quantize, tolerance, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model("efficientnet_lite", image_size=64, class_names=("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3)).astype(np.uint8)
    convert_to_tflite(model, tmp_path / "m.tflite", quantize=quantize, images=images)
    y_prob, _ = TFLiteModel(tmp_path / "m.tflite").predict_on_batch(images)
    assert np.allclose(y_prob, model.predict_on_batch(images), atol=tolerance)


@pytest.mark.slow
def test_a_transformer_is_refused_before_a_file_is_written(tmp_path):
    pytest.importorskip("keras_hub")
    model = build_model("vit", image_size=32, class_names=("a", "b", "c"))
    with pytest.raises(ModelError, match="vit cannot be converted: expected operations"):
        convert_to_tflite(model, tmp_path / "m.tflite")
    assert list(tmp_path.iterdir()) == []
