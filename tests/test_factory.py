"""Every model is built, trained for a step, saved, loaded and explained in the same way."""

import importlib.util

import keras
import numpy as np
import pytest

from models import ModelError
from models.bundle import get_description, load_model, save_model
from models.classifier import load_classifier
from models.factory import build_model
from models.transfer import BACKBONE, unfreeze

CLASSES = ("a", "b", "c")
needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed"
)


def build(name: str, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(name, image_size=32, class_names=CLASSES, **options)


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_a_model_gives_probabilities_for_raw_pixels_and_describes_itself(name):
    model = build(name)
    y_prob = keras.ops.convert_to_numpy(model(random_images(4), training=False))
    assert y_prob.shape == (4, 3)
    assert np.allclose(y_prob.sum(axis=1), 1, atol=1e-5)
    description = get_description(model)
    assert (description.model, description.class_names) == (name, CLASSES)
    assert (description.image_size, description.temperature) == (32, 1.0)


# The smaller ones by default; the largest takes a minute.
@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_lite",
        pytest.param("mobilenet", marks=pytest.mark.slow),
        pytest.param("vit", marks=[needs_hub, pytest.mark.slow]),
        pytest.param("efficientnet", marks=pytest.mark.slow),
        pytest.param("convnext", marks=pytest.mark.slow),
    ],
)
def test_a_backbone_trains_a_step_and_predicts_the_same_after_loading(
    name, shallow_efficientnet_lite, tmp_path
):
    model, images = build(name), random_images(3)
    unfreeze(model, -1)
    before = model.get_layer("logits").get_weights()[0], model.get_layer(BACKBONE).get_weights()
    # Eagerly: tracing a large model takes many times as long as a step.
    model.compile("adam", "categorical_crossentropy", run_eagerly=True)
    loss = model.train_on_batch(images.astype(np.float32), np.eye(3, dtype=np.float32))
    assert np.isfinite(float(loss))
    after = model.get_layer("logits").get_weights()[0], model.get_layer(BACKBONE).get_weights()
    assert (before[0] != after[0]).any()
    assert any((old != new).any() for old, new in zip(before[1], after[1], strict=True))

    save_model(model, tmp_path / "model.keras")
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    classifier = load_classifier(tmp_path / "model.keras")
    loaded = keras.ops.convert_to_numpy(classifier.network.model(images, training=False))
    assert expected.dtype == np.float32
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert (loaded == expected).all()
    description = classifier.description
    assert (description.model, description.image_size) == (name, 32)
    averaged = classifier(images, tta=True).y_prob
    rotated = classifier(np.rot90(images, axes=(1, 2)), tta=True).y_prob
    assert np.allclose(averaged, rotated, atol=1e-5)
    heat = classifier.explain(images, np.array([0, 1, 2]))
    assert heat.shape == (3, 32, 32)
    assert set(heat.max(axis=(1, 2))) <= {0.0, 1.0}
    # With a frozen backbone only kernel and bias of the head are trained.
    unfreeze(classifier.network.model, 0)
    assert len(classifier.network.model.trainable_weights) == 2


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_pixels_are_scaled_inside_the_model(name):
    layer = next(x for x in build(name).layers if isinstance(x, keras.layers.Rescaling))
    assert np.allclose(layer(np.array([0.0, 127.5, 255.0])), [-1, 0, 1])


def test_the_baseline_is_sequential_and_small():
    model = build_model("sequential", image_size=96, class_names=tuple("abcdefg"))
    assert isinstance(model, keras.Sequential)
    assert model.count_params() < 2_000_000


def test_an_unknown_model_is_refused():
    with pytest.raises(ModelError, match=r"model of sequential, mobilenet, .* received 'resnet'"):
        build("resnet")


def test_the_baseline_takes_no_weights():
    with pytest.raises(ModelError, match=r"no initial weights .* received imagenet"):
        build("sequential", weights="imagenet")


@pytest.mark.parametrize("name", ["sequential", pytest.param("mobilenet", marks=pytest.mark.slow)])
def test_mixed_precision_keeps_the_head_and_the_file_in_float32(name, tmp_path):
    policy = keras.config.dtype_policy()
    model = build(name, mixed_precision=True)
    assert keras.config.dtype_policy() == policy
    body = model if name == "sequential" else model.get_layer(BACKBONE)
    assert any(layer.compute_dtype == "float16" for layer in body.layers)
    assert all(layer.compute_dtype == "float32" for layer in model.layers[-4:])
    assert {str(w.dtype) for w in model.weights if "seed" not in w.name} == {"float32"}
    images = random_images(3)
    mixed = keras.ops.convert_to_numpy(model(images, training=False))
    assert mixed.dtype == np.float32
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert not any(layer.compute_dtype == "float16" for layer in loaded._flatten_layers())
    assert np.allclose(loaded(images, training=False), mixed, atol=0.01)
