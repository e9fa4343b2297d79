import keras
import numpy as np
import pytest

from models import ModelError, build_model
from models.inference import FeatureReader, eight_views, predict_probabilities, predict_views


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)


def test_eight_views_are_all_different_and_keep_the_pixels():
    (picture,) = images(1)
    views = [view[0] for view in eight_views(picture[None])]
    assert (views[0] == picture).all()
    assert len({view.tobytes() for view in views}) == 8
    for view in views:
        assert (np.sort(view.ravel()) == np.sort(picture.ravel())).all()


def test_the_mean_over_the_views_does_not_depend_on_the_pose():
    keras.utils.set_random_seed(0)
    model = build_model("sequential", image_size=32, class_names=("a", "b"))
    upright = images(2)
    turned = np.rot90(upright, axes=(1, 2))[:, ::-1]
    plain = predict_probabilities(model, upright), predict_probabilities(model, turned)
    averaged = [predict_probabilities(model, pose, tta=True) for pose in (upright, turned)]
    assert np.abs(plain[0] - plain[1]).max() > 1e-6
    assert np.allclose(averaged[0], averaged[1], atol=1e-6)
    assert np.allclose(averaged[0].sum(axis=1), 1, atol=1e-5)


def test_no_images_have_no_probabilities():
    model = build_model("sequential", image_size=32, class_names=("a", "b"))
    assert predict_probabilities(model, images(0), tta=True).shape == (0, 2)
    assert predict_views(model, images(0), tta=True).shape == (8, 0, 2)


@pytest.mark.parametrize(("name", "side"), [("sequential", 32), ("mobilenet", 32)])
def test_features_come_with_the_same_probabilities(name, side):
    keras.utils.set_random_seed(0)
    model = build_model(name, image_size=side, class_names=("a", "b"))
    read = FeatureReader(model)
    y_prob, features = read(images(3))
    assert np.allclose(y_prob, predict_probabilities(model, images(3)), atol=1e-6)
    assert features.shape == (3, read.count)
    # They are what the last layer answers from.
    kernel, bias = model.get_layer("logits").get_weights()
    logits = features @ kernel + bias
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.allclose(y_prob, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)
    assert [part.shape for part in read(images(0))] == [(0, 2), (0, read.count)]


def test_features_are_those_of_the_picture_as_it_is_whatever_the_views():
    model = build_model("sequential", image_size=32, class_names=("a", "b"))
    read = FeatureReader(model)
    plain, averaged = read(images(2)), read(images(2), tta=True)
    assert (plain[1] == averaged[1]).all()
    assert np.allclose(averaged[0], predict_probabilities(model, images(2), tta=True), atol=1e-6)


def test_a_model_without_the_layer_is_refused():
    with pytest.raises(ModelError, match="named logits"):
        FeatureReader(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]))
