import keras
import numpy as np
import pytest

from models import ModelError, build_model
from models.bundle import load_model, save_model
from models.grad_cam import Explainer, grad_cam, overlay

CLASSES = ("a", "b", "c")


@pytest.mark.parametrize("name", ["sequential", "mobilenet"])
def test_maps_are_scaled_and_the_same_after_reload(name, tmp_path):
    keras.utils.set_random_seed(0)
    model = build_model(name, image_size=64, class_names=CLASSES)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    chosen = np.array([0, 1, 2])
    heat = grad_cam(model, images, chosen)
    assert heat.shape == (3, 64, 64)
    assert heat.min() >= 0
    assert set(heat.max(axis=(1, 2))) <= {0.0, 1.0}
    assert heat.any()
    save_model(model, tmp_path / "model.keras")
    assert np.allclose(grad_cam(load_model(tmp_path / "model.keras"), images, chosen), heat)


def corner_model() -> keras.Model:
    """A model whose class `red` is the amount of red, anywhere, and whose class `blue` of blue."""
    from models.bundle import ClassProbabilities

    description = {"model": "corner", "class_names": ("red", "blue"), "image_size": 32}
    inputs = keras.Input((32, 32, 3))
    colour = keras.layers.Conv2D(2, 4, strides=4, use_bias=False, name="colour")
    x = keras.layers.GlobalAveragePooling2D()(colour(inputs))
    dense = keras.layers.Dense(2, use_bias=False, name="logits")
    model = keras.Model(inputs, ClassProbabilities(description)(dense(x)))
    kernel = np.zeros((4, 4, 3, 2), np.float32)
    kernel[:, :, 0, 0] = kernel[:, :, 2, 1] = 1 / 16
    colour.set_weights([kernel])
    dense.set_weights([np.eye(2, dtype=np.float32)])
    return model


def test_the_map_peaks_where_the_sign_of_the_class_is():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[0, :8, 24:, 0] = 200  # red, top right
    images[0, 24:, :8, 2] = 200  # blue, bottom left
    explain = Explainer(corner_model())
    for class_index, rows, columns in (
        (0, slice(0, 8), slice(24, 32)),
        (1, slice(24, 32), slice(0, 8)),
    ):
        heat = explain(images, np.array([class_index]))[0]
        inside = np.zeros((32, 32), bool)
        inside[rows, columns] = True
        assert inside.flat[heat.argmax()]
        # Scaling up spreads a place of the map over its neighbours.
        assert heat[inside].mean() > 0.8
        assert heat[12:20, 12:20].max() == 0


def test_nothing_that_speaks_for_a_class_is_a_map_of_zeros():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    images[..., 2] = 200
    assert not grad_cam(corner_model(), images, np.array([0])).any()


def test_the_map_belongs_to_the_picture_and_not_to_its_batch():
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    explain = Explainer(corner_model())
    together = explain(images, np.array([0, 1, 0, 1]))
    alone = explain(images[2:3], np.array([0]))
    assert np.allclose(together[2], alone[0], atol=1e-6)


def test_a_model_without_pooling_is_refused():
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, keras.layers.Flatten()(inputs))
    with pytest.raises(ModelError, match="global average pooling"):
        Explainer(model)


def test_overlay_leaves_cold_places_as_they_are():
    image = np.full((2, 2, 3), 100, np.uint8)
    heat = np.array([[0.0, 1.0], [0.0, 0.5]])
    shown = overlay(image, heat)
    assert (shown[:, 0] == 100).all()
    assert (shown[0, 1] != 100).any()
    assert shown.dtype == np.uint8
