"""Every backbone of the table goes the way of the others."""

import ast
import dataclasses
import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from models import (
    MODEL_NAMES,
    ModelError,
    WeightsUnavailableError,
    build_model,
    model_defaults,
    weights,
)
from models.bundle import get_description, load_model, save_model
from models.grad_cam import grad_cam
from models.inference import predict_probabilities
from models.training import AdjustedCrossentropy
from models.transfer import BACKBONE, BACKBONES, at_size, unfreeze

ROOT = Path(__file__).parent.parent
CLASSES = ("a", "b", "c")
needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed"
)
# The smaller ones by default; the largest takes a minute.
NAMES = [
    "mobilenet",
    pytest.param("vit", marks=needs_hub),
    pytest.param("efficientnet", marks=pytest.mark.slow),
    pytest.param("convnext", marks=pytest.mark.slow),
]


def build(name: str, *, image_size: int = 32, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(name, image_size=image_size, class_names=CLASSES, **options)


def pictures(count: int = 3, side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, side, side, 3)).astype(np.uint8)


def train_one_step(model: keras.Model) -> float:
    # Eagerly: to trace a large model takes many times what a step does.
    model.compile("adam", AdjustedCrossentropy(np.zeros(3), 0.0), run_eagerly=True)
    return float(model.train_on_batch(pictures().astype(np.float32), np.eye(3, dtype=np.float32)))


def answer(model: keras.Model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(pictures(), training=False))


def test_every_model_has_an_entry():
    assert {"sequential", *BACKBONES} == set(MODEL_NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_one_step_then_reloaded_it_answers_the_same(name, tmp_path):
    model = build(name)
    unfreeze(model, -1)
    before = model.get_layer("logits").get_weights()[0], model.get_layer(BACKBONE).get_weights()
    assert np.isfinite(train_one_step(model))
    after = model.get_layer("logits").get_weights()[0], model.get_layer(BACKBONE).get_weights()
    assert (before[0] != after[0]).any()
    assert any((old != new).any() for old, new in zip(before[1], after[1], strict=True))
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    expected = answer(model)
    assert expected.dtype == np.float32
    assert np.allclose(expected.sum(axis=1), 1, atol=1e-5)
    assert (answer(again) == expected).all()
    description = get_description(again)
    assert (description.model, description.image_size) == (name, 32)
    images = pictures()
    views = predict_probabilities(again, images, tta=True)
    turned = predict_probabilities(again, np.rot90(images, axes=(1, 2)), tta=True)
    assert np.allclose(views, turned, atol=1e-5)
    heat = grad_cam(again, images, np.array([0, 1, 2]))
    assert heat.shape == (3, 32, 32)
    assert set(heat.max(axis=(1, 2))) <= {0.0, 1.0}
    # Frozen, it is the head alone that learns.
    unfreeze(again, 0)
    assert len(again.trainable_weights) == 2


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_pixels_are_scaled_inside_the_model(name):
    layer = next(x for x in build(name).layers if isinstance(x, keras.layers.Rescaling))
    assert np.allclose(layer(np.array([0.0, 127.5, 255.0])), [-1, 0, 1])


def test_the_scaling_of_the_table_is_what_keras_does():
    """EfficientNetV2-B0 and ConvNeXt of keras.applications can scale by themselves."""
    pixels = np.linspace(0, 255, 12, dtype=np.float32).reshape(1, 2, 2, 3)
    mean, deviation = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    for name in ("efficientnet", "convnext", "vit"):
        entry = BACKBONES[name]
        layer = keras.layers.Rescaling(entry.scale, offset=entry.offset)
        assert np.allclose(layer(pixels), (pixels - mean) / deviation, atol=1e-4)


def test_what_is_not_asked_for_is_the_models_own():
    assert model_defaults("mobilenet") == {"image_size": 192, "fine_tune_layers": 126}
    assert {name: model_defaults(name)["image_size"] for name in BACKBONES} == {
        "mobilenet": 192,
        "efficientnet": 224,
        "convnext": 224,
        "vit": 224,
    }


@pytest.mark.parametrize("name", list(BACKBONES))
def test_weights_that_cannot_be_had_say_in_one_line_what_to_do(name, monkeypatch):
    if name == "vit":
        pytest.importorskip("keras_hub")
    asked = []
    monkeypatch.setattr(weights, "_site_answers", lambda site: asked.append(site))
    monkeypatch.setattr(
        weights.keras.utils, "get_file", lambda *args, **kwargs: pytest.fail("went on")
    )
    # Only the file's name and place matter here.
    monkeypatch.setitem(BACKBONES, name, _without_network(BACKBONES[name]))
    with pytest.raises(WeightsUnavailableError) as caught:
        build(name, weights="imagenet")
    message = str(caught.value)
    assert "\n" not in message
    assert "--weights PATH" in message
    assert "--weights none" in message
    assert message.count(asked[0]) == 2


def _without_network(entry):
    """The same entry with a network that is built at once."""
    return dataclasses.replace(entry, builder=lambda side: keras.Sequential([keras.Input((4,))]))


@needs_hub
def test_a_transformers_blocks_are_counted_as_layers():
    model = build("vit")
    for count, expected in ((2, 16), (-1, 0)):
        unfreeze(model, count)
        frozen = len(model.get_layer(BACKBONE).weights) - len(
            model.get_layer(BACKBONE).trainable_weights
        )
        # The last two of input, embeddings, twelve blocks and norm: a block of 16 variables.
        if count == 2:
            assert len(model.get_layer(BACKBONE).trainable_weights) == expected + 2
        else:
            assert frozen == expected
    with pytest.raises(ModelError, match="has 15 layers"):
        unfreeze(model, 16)


@needs_hub
def test_a_transformer_wants_whole_patches():
    with pytest.raises(ModelError, match="multiple of 16, received 40"):
        build("vit", image_size=40)


@needs_hub
def test_keras_hubs_own_weights_serve_every_size(tmp_path):
    """The file of a preset is for 224 pixels; position embeddings are scaled to the size asked."""
    import keras_hub

    source = keras_hub.models.DeiTBackbone(
        image_shape=(224, 224, 3),
        patch_size=16,
        num_layers=12,
        num_heads=6,
        hidden_dim=384,
        intermediate_dim=1536,
    )
    source.save_to_preset(tmp_path)
    path = str(tmp_path / "model.weights.h5")
    mine = build("vit", image_size=64, weights=path).get_layer(BACKBONE)
    differ = [
        new.shape
        for old, new in zip(source.get_weights(), mine.get_weights(), strict=True)
        if old.shape != new.shape or (old != new).any()
    ]
    assert differ == [(1, 2 + 16, 384)]
    # The tokens that are no place of the picture stay as they are.
    positions = next(w for w in source.get_weights() if w.shape == (1, 2 + 196, 384))
    scaled = next(w for w in mine.get_weights() if w.shape == (1, 2 + 16, 384))
    assert (positions[:, :2] == scaled[:, :2]).all()
    assert abs(scaled[:, 2:].mean() - positions[:, 2:].mean()) < 1e-3
    (tmp_path / "bad.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="should hold DeiT-S weights"):
        build("vit", weights=str(tmp_path / "bad.weights.h5"))


def test_without_keras_hub_vit_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModelError, match=r"pip install -r requirements-vit\.txt") as caught:
        build("vit")
    assert "\n" not in str(caught.value)


@needs_hub
def test_without_keras_hub_a_file_of_a_vit_says_what_to_install(tmp_path, monkeypatch):
    save_model(build("vit"), tmp_path / "model.keras")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModelError, match=r"model\.keras needs keras-hub .* requirements-vit\.txt"):
        load_model(tmp_path / "model.keras")


def test_keras_hub_is_imported_only_inside_functions():
    for path in (ROOT / "models").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [item.name for item in getattr(node, "names", [])]
            assert not any(
                name and name.startswith("keras_hub")
                for name in [*names, getattr(node, "module", "")]
            ), path


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_mixed_precision_has_its_head_and_its_file_in_float32(name, tmp_path):
    policy = keras.config.dtype_policy()
    model = build(name, mixed_precision=True)
    assert keras.config.dtype_policy() == policy
    body = model if name == "sequential" else model.get_layer(BACKBONE)
    assert any(layer.compute_dtype == "float16" for layer in body.layers)
    assert all(layer.compute_dtype == "float32" for layer in model.layers[-4:])
    assert {str(w.dtype) for w in model.weights if "seed" not in w.name} == {"float32"}
    images = pictures()
    halves = predict_probabilities(model, images)
    assert halves.dtype == np.float32
    save_model(model, tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    assert not any(layer.compute_dtype == "float16" for layer in again._flatten_layers())
    assert np.allclose(predict_probabilities(again, images), halves, atol=0.01)


def test_another_size_keeps_mixed_precision():
    model = at_size(build("mobilenet", image_size=64, mixed_precision=True), 32)
    assert model.get_layer(BACKBONE).get_layer("Conv1").compute_dtype == "float16"
    assert model.get_layer("logits").compute_dtype == "float32"
