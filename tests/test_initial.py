"""The initial weights of a model that starts from another one: which are copied."""

import importlib.util

import keras
import numpy as np
import pytest

from models import ModelError
from models.bundle import load_model, save_model
from models.factory import build_model
from models.initial import copy_weights
from models.transfer import BACKBONE

needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed"
)


def build(name: str, seed: int, *classes: str, image_size: int = 32) -> keras.Model:
    """Return a model whose weights, also those of the head, differ by seed."""
    keras.utils.set_random_seed(seed)
    model = build_model(name, image_size=image_size, class_names=classes)
    rng = np.random.default_rng(seed)
    model.get_layer("logits").set_weights(
        [rng.random(w.shape) for w in model.get_layer("logits").get_weights()]
    )
    return model


def body(model: keras.Model) -> list[np.ndarray]:
    layers = [layer for layer in model.layers if layer.name != "logits"]
    return [weight for layer in layers for weight in layer.get_weights()]


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_all_but_the_head_is_copied_also_to_another_image_size(name):
    source, target = build(name, 0, "a", "b"), build(name, 1, "c", "d", "e", image_size=64)
    fresh = target.get_layer("logits").get_weights()
    copy_weights(source, target, {})
    assert len(body(source)) == len(body(target)) > 10
    for old, new in zip(body(source), body(target), strict=True):
        assert (old == new).all()
    for before, after in zip(fresh, target.get_layer("logits").get_weights(), strict=True):
        assert (before == after).all()
    assert target.input_shape == (None, 64, 64, 3)


def test_the_head_is_copied_for_the_classes_that_agree():
    source = build("sequential", 0, "a", "b", "c")
    target = build("sequential", 1, "new", "C", "a")
    fresh = [weight.copy() for weight in target.get_layer("logits").get_weights()]
    copy_weights(source, target, {"C": "c", "a": "a"})
    old, new = (model.get_layer("logits").get_weights() for model in (source, target))
    for before, after, first in zip(old, new, fresh, strict=True):
        assert (after[..., 0] == first[..., 0]).all()
        assert (after[..., 1] == before[..., 2]).all()
        assert (after[..., 2] == before[..., 0]).all()


@pytest.mark.parametrize("name", ["sequential", pytest.param("mobilenet", marks=pytest.mark.slow)])
def test_a_model_of_the_same_classes_predicts_as_the_one_that_it_starts_from(name, tmp_path):
    save_model(build(name, 0, "a", "b"), tmp_path / "model.keras")
    source, target = load_model(tmp_path / "model.keras"), build(name, 1, "a", "b")
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    # Eagerly: tracing a large model takes many times as long.
    before, after = (keras.ops.convert_to_numpy(model(images)) for model in (source, target))
    assert not np.allclose(before, after)
    copy_weights(source, target, {"a": "a", "b": "b"})
    assert (keras.ops.convert_to_numpy(target(images)) == before).all()


def test_a_model_of_other_layers_is_refused():
    source, target = build("sequential", 0, "a", "b"), build("mobilenet", 1, "a", "b")
    before = target.get_weights()
    with pytest.raises(ModelError, match="expected the layers of the model mobilenet"):
        copy_weights(source, target, {})
    for old, new in zip(before, target.get_weights(), strict=True):
        assert (old == new).all()


@pytest.mark.slow
@needs_hub
def test_the_positions_of_a_transformer_are_resized(shallow_transformer):
    source, target = build("vit", 0, "a", "b"), build("vit", 1, "a", "b", image_size=64)
    copy_weights(source, target, {"a": "a"})
    pairs = zip(
        *(model.get_layer(BACKBONE).get_weights() for model in (source, target)), strict=True
    )
    changed = [new.shape for old, new in pairs if old.shape != new.shape or (old != new).any()]
    assert changed == [(1, 2 + 16, 384)]
