"""Grad-CAM heat maps: scale, location, stability."""

import keras
import numpy as np
import pytest

from metrics.explanation import legend_colors
from models import ModelError
from models.bundle import ClassProbabilities, load_model, save_model
from models.factory import build_model
from models.grad_cam import Explainer
from models.heat_map import overlay


@pytest.mark.parametrize("name", ["sequential", pytest.param("mobilenet", marks=pytest.mark.slow)])
def test_heat_maps_are_scaled_and_the_same_after_loading(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model(name, image_size=64, class_names=("a", "b", "c"))
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    class_indices = np.array([0, 1, 2])
    heat = Explainer(model)(images, class_indices)
    assert heat.shape == (3, 64, 64)
    assert heat.min() >= 0
    assert set(heat.max(axis=(1, 2))) <= {0.0, 1.0}
    assert heat.any()
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    assert np.allclose(Explainer(loaded)(images, class_indices), heat)


def color_model() -> keras.Model:
    """A model whose class `red` is the amount of red, anywhere, and whose class `blue` of blue."""
    description = {"model": "colors", "class_names": ("red", "blue"), "image_size": 32}
    inputs = keras.Input((32, 32, 3))
    colors = keras.layers.Conv2D(2, 4, strides=4, use_bias=False)
    x = keras.layers.GlobalAveragePooling2D()(colors(inputs))
    dense = keras.layers.Dense(2, use_bias=False, name="logits")
    model = keras.Model(inputs, ClassProbabilities(description)(dense(x)))
    kernel = np.zeros((4, 4, 3, 2), np.float32)
    kernel[:, :, 0, 0] = kernel[:, :, 2, 1] = 1 / 16
    colors.set_weights([kernel])
    dense.set_weights([np.eye(2, dtype=np.float32)])
    return model


def test_the_heat_map_peaks_where_the_evidence_for_the_class_is():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[0, :8, 24:, 0] = 200  # red, top right
    images[0, 24:, :8, 2] = 200  # blue, bottom left
    explain = Explainer(color_model())
    for class_index, rows, columns in (
        (0, slice(0, 8), slice(24, 32)),
        (1, slice(24, 32), slice(0, 8)),
    ):
        heat = explain(images, np.array([class_index]))[0]
        inside = np.zeros((32, 32), bool)
        inside[rows, columns] = True
        assert inside.flat[heat.argmax()]
        # Upsampling spreads each value over its neighbors, the cubic one over two on each side.
        assert heat[inside].mean() > 0.8
        assert heat[14:18, 14:18].max() == 0


def test_an_image_without_evidence_for_the_class_has_a_heat_map_of_zeros():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[..., 2] = 200
    assert not Explainer(color_model())(images, np.array([0])).any()


def test_a_heat_map_does_not_depend_on_the_rest_of_the_batch():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    explain = Explainer(color_model())
    together = explain(images, np.array([0, 1, 0, 1]))
    alone = explain(images[2:3], np.array([0]))
    assert np.allclose(together[2], alone[0], atol=1e-6)


def test_a_model_without_pooling_is_refused():
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    with pytest.raises(ModelError, match="global average pooling"):
        Explainer(model)


def test_an_overlay_has_the_colors_of_its_legend():
    heat = np.array([np.linspace(0, 1, 5)])
    colors = legend_colors(5)
    expected = 255 * colors[:, 3:] * colors[:, :3]
    black = np.zeros((1, 5, 3), np.uint8)
    assert np.abs(overlay(black, heat, opacity=1)[0] - expected).max() <= 0.5


def test_an_overlay_keeps_the_image_where_there_is_no_heat():
    image = np.full((2, 2, 3), 100, np.uint8)
    heat = np.array([[0.0, 1.0], [0.0, 0.5]])
    blended = overlay(image, heat)
    assert (blended[:, 0] == 100).all()
    assert (blended[0, 1] != 100).any()
    assert blended.dtype == np.uint8
