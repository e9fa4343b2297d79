"""Classifiers on a backbone: sizes, fine-tuning, weights, transformers."""

import ast
import importlib.util
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from models import ModelError
from models.bundle import get_description, load_model, save_model, update_description
from models.factory import build_model
from models.transfer import BACKBONE, at_size, unfreeze

ROOT = Path(__file__).parent.parent
needs_hub = pytest.mark.skipif(
    importlib.util.find_spec("keras_hub") is None, reason="keras-hub is not installed"
)


def build(name: str, *, image_size: int = 32, **options) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(name, image_size=image_size, class_names=("a", "b", "c"), **options)


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    """A model whose layers may be frozen and unfrozen; `unfreeze` says of each what it is."""
    return build("mobilenet")


@pytest.mark.slow
def test_a_copy_for_another_size_has_the_same_weights_and_its_own_size():
    model = build("mobilenet", image_size=64)
    update_description(model, train_image_ids=["i1"])
    small = at_size(model, 32)
    assert get_description(small).image_size == 32
    assert get_description(small).train_image_ids == ("i1",)
    assert get_description(model).image_size == 64
    for one, other in zip(model.get_weights(), small.get_weights(), strict=True):
        assert (one == other).all()
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    built = build("mobilenet")
    built.set_weights(model.get_weights())
    # Eagerly: tracing a large model takes many times as long.
    assert np.allclose(small(images, training=False), built(images, training=False), atol=1e-6)


def test_a_sequential_part_of_a_backbone_takes_another_size(monkeypatch):
    """ConvNeXt has such parts; its phase of small images failed."""

    def build_parts(entry, image_size):
        inputs = keras.Input((image_size, image_size, 3))
        part = keras.Sequential(
            [keras.Input((image_size, image_size, 3)), keras.layers.Conv2D(4, 2, strides=2)]
        )
        return keras.Model(inputs, part(inputs))

    monkeypatch.setattr("models.transfer._build_network", build_parts)
    model = build("convnext", image_size=64)
    small = at_size(model, 32)
    assert small.get_layer(BACKBONE).output_shape == (None, 16, 16, 4)
    pairs = zip(model.get_weights(), small.get_weights(), strict=True)
    assert all((one == other).all() for one, other in pairs)


def test_a_copy_for_another_size_keeps_mixed_precision():
    model = at_size(build("mobilenet", image_size=64, mixed_precision=True), 32)
    assert model.get_layer(BACKBONE).get_layer("Conv1").compute_dtype == "float16"
    assert model.get_layer("logits").compute_dtype == "float32"


def test_unfreeze_counts_from_the_last_layer_and_keeps_batch_norm_frozen(mobilenet):
    model = mobilenet
    backbone = model.get_layer(BACKBONE)
    trained = {}
    for count in (0, 20, -1):
        unfreeze(model, count)
        trained[count] = [layer.name for layer in backbone.layers if layer.trainable_weights]
    assert trained[0] == []
    assert set(trained[20]) < set(trained[-1])
    assert set(trained[20]) <= {layer.name for layer in backbone.layers[-20:]}
    assert "Conv1" in trained[-1]
    assert not any(
        isinstance(backbone.get_layer(name), keras.layers.BatchNormalization)
        for name in trained[-1]
    )
    assert model.get_layer("logits").trainable
    unfreeze(model, -1, batch_norm_trains=True)
    assert backbone.get_layer("bn_Conv1").trainable


def test_fit_does_not_change_frozen_batch_norm_in_a_trained_backbone(mobilenet):
    model = mobilenet
    norm = model.get_layer(BACKBONE).get_layer("Conv_1_bn")
    images = np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)).astype(np.float32)
    unfreeze(model, -1)
    model.compile("adam", "categorical_crossentropy", run_eagerly=True)
    before = [keras.ops.convert_to_numpy(weight) for weight in norm.weights]
    model.fit(images, np.eye(3)[np.arange(8) % 3], verbose=0)
    after = [keras.ops.convert_to_numpy(weight) for weight in norm.weights]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("count", [1000, -2])
def test_unfreezing_more_layers_than_there_are_is_refused(mobilenet, count):
    with pytest.raises(ModelError, match=f"expected 0 to 154 .*, received {count}"):
        unfreeze(mobilenet, count)


def test_batch_norm_momentum_is_set_in_the_backbone():
    backbone = build("mobilenet", batch_norm_momentum=0.9).get_layer(BACKBONE)
    assert backbone.get_layer("bn_Conv1").momentum == 0.9


@pytest.mark.slow
def test_a_weights_file_is_loaded_and_an_unsuitable_one_is_refused(tmp_path):
    source = build("mobilenet").get_layer(BACKBONE)
    source.save_weights(tmp_path / "backbone.weights.h5")
    model = build("mobilenet", weights=str(tmp_path / "backbone.weights.h5"))
    for loaded, saved in zip(
        model.get_layer(BACKBONE).get_weights(), source.get_weights(), strict=True
    ):
        assert (loaded == saved).all()
    with pytest.raises(ModelError, match="found no file"):
        build("mobilenet", weights=str(tmp_path / "nothing.h5"))
    (tmp_path / "bad.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="expected weights of MobileNetV2 without its head"):
        build("mobilenet", weights=str(tmp_path / "bad.weights.h5"))


@needs_hub
@pytest.mark.slow
def test_a_transformer_block_counts_as_a_layer():
    model = build("vit")
    backbone = model.get_layer(BACKBONE)
    unfreeze(model, -1)
    assert len(backbone.trainable_weights) == len(backbone.weights)
    # The last two of input, embeddings, twelve blocks and norm: 16 variables and 2.
    unfreeze(model, 2)
    assert len(backbone.trainable_weights) == 16 + 2
    with pytest.raises(ModelError, match=r"expected 0 to 15 .*, received 16"):
        unfreeze(model, 16)


@needs_hub
def test_a_transformer_needs_whole_patches():
    with pytest.raises(ModelError, match="multiple of 16 for DeiT-S, received 40"):
        build("vit", image_size=40)


@needs_hub
@pytest.mark.slow
def test_weights_of_keras_hub_fit_every_size(tmp_path):
    """The file of a preset is for 224 pixels; position embeddings are resized."""
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
    backbone = build("vit", image_size=64, weights=path).get_layer(BACKBONE)
    changed = [
        new.shape
        for old, new in zip(source.get_weights(), backbone.get_weights(), strict=True)
        if old.shape != new.shape or (old != new).any()
    ]
    assert changed == [(1, 2 + 16, 384)]
    # The tokens that belong to no patch stay as they are.
    positions = next(w for w in source.get_weights() if w.shape == (1, 2 + 196, 384))
    resized = next(w for w in backbone.get_weights() if w.shape == (1, 2 + 16, 384))
    assert (positions[:, :2] == resized[:, :2]).all()
    assert abs(resized[:, 2:].mean() - positions[:, 2:].mean()) < 1e-3


@needs_hub
def test_weights_that_keras_hub_did_not_write_are_refused(shallow_transformer, tmp_path):
    (tmp_path / "bad.weights.h5").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="expected weights of DeiT-S"):
        build("vit", weights=str(tmp_path / "bad.weights.h5"))


def test_building_a_vit_without_keras_hub_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModelError, match=r"DeiT-S needs keras-hub .* requirements-vit\.txt"):
        build("vit")


@needs_hub
def test_loading_a_vit_without_keras_hub_names_what_to_install(
    shallow_transformer, tmp_path, monkeypatch
):
    save_model(build("vit"), tmp_path / "model.keras")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(ModelError, match=r"model\.keras needs keras-hub .* requirements-vit\.txt"):
        load_model(tmp_path / "model.keras")


def test_keras_hub_is_imported_only_inside_functions():
    for path in (ROOT / "models").glob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [item.name for item in getattr(node, "names", [])]
            names.append(getattr(node, "module", None) or "")
            assert not any(name.startswith("keras_hub") for name in names), path
